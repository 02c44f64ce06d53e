"""Frames: what is ours comes back, and anything else is a ProtocolError."""

from __future__ import annotations

import contextlib
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurro.errors import ProtocolError
from concurro.wire.messages import MOST_VALUES, PROTOCOL, Kind, pack_message, unpack_message

field = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary() | st.floats(allow_nan=False),
    st.lists,
)


@given(st.sampled_from(Kind), st.lists(field), st.integers(0, 2**63), st.integers(0, 2**63), st.lists(st.binary()))
def test_a_message_comes_back_as_it_was_packed(kind, body, seq, ack, frames):
    message = unpack_message([pack_message(kind, body, seq, ack), *frames])

    assert message == (kind, seq, ack, body, tuple(frames))


@given(st.binary())
def test_arbitrary_bytes_give_only_protocol_errors(garbage):
    with contextlib.suppress(ProtocolError):
        unpack_message([garbage])


@given(st.sampled_from(Kind), st.lists(field), st.data())
def test_a_mutated_message_gives_only_protocol_errors(kind, body, data):
    packed = bytearray(pack_message(kind, body, 1, 2))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))

    with contextlib.suppress(ProtocolError):
        unpack_message([bytes(packed)])


@pytest.mark.parametrize(
    "header",
    [
        [],
        [PROTOCOL, 1, 2, 3],
        {"version": PROTOCOL},
        [PROTOCOL, "HELLO", 0, 0, []],
        [PROTOCOL, 1, None, 0, []],
        [PROTOCOL, 1, 0, 0, "body"],
        [PROTOCOL + 1, Kind.LEASES, 0, 0, []],
    ],
)
def test_a_header_of_another_shape_is_refused(header):
    with pytest.raises(ProtocolError):
        unpack_message([msgpack.packb(header)])


EMPTY_VALUES = {"lists": b"\x90", "tables": b"\x80", "numbers": b"\x00", "texts": b"\xa0"}


def announcing(count, content):
    """Return a frame 0 whose body is a list of `count` values."""
    return b"\x95\x01\x11\x00\x00\xdd" + count.to_bytes(4) + content


@pytest.mark.parametrize("values", EMPTY_VALUES.values(), ids=EMPTY_VALUES)
def test_many_small_values_do_not_become_many_times_their_size_in_memory(values):
    frame = announcing(4 * MOST_VALUES, values * (4 * MOST_VALUES))
    tracemalloc.start()

    with pytest.raises(ProtocolError, match="not msgpack"):
        unpack_message([frame])

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(frame) // 4


def test_many_small_values_in_lists_of_lists_are_counted_together():
    inner = b"\xdd" + (MOST_VALUES // 8).to_bytes(4) + b"\x90" * (MOST_VALUES // 8)

    with pytest.raises(ProtocolError, match=f"more than {MOST_VALUES} values"):
        unpack_message([announcing(9, inner * 9)])


def test_a_large_message_of_large_payloads_passes():
    body = [[number, 0, bytes(60_000), None, 5] for number in range(200)]

    assert unpack_message([pack_message(Kind.RESULTS, body)]).body == body


def test_no_frame_at_all_is_refused():
    with pytest.raises(ProtocolError):
        unpack_message([])


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.REFUSED])
def test_a_greeting_of_another_version_is_read_so_that_it_can_be_answered(kind):
    message = unpack_message([msgpack.packb([PROTOCOL + 1, kind, 0, 0, ["x"]])])

    assert message.body == ["x"]


def test_fields_of_a_later_version_are_ignored():
    message = unpack_message([msgpack.packb([PROTOCOL, Kind.HEARTBEAT, 0, 0, [], "new"])])

    assert message.kind == Kind.HEARTBEAT
