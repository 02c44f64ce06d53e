"""Large frames arrive as they were; those that came from zmq go on without a copy."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing

import numpy as np
import pytest
import zmq
from zmq.utils.garbage import GarbageCollectorThread

from concurro.transport.zmq_frames import NO_COPY_FROM, send_frames

LARGE = bytes(range(256)) * (NO_COPY_FROM // 128)


@pytest.fixture
def pair_of():
    """Return two connected sockets, as often as it is called."""
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())

        def connected():
            ends = [stack.enter_context(closing(context.socket(zmq.PAIR))) for _ in range(2)]
            address = f"inproc://{id(ends)}"
            ends[0].bind(address)
            ends[1].connect(address)
            return ends

        yield connected


@pytest.mark.parametrize("frames", [[b"small"], [b"head", LARGE], [b"head", memoryview(LARGE)[1:-1], b"", LARGE]])
def test_a_message_arrives_whole(pair_of, frames):
    there, here = pair_of()

    send_frames(here, frames, sum(map(len, frames)))

    assert there.recv_multipart() == [bytes(frame) for frame in frames]


def test_a_frame_that_came_from_zmq_goes_on_without_a_copy(pair_of):
    (receiver, sender), (next_receiver, next_sender) = pair_of(), pair_of()
    sender.send_multipart([b"head", LARGE])
    head, frame = receiver.recv_multipart(copy=False)

    send_frames(next_sender, [head.bytes, frame.buffer], len(LARGE))
    _, forwarded = next_receiver.recv_multipart(copy=False)

    assert forwarded.bytes == LARGE
    assert address_of(forwarded) == address_of(frame)


def test_no_thread_is_started_for_what_is_sent(pair_of):
    there, here = pair_of()

    send_frames(here, [b"head", LARGE], len(LARGE))
    there.recv_multipart()

    assert not [one for one in threading.enumerate() if isinstance(one, GarbageCollectorThread)]


def test_a_part_of_a_frame_goes_on_as_that_part(pair_of):
    (receiver, sender), (next_receiver, next_sender) = pair_of(), pair_of()
    sender.send(LARGE + b"rest")
    frame = receiver.recv(copy=False)

    send_frames(next_sender, [frame.buffer[: len(LARGE)]], len(LARGE))

    assert next_receiver.recv() == LARGE


def address_of(frame):
    """Return where the bytes of a frame are."""
    return np.frombuffer(frame.buffer, np.uint8).ctypes.data
