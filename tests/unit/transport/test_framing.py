"""Frames in a byte stream: whatever arrives, in whatever pieces."""

from __future__ import annotations

import itertools
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurro.errors import ProtocolError
from concurro.transport.framing import FRAME_COUNT_LIMIT, Decoder, frame_header, pack_single
from concurro.wire.messages import MESSAGE_LIMIT

MESSAGES = st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=5), max_size=8)


def pack(messages):
    return b"".join(
        pack_single(frames[0]) if len(frames) == 1 else frame_header(frames) + b"".join(frames) for frames in messages
    )


def cut(stream, places):
    """Return the stream in pieces, cut at the places."""
    places = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(places)]


@given(MESSAGES, st.lists(st.integers(0, 10_000), max_size=12))
def test_arbitrary_splits_give_the_same_messages(messages, places):
    decoder = Decoder()

    decoded = [frames for piece in cut(pack(messages), places) for frames in decoder.feed(piece)]

    assert decoded == messages


@given(MESSAGES)
def test_byte_by_byte_gives_the_same_messages(messages):
    decoder = Decoder()
    stream = pack(messages)

    decoded = [frames for place in range(len(stream)) for frames in decoder.feed(stream[place : place + 1])]

    assert decoded == messages


@given(st.binary(max_size=400), st.lists(st.integers(0, 10_000), max_size=6))
def test_arbitrary_bytes_give_only_messages_or_protocol_errors(stream, places):
    decoder = Decoder()

    try:
        decoded = [frames for piece in cut(stream, places) for frames in decoder.feed(piece)]
    except ProtocolError:
        return

    assert pack(decoded) == stream[: len(pack(decoded))]


@given(MESSAGES, st.integers(0, 10_000), st.integers(0, 255))
def test_a_mutated_byte_gives_only_messages_or_protocol_errors(messages, place, value):
    stream = bytearray(pack(messages) or b"\0")
    stream[place % len(stream)] = value

    try:
        decoded = Decoder().feed(bytes(stream))
    except ProtocolError:
        return

    assert all(isinstance(frame, bytes) for frames in decoded for frame in frames)


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<II", 1, MESSAGE_LIMIT + 1),
        struct.pack("<II", 1, 0xFFFFFFFF),
        struct.pack("<III", 2, 10, MESSAGE_LIMIT + 1),
        struct.pack("<III", 2, MESSAGE_LIMIT, MESSAGE_LIMIT),
        struct.pack("<II", 0, 0),
        struct.pack("<II", FRAME_COUNT_LIMIT + 1, 1),
        struct.pack("<II", 0xFFFFFFFF, 1),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["large", "largest", "large second", "large together", "no frame", "many", "most", "http"],
)
def test_refuses_what_is_over_the_limits(header):
    with pytest.raises(ProtocolError, match="over the limits"):
        Decoder().feed(header)


def test_an_announced_size_reserves_nothing():
    decoder = Decoder()
    tracemalloc.start()

    decoder.feed(struct.pack("<II", 1, MESSAGE_LIMIT))
    decoder.feed(b"some bytes")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 100_000


def test_a_message_at_the_limit_of_frames_passes():
    frames = [b"x"] * FRAME_COUNT_LIMIT

    assert Decoder().feed(frame_header(frames) + b"".join(frames)) == [frames]


def test_empty_frames_pass():
    assert Decoder().feed(pack([[b""], [b"", b"", b"a"]])) == [[b""], [b"", b"", b"a"]]


def test_the_sender_refuses_what_the_receiver_would():
    class Huge(bytes):
        """Bytes that claim to be many."""

        def __len__(self):
            return MESSAGE_LIMIT + 1

    with pytest.raises(ProtocolError, match="over the limit"):
        pack_single(Huge())
    with pytest.raises(ProtocolError, match="over the limits"):
        frame_header([b"x"] * (FRAME_COUNT_LIMIT + 1))
