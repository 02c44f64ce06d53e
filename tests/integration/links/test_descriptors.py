"""Descriptors among the frames of a message: with their message, in order, none left over."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
from pathlib import Path

import pytest

from concurro.errors import ProtocolError
from concurro.transport.framing import Decoder, frame_header
from concurro.transport.stream import Channel, StreamLink
from concurro.wire.segments import Descriptor
from tests.integration.links.turning import Inbox


@pytest.fixture
def pair(turner):
    """Give two connected links with their inboxes."""
    left, right = socket.socketpair()
    inboxes = Inbox(StreamLink(turner.loop, left, "left")), Inbox(StreamLink(turner.loop, right, "right"))
    for inbox in inboxes:
        inbox.link.on_message = inbox.messages.append
    yield inboxes
    for inbox in inboxes:
        inbox.link.close()


def holding(text):
    fd = os.memfd_create("holding")
    os.write(fd, text)
    return Descriptor(fd)


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_each_descriptor_comes_with_its_message(turner, pair):
    left, right = pair
    for number in range(300):
        text = b"%d" % number
        left.link.send([b"head", text, holding(text), b"x" * (number * 50)])
        left.link.send([b"between"])

    turner.until(lambda: len(right.messages) == 600)

    assert [message for message in right.messages if len(message) == 1] == [[b"between"]] * 300
    for _, text, descriptor, rest in right.messages[::2]:
        assert descriptor.read(0, 10) == text
        assert rest == b"x" * (int(text) * 50)


def test_a_descriptor_passes_a_message_that_fills_the_socket(turner, pair):
    left, right = pair
    left.link.send([b"large", bytes(8 * 2**20)])
    left.link.send([b"head", holding(b"behind it")])

    turner.until(lambda: len(right.messages) == 2)

    assert right.messages[1][1].read(0, 10) == b"behind it"


def test_the_sender_keeps_none_and_the_receiver_closes_what_it_drops(turner, pair):
    left, right = pair
    before = open_descriptors()

    for _ in range(20):
        left.link.send([b"head", holding(b"")])
    turner.until(lambda: len(right.messages) == 20)
    right.messages.clear()

    assert open_descriptors() == before


def test_what_was_not_sent_is_closed_with_the_link(turner, pair):
    left, _ = pair
    before = open_descriptors()
    left.link.send([b"large", bytes(8 * 2**20)])
    for _ in range(20):
        left.link.send([b"head", holding(b"")])
    turner.loop.turn(0)

    left.link.close()

    assert len(open_descriptors() - before) == 0


def test_a_receiver_without_a_number_for_it_learns_that_it_was_lost(turner, pair):
    left, right = pair
    held = [holding(b"lost"), holding(b"here")]
    for descriptor in held:
        left.link.send([b"head", descriptor])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, open_descriptors())) + 1, hard))
    fillers = []
    with contextlib.suppress(OSError):
        while True:
            fillers.append(os.dup(0))
    try:
        turner.until(lambda: right.messages)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)
    turner.until(lambda: len(right.messages) == 2)

    assert right.messages[0][1].fileno() < 0


def test_one_that_was_lost_before_is_left_out_and_the_link_goes_on(turner, pair):
    left, right = pair

    left.link.send([b"head", Descriptor(-1), b"tail"])
    left.link.send([b"alone", Descriptor(-1)])
    left.link.send([b"head", holding(b"behind it")])
    turner.until(lambda: len(right.messages) == 3 or left.closed or right.closed)

    assert right.messages[:2] == [[b"head", b"tail"], [b"alone"]]
    assert right.messages[2][1].read(0, 10) == b"behind it"


def test_a_blocking_channel_brings_them_too():
    left, right = (Channel(end) for end in socket.socketpair())
    left.send([b"head", holding(b"one"), b"tail"])
    left.send([b"head"])
    left.send([b"", holding(b"two")])

    messages = [right.receive() for _ in range(3)]

    assert messages[0][1].read(0, 10) == b"one"
    assert messages[0][2] == b"tail"
    assert messages[1] == [b"head"]
    assert messages[2][1].read(0, 10) == b"two"
    left.close()
    right.close()


def test_one_message_takes_one_descriptor():
    with pytest.raises(ProtocolError, match="over the limits"):
        frame_header([holding(b""), holding(b"")])


@pytest.mark.parametrize("lengths", [(0xFFFFFFFF, 1), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_a_descriptor_that_did_not_come_is_no_frame(lengths):
    with pytest.raises(ProtocolError, match="descriptor"):
        Decoder().feed(struct.pack("<3I", 2, *lengths) + b"x")


def test_descriptors_that_nobody_announced_are_no_harm(turner, pair):
    left, right = pair
    before = open_descriptors()
    stream = left.link._stream
    one = holding(b"")
    for _ in range(3):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("6i", *[one.fileno()] * 6))]
        stream.sendmsg([struct.pack("<2I", 1, 2) + b"ok"], rights)

    turner.until(lambda: len(right.messages) == 3)
    right.link.close()
    del one

    assert right.messages == [[b"ok"]] * 3
    assert len(open_descriptors()) < len(before)


def test_a_peer_that_sends_descriptors_without_end_is_left(turner, pair):
    left, right = pair
    stream = left.link._stream
    one = holding(b"")
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("4i", *[one.fileno()] * 4))]
    for _ in range(10):
        stream.sendmsg([struct.pack("<2I", 1, 2) + b"ok"], rights)

    turner.until(lambda: right.closed)

    assert "descriptors" in right.closed[0]
