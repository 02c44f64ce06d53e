"""The directory of tesserae: who is placed where, found, lost and placed again."""

from __future__ import annotations

import pytest

from concurro.ids import ServiceWorker
from concurro_monitor import RoundRobin
from concurro_monitor.service import MonitorService


class PlayedHost:
    """A master's side of a service, played by the test."""

    def __init__(self):
        self.later = []
        self.slots = {}

    def status(self):
        return {"slaves": [{"id": slave_id, "workers": workers} for slave_id, workers in self.slots.items()]}

    def on_slave_joined(self, callback):
        self.slave_joined = callback

    def on_slave_left(self, callback):
        self.slave_left = callback

    def on_worker_joined(self, callback):
        self.worker_joined = callback

    def on_worker_left(self, callback):
        self.worker_left = callback

    def hire(self):
        self.hired = True

    def after(self, delay, callback):
        self.later.append(callback)


class PlayedPeer:
    """Somebody who calls."""

    name = "peer"


@pytest.fixture
def host():
    return PlayedHost()


@pytest.fixture
def monitor(host):
    service = MonitorService()
    service.strategy = RoundRobin()
    service.setup(host)
    return service


def join(host, count):
    """Let workers join on one slave; return them."""
    host.slave_joined("s")
    workers = [ServiceWorker(f"s/{number}", "s", 100 + number) for number in range(count)]
    for worker in workers:
        host.worker_joined(worker)
    return workers


def test_workers_are_chosen_in_turn(host, monitor):
    join(host, 2)

    chosen = [monitor.place(PlayedPeer(), f"t{number}", "T", "", 0, 1).result(0)[1] for number in range(4)]

    assert chosen == ["worker:0:0", "worker:0:1"] * 2


def test_who_comes_before_the_workers_waits_for_one(host, monitor):
    placed = monitor.place(PlayedPeer(), "t", "T", "", 0, 1)
    assert not placed.done()
    assert host.hired

    join(host, 1)

    assert placed.result(0) == ["s/0", "worker:0:0", 1]


def test_a_worker_can_be_asked_for_by_uid_or_by_number(host, monitor):
    join(host, 2)

    assert monitor.place(PlayedPeer(), "a", "T", "worker:0:1", 0, 1).result(0)[0] == "s/1"
    assert monitor.place(PlayedPeer(), "b", "T", "#3", 0, 1).result(0)[0] == "s/1"
    with pytest.raises(LookupError, match=r"worker:7:7.*worker:0:0, worker:0:1"):
        monitor.place(PlayedPeer(), "c", "T", "worker:7:7", 0, 1).result(0)


def test_the_members_of_an_array_wait_until_every_slave_has_its_workers(host, monitor):
    host.slots = {"s": 2}
    placed = [monitor.place(PlayedPeer(), f"t{number}", "T", f"#{number}", 0, 1) for number in range(2)]

    join(host, 1)
    assert not placed[1].done()
    host.worker_joined(ServiceWorker("s/1", "s", 101))

    assert [one.result(0)[0] for one in placed] == ["s/0", "s/1"]


def test_an_array_does_not_wait_for_a_slave_that_never_gets_its_workers(host, monitor):
    host.slots = {"s": 1, "broken": 2}
    join(host, 1)
    placed = monitor.place(PlayedPeer(), "t", "T", "#0", 0, 1)
    assert not placed.done()

    for callback in list(host.later):
        callback()

    assert placed.result(0)[0] == "s/0"
    assert monitor.place(PlayedPeer(), "u", "T", "#0", 0, 1).done()


def test_an_unknown_tessera_is_a_key_error_after_a_while(host, monitor):
    join(host, 1)
    found = monitor.locate(PlayedPeer(), "t", 1)
    late = monitor.locate(PlayedPeer(), "u", 1)
    monitor.place(PlayedPeer(), "u", "T", "", 0, 1)

    for callback in host.later:
        callback()

    assert late.result(0)[0] == "s/0"
    with pytest.raises(KeyError, match="no tessera 't'"):
        found.result(0)


def test_a_lost_tessera_is_told_unless_it_is_placed_again(host, monitor):
    one, two = join(host, 2)
    creator = PlayedPeer()
    monitor.place(creator, "gone", "T", "worker:0:0", 0, 1)
    monitor.place(creator, "again", "T", "worker:0:0", 1, 1)
    host.worker_left(one, "killed")

    with pytest.raises(ConnectionError, match="killed"):
        monitor.locate(PlayedPeer(), "gone", 2).result(0)
    waiting = monitor.locate(PlayedPeer(), "again", 2)
    assert not waiting.done()
    monitor.place(creator, "again", "T", "", 0, 2)

    assert waiting.result(0) == [two.address, "worker:0:1", 2]


def test_nobody_waits_for_a_creator_that_left(host, monitor):
    one, _ = join(host, 2)
    creator = PlayedPeer()
    monitor.place(creator, "again", "T", "worker:0:0", 1, 1)
    host.worker_left(one, "killed")
    waiting = monitor.locate(PlayedPeer(), "again", 2)

    monitor.peer_left(creator, "closed")

    with pytest.raises(ConnectionError, match="creator is gone"):
        waiting.result(0)


def test_a_worker_that_left_is_never_chosen_and_its_name_not_given_again(host, monitor):
    one, _ = join(host, 2)
    host.worker_left(one, "killed")
    host.worker_joined(ServiceWorker("s/9", "s", 9))

    chosen = {monitor.place(PlayedPeer(), f"t{number}", "T", "", 0, 1).result(0)[1] for number in range(4)}

    assert chosen == {"worker:0:1", "worker:0:2"}


def test_a_name_of_the_warehouse_is_given_once(host, monitor):
    monitor.put_down(PlayedPeer(), "v", "s/0")

    with pytest.raises(ValueError, match="'v'"):
        monitor.put_down(PlayedPeer(), "v", "s/1")

    assert monitor.look_up(PlayedPeer(), "v") == "s/0"
    assert monitor.drop(PlayedPeer(), "v") == "s/0"
