"""Sessions that outlive their connections: a door, dialers, and a bad network in between."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from concurro.ids import Role
from concurro.nodes import door as door_module
from concurro.nodes.dialer import Dialer
from concurro.nodes.door import Door
from concurro.nodes.peer import Peer
from concurro.transport.addresses import connect
from concurro.transport.keys_folder import KeyFolder
from concurro.wire.messages import Farewell, Kind
from concurro.wire.schema import Sender
from concurro.wire.session import SILENCE_LIMIT
from tests.support.far_cluster import make_keys
from tests.support.fault_proxy import FaultProxy
from tests.support.messages import hello_body

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 7
DIGEST = b"d" * 32


class Guest:
    """A peer at the door, and what was heard of it."""

    def __init__(self, peer):
        self.peer = peer
        self.heard = []
        self.events = []
        peer.on_message = lambda message: self.heard.append((message.kind, message.body))
        peer.on_chunks_lost = lambda: self.events.append("chunks lost")


class House:
    """A door and everybody who came in."""

    def __init__(self, turner, keys, grace=60.0):
        self.guests = []
        self.left = []
        self.late = []
        door = self.door = Door(turner.loop, EPOCH, grace, pytest.fail)
        door.on_joined = lambda peer, role, name, facts: self.guests.append(Guest(peer))
        door.on_away = lambda peer, reason: self.of(peer).events.append("away")
        door.on_back = lambda peer: self.of(peer).events.append("back")
        door.on_left = lambda peer, reason, since: self.left.append((peer, reason))
        door.on_late = lambda peer, message: self.late.append(message.body)
        self.url = door.open("tcp://127.0.0.1:0", keys, 1000)

    def of(self, peer):
        return next(guest for guest in self.guests if guest.peer is peer)


class Caller:
    """A dialler, and what came of it."""

    def __init__(self, turner, url, keys, role=Role.SLAVE, patience=SILENCE_LIMIT, **facts):
        self.joined = []
        self.heard = []
        self.ended = []
        self.failed = []
        self.chunks_lost = 0
        facts = {"pid": os.getpid(), "workers": 0, **facts}
        self.dialer = Dialer(turner.loop, url, role, "here", facts, patience=5.0, resume_patience=patience, keys=keys)
        self.dialer.on_joined = self._joined
        self.dialer.on_failed = self.failed.append

    def _joined(self, peer, welcome):
        self.joined.append(welcome)
        self.peer = peer
        peer.on_message = lambda message: self.heard.append((message.kind, message.body))
        peer.on_closed = self.ended.append
        peer.on_chunks_lost = self._lose

    def _lose(self):
        self.chunks_lost += 1


@pytest.fixture
def keys(tmp_path) -> Path:
    """Give a folder with keys of a slave and an application."""
    make_keys(tmp_path)
    return tmp_path / "keys"


@pytest.fixture
def build(turner, keys, runtime_folder):
    """Return a function that makes a house."""
    houses = []

    def make(**options):
        houses.append(House(turner, keys, **options))
        return houses[-1]

    yield make
    for house in houses:
        house.door.close("the test is over", Farewell.STOPPED)


@pytest.fixture
def house(build):
    return build()


@pytest.fixture
def net(house):
    with FaultProxy(house.url) as proxy:
        yield proxy


@pytest.fixture
def dial(turner, keys):
    """Return a function that makes a caller that has joined."""
    callers = []

    def join(house, url, **options):
        name = "far-application.key" if options.get("role") is Role.APPLICATION else "far-slave.key"
        caller = Caller(turner, url, keys / name, **options)
        callers.append(caller)
        caller.dialer.start()
        turner.until(lambda: caller.joined)
        return caller, house.guests[-1]

    yield join
    for caller in callers:
        caller.dialer.stop()
        if caller.joined:
            caller.peer.close()


def started(numbers):
    return [(Kind.STARTED, [[number]]) for number in numbers]


def recalled(numbers):
    return [(Kind.RECALL, [[number]]) for number in numbers]


def test_what_is_said_before_while_and_after_a_cut_arrives_once_and_in_order(turner, house, net, dial):
    caller, guest = dial(house, net.url)
    for number in range(300):
        if number == 100:
            turner.until(lambda: len(guest.heard) > 50)
            net.cut()
        if number == 200:
            turner.until(lambda: guest.peer.link is None)
        caller.peer.send(Kind.STARTED, [[number]])
        guest.peer.send(Kind.RECALL, [[number]])

    turner.until(lambda: len(guest.heard) >= 300 and len(caller.heard) >= 300)
    turner.settle()

    assert guest.heard == started(range(300))
    assert caller.heard == recalled(range(300))
    assert "back" in guest.events
    assert len(house.guests) == len(caller.joined) == 1
    assert caller.ended == []


def test_what_was_acknowledged_is_kept_no_longer_though_nobody_answers(turner, house, dial):
    caller, guest = dial(house, house.url)
    for number in range(10):
        caller.peer.send(Kind.STARTED, [[number]])
    assert caller.peer.backlog() > 0

    turner.until(lambda: caller.peer.session.kept_bytes == 0)

    assert len(guest.heard) == 10


def test_f53_what_comes_twice_is_dropped_by_its_number(turner, house, dial):
    caller, guest = dial(house, house.url)
    send = caller.peer.link.send
    caller.peer.link.send = lambda frames: (send(frames), send(frames))

    for number in range(20):
        caller.peer.send(Kind.STARTED, [[number]])
    turner.until(lambda: len(guest.heard) >= 20 and caller.peer.session.kept_bytes == 0)
    turner.settle()

    assert guest.heard == started(range(20))
    assert guest.peer.session.duplicates == 20


def test_f54_what_is_missing_is_asked_for_and_nothing_behind_it_comes_first(turner, house, dial):
    caller, guest = dial(house, house.url)
    send = caller.peer.link.send
    count = iter(range(1000))
    caller.peer.link.send = lambda frames: send(frames) if next(count) % 3 else None

    for number in range(20):
        caller.peer.send(Kind.STARTED, [[number]])
    caller.peer.link.send = send
    caller.peer.send(Kind.STARTED, [[20]])
    turner.until(lambda: len(guest.heard) >= 21)
    turner.settle()

    assert guest.heard == started(range(21))
    assert guest.peer.session.holes >= 1


@pytest.mark.slow
def test_a_connection_that_died_silently_is_replaced(turner, house, net, dial, monkeypatch):
    monkeypatch.setattr("concurro.nodes.dialer.LINK_LIMIT", 0.3)
    monkeypatch.setattr("concurro.nodes.dialer.LOOK_PERIOD", 0.1)
    caller, guest = dial(house, net.url)

    net.swallow()
    caller.peer.send(Kind.STARTED, [[1]])
    guest.peer.send(Kind.RECALL, [[2]])
    turner.until(lambda: guest.heard and caller.heard)

    assert (guest.heard, caller.heard) == (started([1]), recalled([2]))
    assert len(house.guests) == 1


def test_who_is_given_up_is_told_when_it_comes_back(turner, build, dial):
    house = build(grace=0.0)
    with FaultProxy(house.url) as net:
        caller, guest = dial(house, net.url, role=Role.APPLICATION)
        net.refuse()
        net.cut()
        turner.until(lambda: house.left)
        net.refuse(refusing=False)
        turner.until(lambda: caller.ended)

    assert house.left == [(guest.peer, "it did not come back")]
    assert "the master has given us up" in caller.ended[0]
    assert caller.failed == []


def test_an_application_without_a_connection_is_waited_for(turner, house, net, dial):
    caller, guest = dial(house, net.url, role=Role.APPLICATION)

    net.refuse()
    net.cut()
    turner.until(lambda: "away" in guest.events)
    net.refuse(refusing=False)
    turner.until(lambda: "back" in guest.events)

    assert house.left == []
    assert caller.ended == []


def test_who_cannot_come_back_in_time_gives_up(turner, house, net, dial, monkeypatch):
    monkeypatch.setattr("concurro.nodes.dialer.HELLO_PATIENCE", 0.1)
    monkeypatch.setattr("concurro.nodes.dialer.LINK_LIMIT", 0.1)
    caller, _ = dial(house, net.url, patience=0.5)

    net.refuse()
    net.cut()
    turner.until(lambda: caller.ended)

    assert caller.dialer.gave_up
    assert "no master at" in caller.ended[0]
    assert caller.failed == []


def test_a_slave_that_is_silent_is_lost_and_what_it_says_then_is_late(turner, house, net, dial, monkeypatch):
    caller, guest = dial(house, net.url)
    net.hold()
    caller.peer.send(Kind.STARTED, [[1]])
    guest.peer.session.last_heard -= SILENCE_LIMIT + 1
    turner.until(lambda: house.left)

    net.release()
    turner.until(lambda: house.late and caller.ended)

    assert house.left == [(guest.peer, "silent for 11 s")]
    assert house.late == [[[1]]]
    assert guest.heard == []
    assert caller.ended == ["silent for too long"]


def test_an_application_that_is_silent_is_not_lost(turner, house, dial):
    _, guest = dial(house, house.url, role=Role.APPLICATION)
    guest.peer.session.last_heard -= 1000

    turner.loop.turn(door_module.CHECK_PERIOD + 0.1)
    turner.settle()

    assert house.left == []


def test_f70_nobody_is_blamed_for_a_stall_of_our_own(turner, house, net, dial, monkeypatch):
    _, guest = dial(house, net.url)
    real = time.monotonic
    net.hold()
    turner.settle()

    monkeypatch.setattr(turner.loop, "now", lambda: real() + 60)
    turner.until(lambda: house.left or not guest.peer.session.silent(real() + 60))

    assert house.left == []


def test_f37_a_peer_whose_process_on_this_machine_has_ended_is_gone_at_once(turner, house, net, dial):
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        caller, guest = dial(house, net.url, pid=process.pid)
        net.refuse()
        net.cut()
        turner.until(lambda: guest.events)
        turner.loop.turn(door_module.CHECK_PERIOD + 0.05)
        assert house.left == []

        process.kill()
        turner.until(lambda: house.left)

    assert house.left == [(guest.peer, "its process has ended")]
    caller.dialer.stop()


# Whose session it is


@pytest.fixture
def others(keys) -> Path:
    """Give the key of another slave."""
    path: Path = KeyFolder(keys).add("slave", "other-slave")
    return path


def test_nobody_with_another_key_takes_a_session_over(turner, house, dial, others):
    caller, guest = dial(house, house.url)
    before = guest.peer.link

    answers = []
    thief = Peer(turner.loop, connect(turner.loop, house.url, others, Role.SLAVE), Sender.MASTER)
    thief.on_message = lambda message: answers.append((message.kind, message.body[0]))
    body = hello_body()
    body[3], body[4] = caller.dialer._session_id, EPOCH
    thief.send(Kind.HELLO, body)
    turner.until(lambda: answers)

    assert answers == [(Kind.REFUSED, "session")]
    assert guest.peer.link is before
    thief.close()


def test_nobody_with_another_key_ends_a_session_with_a_hello_of_its_own(turner, house, dial, others):
    caller, _ = dial(house, house.url)

    thief = Peer(turner.loop, connect(turner.loop, house.url, others, Role.SLAVE), Sender.MASTER)
    answers = []
    thief.on_message = lambda message: answers.append(message.kind)
    body = hello_body()
    body[3] = caller.dialer._session_id
    thief.send(Kind.HELLO, body)
    turner.until(lambda: answers)

    assert house.left == []
    assert len(house.door.peers) == 2
    thief.close()


def test_nobody_with_another_key_gets_the_blobs_of_a_session(turner, house, dial, others):
    caller, guest = dial(house, house.url)
    turner.until(lambda: guest.peer.has_data_link)
    token = caller.joined[0][5]["data"]

    thief = Peer(turner.loop, connect(turner.loop, house.url, others, Role.SLAVE), Sender.MASTER)
    answers = []
    thief.on_message = lambda message: answers.append((message.kind, message.body[0]))
    thief.send(Kind.BIND, [token])
    turner.until(lambda: answers)

    assert answers == [(Kind.REFUSED, "session")]
    thief.close()


def test_a_session_of_another_epoch_has_ended(turner, house, net, dial):
    caller, _ = dial(house, net.url)
    caller.dialer._epoch += 1

    net.cut()
    turner.until(lambda: caller.ended)

    assert caller.ended == ["the master has given us up: it was restarted meanwhile"]


# Blobs


def chunk(peer, size=100):
    peer.send(Kind.BLOB_CHUNK, [DIGEST, size, 0], [bytes(size)])


def test_chunks_have_a_connection_of_their_own_and_take_no_number(turner, house, net, dial):
    caller, guest = dial(house, net.url)
    turner.until(lambda: caller.peer.has_data_link and guest.peer.has_data_link)
    numbers = caller.peer.session.sent, guest.peer.session.sent

    chunk(caller.peer)
    chunk(guest.peer)
    turner.until(lambda: guest.heard and caller.heard)

    assert guest.heard == caller.heard == [(Kind.BLOB_CHUNK, [DIGEST, 100, 0])]
    assert (caller.peer.session.sent, guest.peer.session.sent) == numbers
    assert net.connections == 2


def test_without_a_data_connection_chunks_travel_with_everything_else(turner, house, dial):
    caller, guest = dial(house, house.url)
    assert not guest.peer.has_data_link

    chunk(guest.peer)
    turner.until(lambda: caller.heard)

    assert caller.heard == [(Kind.BLOB_CHUNK, [DIGEST, 100, 0])]


def test_a_lost_data_connection_is_told_at_both_ends_and_made_anew(turner, house, net, dial, monkeypatch):
    monkeypatch.setattr("concurro.nodes.dialer.HELLO_PATIENCE", 0.3)
    caller, guest = dial(house, net.url)
    turner.until(lambda: caller.peer.has_data_link and guest.peer.has_data_link)
    before = caller.chunks_lost

    guest.peer.unbind_data("for a test")
    assert guest.events.count("chunks lost") == 2
    turner.until(lambda: caller.chunks_lost > before)
    turner.until(lambda: caller.peer.has_data_link and guest.peer.has_data_link)
    chunk(caller.peer)
    turner.until(lambda: guest.heard)

    assert caller.ended == house.left == []


def test_what_is_no_chunk_is_refused_on_a_data_connection(turner, house, dial, caplog):
    caller, guest = dial(house, house.url)
    turner.until(lambda: caller.peer.has_data_link and guest.peer.has_data_link)

    caller.peer._data.send(caller.peer.session.pack(Kind.RESULTS, [], turner.loop.now()))
    turner.until(lambda: caplog.text)

    assert "RESULTS is no message for a data connection" in caplog.text
    assert guest.heard == []


# Many


@pytest.mark.slow
def test_f47_many_at_once_come_back_one_by_one(turner, house, net, dial):
    callers = [dial(house, net.url)[0] for _ in range(30)]
    turner.until(lambda: all(caller.peer.has_data_link for caller in callers))

    net.cut()
    cut_at = time.monotonic()
    turner.until(lambda: all(guest.events.count("back") == 1 for guest in house.guests))

    back = sorted(when - cut_at for when in net.accepted if when > cut_at)
    crowd = max(sum(1 for when in back if start <= when < start + 0.05) for start in back)
    assert len(house.guests) == 30
    assert len(back) >= 30
    assert crowd < len(back) / 2
    assert back[-1] - back[0] > 0.2


def test_who_says_nothing_is_not_waited_for_for_ever(turner, house, keys, monkeypatch):
    monkeypatch.setattr(door_module, "STRANGER_PATIENCE", 0.1)
    silent = Peer(turner.loop, connect(turner.loop, house.url, keys, Role.SLAVE), Sender.MASTER)
    answers = []
    silent.on_message = lambda message: answers.append(message.body[0])
    silent.send(Kind.HEARTBEAT, [])

    turner.until(lambda: answers)

    assert answers == ["hello"]
    silent.close()


def test_who_does_not_take_what_it_is_sent_is_told_apart_until_it_does(turner, house, net, dial, monkeypatch):
    caller, guest = dial(house, net.url)
    full = []
    house.door.on_full = lambda peer, is_full: full.append(is_full)
    guest.peer.session._kept_limit = 10_000
    net.hold()

    for _ in range(100):
        guest.peer.send(Kind.RECALL, [list(range(100))])
    turner.until(lambda: full)
    net.release()
    turner.until(lambda: len(full) == 2)

    assert full == [True, False]
    assert len(caller.heard) == 100


@pytest.mark.slow
def test_a_master_that_is_not_there_is_noticed_without_waiting_in_the_loop(turner, house, net, dial):
    caller, _ = dial(house, net.url)
    began = time.monotonic()

    net.close()
    turner.until(lambda: caller.dialer._attempts > 3)

    assert caller.dialer._last == "nobody listens there"
    assert caller.ended == []
    assert time.monotonic() - began < 20
    caller.dialer.stop()
