"""One end of a session: numbers, heartbeats, silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurro.errors import ProtocolError
from concurro.wire.messages import Kind, pack_message
from concurro.wire.session import HEARTBEAT_PERIOD, SILENCE_LIMIT, Session


@pytest.fixture
def here():
    return Session(100.0)


@pytest.fixture
def there():
    return Session(100.0)


def test_a_message_arrives_as_it_was_sent(here, there):
    packed = here.pack(Kind.STARTED, [[1, 2]], 100.0)

    message = there.accept([packed, b"raw"], 100.0)

    assert (message.kind, message.body, message.frames) == (Kind.STARTED, [[1, 2]], (b"raw",))


def test_messages_are_numbered_from_one_per_direction(here, there):
    seqs = [there.accept([here.pack(Kind.STARTED, [[]], 100.0)], 100.0).seq for _ in range(3)]
    answer = here.accept([there.pack(Kind.RECALL, [[]], 100.0)], 100.0)

    assert seqs == [1, 2, 3]
    assert (answer.seq, answer.ack) == (1, 3)


def test_heartbeats_take_no_number_and_are_no_message(here, there):
    assert there.accept([here.pack(Kind.HEARTBEAT, [], 100.0)], 100.0) is None

    assert there.accept([here.pack(Kind.STARTED, [[]], 100.0)], 100.0).seq == 1


@pytest.mark.parametrize("seq", [0, 2, 5])
def test_a_hole_or_a_duplicate_is_an_error(there, seq):
    with pytest.raises(ProtocolError, match=f"message {seq} came where 1 was due"):
        there.accept([pack_message(Kind.STARTED, [[]], seq, 0)], 100.0)


def test_the_message_that_was_due_is_accepted_after_a_wrong_one(there):
    with pytest.raises(ProtocolError):
        there.accept([pack_message(Kind.STARTED, [[]], 7, 0)], 100.0)

    assert there.accept([pack_message(Kind.STARTED, [[]], 1, 0)], 100.0).seq == 1


def test_a_heartbeat_is_due_when_nothing_was_said_for_a_while(here):
    assert not here.heartbeat_due(100.0 + HEARTBEAT_PERIOD - 0.1)
    assert here.heartbeat_due(100.0 + HEARTBEAT_PERIOD)

    here.pack(Kind.STARTED, [[]], 100.0 + HEARTBEAT_PERIOD)

    assert not here.heartbeat_due(100.0 + HEARTBEAT_PERIOD + 0.1)


def test_a_peer_is_silent_only_after_the_limit(there):
    assert not there.silent(100.0 + SILENCE_LIMIT)
    assert there.silent(100.1 + SILENCE_LIMIT)


def test_any_bytes_show_that_the_peer_lives(here, there):
    there.accept([here.pack(Kind.HEARTBEAT, [], 100.0)], 150.0)
    assert not there.silent(155.0)

    with pytest.raises(ProtocolError):
        there.accept([b"garbage"], 200.0)
    assert not there.silent(205.0)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_arbitrary_bytes_give_only_protocol_errors(frames):
    session = Session(0.0)

    try:
        session.accept(frames, 0.0)
    except ProtocolError:
        assert session.received == 0


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_mutated_byte_gives_a_message_or_a_protocol_error(place, value):
    packed = bytearray(Session(0.0).pack(Kind.RESULTS, [[1, 0, b"value", None, 5]], 0.0))
    packed[place % len(packed)] = value
    session = Session(0.0)

    try:
        session.accept([bytes(packed)], 0.0)
    except ProtocolError:
        assert session.received == 0
