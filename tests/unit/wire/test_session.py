"""One end of a session: numbers, acknowledgements, heartbeats, silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurro.errors import ProtocolError
from concurro.wire.messages import Kind, pack_message, unpack_message
from concurro.wire.session import (
    ACK_DELAY,
    ACK_EVERY,
    ASK_AGAIN,
    HEARTBEAT_PERIOD,
    OF_A_CONNECTION,
    OWN_STALL,
    SILENCE_LIMIT,
    LastingSession,
    Session,
    StallWatch,
)

NOW = 100.0


@pytest.fixture(params=[Session, LastingSession])
def kind_of_session(request):
    return request.param


@pytest.fixture
def here(kind_of_session):
    return kind_of_session(NOW)


@pytest.fixture
def there(kind_of_session):
    return kind_of_session(NOW)


@pytest.fixture
def ours():
    return LastingSession(NOW)


@pytest.fixture
def theirs():
    return LastingSession(NOW)


def say(session, number=0, now=NOW):
    return session.pack(Kind.STARTED, [[number]], now)


def test_a_message_arrives_as_it_was_sent(here, there):
    packed = here.pack(Kind.STARTED, [[1, 2]], NOW, [b"raw"])

    message = there.accept(packed, NOW)

    assert (message.kind, message.body, message.frames) == (Kind.STARTED, [[1, 2]], (b"raw",))


def test_messages_are_numbered_from_one_per_direction(here, there):
    seqs = [there.accept(say(here), NOW).seq for _ in range(3)]
    answer = here.accept(there.pack(Kind.RECALL, [[]], NOW), NOW)

    assert seqs == [1, 2, 3]
    assert (answer.seq, answer.ack) == (1, 3)


@pytest.mark.parametrize("kind", sorted(OF_A_CONNECTION), ids=lambda kind: kind.name)
def test_messages_of_a_connection_take_no_number(here, there, kind):
    there.accept(here.pack(kind, [], NOW), NOW)

    assert there.accept(say(here), NOW).seq == 1


def test_heartbeats_are_no_message(here, there):
    assert there.accept(here.pack(Kind.HEARTBEAT, [], NOW), NOW) is None


@pytest.mark.parametrize("seq", [0, 2, 5])
def test_where_nothing_can_be_lost_a_hole_or_a_duplicate_is_an_error(seq):
    there = Session(NOW)

    with pytest.raises(ProtocolError, match=f"message {seq} came where 1 was due"):
        there.accept([pack_message(Kind.STARTED, [[]], seq, 0)], NOW)
    assert there.accept([pack_message(Kind.STARTED, [[]], 1, 0)], NOW).seq == 1


def test_where_nothing_can_be_lost_nothing_is_kept():
    here = Session(NOW)

    say(here)

    assert here.kept_bytes == 0
    assert here.may_send()


def test_a_message_that_cannot_be_packed_or_sent_leaves_no_hole(here, there):
    with pytest.raises(OverflowError):
        here.pack(Kind.STARTED, [[1 << 70]], NOW)
    say(here)
    here.unsend()

    assert there.accept(say(here, 7), NOW).body == [[7]]
    assert there.accept(say(here), NOW).seq == 2


def test_a_heartbeat_is_due_when_nothing_was_said_for_a_while(here):
    assert not here.heartbeat_due(NOW + HEARTBEAT_PERIOD - 0.1)
    assert here.heartbeat_due(NOW + HEARTBEAT_PERIOD)

    say(here, now=NOW + HEARTBEAT_PERIOD)

    assert not here.heartbeat_due(NOW + HEARTBEAT_PERIOD + 0.1)


def test_a_peer_is_silent_only_after_the_limit(there):
    assert not there.silent(NOW + SILENCE_LIMIT)
    assert there.silent(NOW + 0.1 + SILENCE_LIMIT)


def test_any_bytes_show_that_the_peer_lives(here, there):
    there.accept(here.pack(Kind.HEARTBEAT, [], NOW), 150.0)
    assert not there.silent(155.0)

    with pytest.raises(ProtocolError):
        there.accept([b"garbage"], 200.0)
    assert not there.silent(205.0)


# What outlives a connection


def test_a_duplicate_is_dropped_and_acknowledged_again(ours, theirs):
    packed = say(ours)
    assert theirs.accept(packed, NOW).seq == 1
    say(theirs)
    assert theirs.acknowledge_at() is None

    assert theirs.accept(packed, NOW) is None

    assert theirs.acknowledge_at() <= NOW
    assert theirs.duplicates == 1


def test_a_hole_is_asked_for_once_and_filled_in_order(ours, theirs):
    packed = [say(ours, number) for number in range(4)]
    theirs.accept(packed[0], NOW)

    assert [theirs.accept(frames, NOW) for frames in packed[2:]] == [None, None]
    [ask] = theirs.take_replies(NOW)
    assert theirs.take_replies(NOW) == []
    assert ours.accept(ask, NOW) is None
    again = ours.take_replies(NOW)

    assert [theirs.accept(frames, NOW).body for frames in again] == [[[1]], [[2]], [[3]]]
    assert theirs.holes == 1


def test_a_hole_that_is_not_filled_is_asked_for_again(ours, theirs):
    packed = [say(ours, number) for number in range(4)]
    theirs.accept(packed[1], NOW)
    theirs.take_replies(NOW)

    theirs.accept(packed[2], NOW + ASK_AGAIN / 2)
    assert theirs.take_replies(NOW) == []
    theirs.accept(packed[3], NOW + ASK_AGAIN)

    assert len(theirs.take_replies(NOW + ASK_AGAIN)) == 1


def test_a_heartbeat_shows_that_the_tail_was_lost(ours, theirs):
    say(ours, 5)

    theirs.accept(ours.pack(Kind.HEARTBEAT, [], NOW), NOW)
    ours.accept(*theirs.take_replies(NOW), NOW)

    assert [theirs.accept(frames, NOW).body for frames in ours.take_replies(NOW)] == [[[5]]]


def test_who_asks_all_the_time_is_not_answered_all_the_time(ours):
    say(ours)
    ask = [pack_message(Kind.RESEND, [])]

    answers = []
    for moment in range(100):
        ours.accept(ask, NOW + moment * 0.01)
        answers += ours.take_replies(NOW + moment * 0.01)

    assert len(answers) <= 3


def test_what_was_acknowledged_is_let_go(ours, theirs):
    for _ in range(3):
        theirs.accept(say(ours), NOW)
    say(ours)
    before = ours.kept_bytes

    ours.accept(theirs.pack(Kind.HEARTBEAT, [], NOW), NOW)

    assert ours.acknowledged == 3
    assert ours.kept_bytes == before / 4
    assert [unpack_message(frames).seq for frames in ours.rebind(3, NOW)] == [4]


def test_an_acknowledgement_of_what_was_never_sent_is_an_error(ours):
    say(ours)

    with pytest.raises(ProtocolError, match="message 2 was acknowledged, 1 were sent"):
        ours.accept([pack_message(Kind.HEARTBEAT, [], 0, 2)], NOW)
    with pytest.raises(ProtocolError, match="message 9 was acknowledged, 1 were sent"):
        ours.rebind(9, NOW)


def test_an_older_acknowledgement_than_the_last_changes_nothing(ours, theirs):
    old = theirs.pack(Kind.HEARTBEAT, [], NOW)
    theirs.accept(say(ours), NOW)
    ours.accept(theirs.pack(Kind.HEARTBEAT, [], NOW), NOW)

    ours.accept(old, NOW)

    assert ours.acknowledged == 1


def test_an_acknowledgement_rides_along(ours, theirs):
    theirs.accept(say(ours), NOW)

    ours.accept(say(theirs), NOW)

    assert theirs.acknowledge_at() is None
    assert ours.kept_bytes == 0


def test_an_acknowledgement_that_finds_no_ride_goes_alone_a_little_later(ours, theirs):
    theirs.accept(say(ours), NOW)
    theirs.accept(say(ours), NOW + 0.05)

    assert theirs.acknowledge_at() == NOW + ACK_DELAY

    theirs.pack(Kind.HEARTBEAT, [], NOW + ACK_DELAY)
    assert theirs.acknowledge_at() is None


def test_many_messages_are_acknowledged_without_waiting(ours, theirs):
    for _ in range(ACK_EVERY - 1):
        theirs.accept(say(ours), NOW)
    assert theirs.acknowledge_at() == NOW + ACK_DELAY

    theirs.accept(say(ours), NOW)

    assert theirs.acknowledge_at() < NOW


def test_a_full_session_says_so_until_it_is_acknowledged(theirs):
    ours = LastingSession(NOW, kept_limit=1000)
    theirs.accept(ours.pack(Kind.STARTED, [[]], NOW, [memoryview(bytes(900))]), NOW)
    assert ours.may_send()
    theirs.accept(ours.pack(Kind.STARTED, [[]], NOW, [memoryview(bytes(900))]), NOW)
    assert not ours.may_send()

    ours.accept(theirs.pack(Kind.HEARTBEAT, [], NOW), NOW)

    assert ours.may_send()
    assert ours.kept_bytes == 0


def test_messages_of_a_connection_are_never_sent_again(ours):
    ours.pack(Kind.HELLO, [], NOW)
    say(ours)
    ours.pack(Kind.GOODBYE, [], NOW)

    assert [unpack_message(frames).kind for frames in ours.rebind(0, NOW)] == [Kind.STARTED]


def test_a_hello_carries_no_acknowledgement_that_a_stranger_could_stumble_over(ours, theirs):
    for _ in range(3):
        theirs.accept(say(ours), NOW)

    hello = LastingSession(NOW).accept(theirs.pack(Kind.HELLO, [], NOW), NOW)

    assert hello.kind == Kind.HELLO


# Our own stalls


def test_who_looks_regularly_has_not_stalled():
    watch = StallWatch(NOW)

    assert [watch.stalled(NOW + second) for second in range(5)] == [0.0] * 5


def test_a_stall_of_our_own_is_told_once_with_its_length():
    watch = StallWatch(NOW)

    assert watch.stalled(NOW + OWN_STALL + 1) == OWN_STALL + 1
    assert watch.stalled(NOW + OWN_STALL + 2) == 0.0


# Nonsense


@given(st.sampled_from([Session, LastingSession]), st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_arbitrary_bytes_give_only_protocol_errors(kind_of_session, frames):
    session = kind_of_session(0.0)

    try:
        session.accept(frames, 0.0)
    except ProtocolError:
        assert session.received == 0


@given(st.sampled_from([Session, LastingSession]), st.integers(0, 200), st.integers(0, 255))
def test_a_mutated_byte_gives_a_message_or_a_protocol_error(kind_of_session, place, value):
    [frame] = kind_of_session(0.0).pack(Kind.RESULTS, [[1, 0, b"value", None, 5]], 0.0)
    packed = bytearray(frame)
    packed[place % len(packed)] = value
    session = kind_of_session(0.0)

    try:
        session.accept([bytes(packed)], 0.0)
    except ProtocolError:
        assert session.received == 0
