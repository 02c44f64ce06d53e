"""Sessions over links: goodbyes, heartbeats, and peers that talk nonsense."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import pytest

from concurro.nodes.peer import PROTOCOL_ERROR_LIMIT, Peer, keep_beating
from concurro.transport.addresses import Listener, connect
from concurro.transport.stream import StreamLink
from concurro.wire.messages import Kind
from concurro.wire.schema import Sender
from concurro.wire.session import HEARTBEAT_PERIOD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Ear:
    """Hears what a peer says, and how it ends."""

    def __init__(self, peer):
        self.peer = peer
        self.messages = []
        self.closed = []
        peer.on_message = lambda message: self.messages.append((message.kind, message.body, message.frames))
        peer.on_closed = self.closed.append


@pytest.fixture
def by_stream(turner) -> Iterator[Callable[[], tuple[Ear, Ear]]]:
    """Return a function that gives a master's and a slave's end of one session."""
    ears = []

    def pair():
        ours, theirs = (StreamLink(turner.loop, stream) for stream in socket.socketpair())
        ears.extend([Ear(Peer(turner.loop, ours, Sender.SLAVE)), Ear(Peer(turner.loop, theirs, Sender.MASTER))])
        return ears[-2], ears[-1]

    yield pair
    for ear in ears:
        ear.peer.close()


@pytest.fixture
def by_tcp(turner) -> Iterator[Callable[[], tuple[Ear, Ear]]]:
    """Return the same over TCP."""
    ears = []
    listener = Listener(turner.loop, "tcp://127.0.0.1:0", lambda link: ears.append(Ear(Peer(turner.loop, link))))

    def pair():
        theirs = Ear(Peer(turner.loop, connect(turner.loop, listener.url), Sender.MASTER))
        theirs.peer.send(Kind.HELLO, [1, "3.11", "slave", b"session", 0, 0, "here", {"workers": 1}])
        turner.until(lambda: ears and ears[-1].messages)
        ours = ears[-1]
        ours.peer.sender = Sender.SLAVE
        ours.messages.clear()
        ears.append(theirs)
        return ours, theirs

    yield pair
    for ear in ears:
        ear.peer.close()
    listener.close()


@pytest.fixture(params=["by_stream", "by_tcp"])
def ends(request) -> tuple[Ear, Ear]:
    """Give the master's and the slave's end of a session."""
    return request.getfixturevalue(request.param)()


@pytest.fixture
def master(ends) -> Ear:
    return ends[0]


@pytest.fixture
def slave(ends) -> Ear:
    return ends[1]


def test_messages_arrive_both_ways(turner, master, slave):
    slave.peer.send(Kind.STARTED, [[1, 2]])
    turner.until(lambda: master.messages)
    master.peer.send(Kind.BLOB_CHUNK, [bytes(32), 3, 0], [b"abc"])
    turner.until(lambda: slave.messages)

    assert master.messages == [(Kind.STARTED, [[1, 2]], ())]
    assert [(kind, body, bytes(frames[0])) for kind, body, frames in slave.messages] == [
        (Kind.BLOB_CHUNK, [bytes(32), 3, 0], b"abc")
    ]


@pytest.mark.parametrize(("reason", "heard"), [("enough", "enough"), ("", "the other end said goodbye")])
def test_who_leaves_says_why(turner, master, slave, reason, heard):
    master.peer.close(reason)
    master.peer.close(reason)

    turner.until(lambda: slave.closed)

    assert slave.closed == [heard]
    assert master.closed == []
    assert slave.peer.closed


def test_what_was_sent_before_a_goodbye_arrives_before_it(turner, master, slave):
    for number in range(100):
        slave.peer.send(Kind.STARTED, [[number]])

    slave.peer.close()
    turner.until(lambda: master.closed)

    assert [body for _, body, _ in master.messages] == [[[number]] for number in range(100)]


def test_nothing_is_said_after_a_goodbye(turner, master, slave):
    slave.peer.close()

    slave.peer.send(Kind.STARTED, [[1]])
    slave.peer.beat()
    turner.until(lambda: master.closed)

    assert master.messages == []


@pytest.mark.parametrize("nonsense", [[b"garbage"], [b""], [b"\x95\x02\x11\x00\x00\x90"]])
def test_some_nonsense_is_borne_and_logged(turner, master, slave, nonsense, caplog):
    slave.peer.send(Kind.STARTED, [[1]])
    for _ in range(PROTOCOL_ERROR_LIMIT - 1):
        slave.peer.link.send(nonsense)
    slave.peer.send(Kind.STARTED, [[2]])

    turner.until(lambda: len(master.messages) == 2)

    assert master.closed == []
    assert len([record for record in caplog.records if "bad message from" in record.getMessage()]) == 9


def test_ten_messages_of_nonsense_close_the_session_at_both_ends(turner, master, slave):
    slave.peer.send(Kind.STARTED, [[1]])
    for _ in range(PROTOCOL_ERROR_LIMIT + 5):
        slave.peer.link.send([b"garbage"])

    turner.until(lambda: master.closed and slave.closed)
    turner.settle()

    assert len(master.closed) == 1
    assert master.closed[0].startswith("protocol errors, the last: frame 0")
    assert len(slave.closed) == 1


def test_who_talks_nonsense_is_told_so(turner, master, slave):
    slave.peer.send(Kind.STARTED, [[1]])
    for _ in range(PROTOCOL_ERROR_LIMIT):
        slave.peer.link.send([b"garbage"])

    turner.until(lambda: slave.closed)

    assert slave.closed[0].startswith("protocol errors, the last: frame 0")


@pytest.mark.parametrize("kind", [Kind.SUBMIT, Kind.LEASES, Kind.HELLO, Kind.OUT])
def test_a_message_of_another_role_is_nonsense(turner, master, slave, kind, caplog):
    slave.peer.send(kind, [])
    slave.peer.send(Kind.STARTED, [[1]])

    turner.until(lambda: master.messages)

    assert [heard for heard, *_ in master.messages] == [Kind.STARTED]
    assert f"{kind.name} is no message of a peer that is slave" in caplog.text


def test_an_error_of_the_owner_closes_nobody_and_is_logged_with_its_place(turner, master, slave, caplog):
    heard = []

    def stumble(message):
        heard.append(message.kind)
        raise LookupError(message)

    master.peer.on_message = stumble
    slave.peer.send(Kind.STARTED, [[1]])
    slave.peer.send(Kind.RETURNED, [[1], ""])

    turner.until(lambda: len(heard) == 2)

    assert not master.peer.closed
    assert "in stumble" in caplog.text


def test_a_stranger_that_begins_with_nonsense_is_closed_at_once(turner):
    ours, theirs = socket.socketpair()
    ear = Ear(Peer(turner.loop, StreamLink(turner.loop, ours)))
    stranger = StreamLink(turner.loop, theirs)

    stranger.send([b"garbage"])
    turner.until(lambda: ear.closed)

    assert len(ear.closed) == 1
    assert ear.messages == []
    stranger.close()


def test_the_death_of_the_other_end_is_told_once(turner, master, slave):
    slave.peer.link.close()

    turner.until(lambda: master.closed)
    turner.settle()

    assert len(master.closed) == 1
    assert master.peer.closed


# Heartbeats


@pytest.fixture
def clock(turner, monkeypatch) -> dict[str, float]:
    """Give the time that the loop believes in."""
    clock = {"now": 1000.0}
    monkeypatch.setattr(turner.loop, "now", lambda: clock["now"])
    return clock


def test_a_heartbeat_goes_only_where_nothing_else_went(turner, clock, by_stream):
    master, slave = by_stream()
    heard = []
    master.peer.link.on_message = heard.append
    slave.peer.beat()
    clock["now"] += HEARTBEAT_PERIOD
    slave.peer.send(Kind.STARTED, [[1]])
    slave.peer.beat()
    turner.until(lambda: heard)
    assert len(heard) == 1

    clock["now"] += HEARTBEAT_PERIOD
    slave.peer.beat()
    slave.peer.beat()
    turner.until(lambda: len(heard) > 1)
    turner.settle()

    assert len(heard) == 2


def test_a_heartbeat_is_a_sign_of_life_and_no_message(turner, clock, by_stream):
    master, slave = by_stream()
    clock["now"] += 60
    slave.peer.beat()

    turner.until(lambda: not master.peer.session.silent(clock["now"]))

    assert master.messages == []
    assert master.closed == []


def test_nonsense_is_a_sign_of_life_too(turner, clock, by_stream, caplog):
    caplog.set_level(logging.CRITICAL)
    master, slave = by_stream()
    slave.peer.send(Kind.STARTED, [[1]])
    turner.until(lambda: master.messages)
    clock["now"] += 60
    slave.peer.link.send([b"garbage"])

    turner.until(lambda: not master.peer.session.silent(clock["now"]))

    assert master.closed == []


def test_heartbeats_go_to_whoever_is_there_until_they_are_ended(turner, clock, by_stream):
    master, slave = by_stream()
    clock["now"] += HEARTBEAT_PERIOD
    here = [slave.peer]

    stop = keep_beating(turner.loop, lambda: here)
    turner.until(lambda: master.peer.session.last_heard == clock["now"])
    stop()

    assert not any(timer.callback for _, _, timer in turner.loop._timers)
