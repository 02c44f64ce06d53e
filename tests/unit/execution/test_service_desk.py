"""The agent's end of service channels, with links in memory."""

from __future__ import annotations

import msgpack
import pytest

from concurro.errors import ProtocolError
from concurro.execution.service import ServiceNote
from concurro.execution.service_desk import BACKLOG_LIMIT, ServiceDesk
from concurro.wire.messages import Kind, Message
from tests.unit.execution.slave_driver import SlaveDriver, lease


class Service:
    """A service channel: what the worker is told."""

    def __init__(self):
        self.told = []
        self.paused = False

    def send(self, frames):
        self.told.append((msgpack.unpackb(frames[0]), *frames[1:]))

    def pause(self, paused):
        self.paused = paused


class Worker:
    """A worker's end at the agent."""

    hosts_services = False

    def __init__(self, number):
        self.id = number
        self.service = Service()


class Timers:
    """A loop of which only timers are used."""

    def __init__(self):
        self.calls = []

    def after(self, delay, call):
        del delay
        self.calls.append(call)

    def turn(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Desk:
    """A desk, a worker that runs lease 1, and what the master is sent."""

    def __init__(self):
        driver = SlaveDriver(1)
        driver.ready()
        driver.give(lease(1))
        driver.workers[1].claim()
        self.driver = driver
        self.sent = []
        self.touches = 0
        self.prepared = []
        self.backlog = 0
        self.loop = Timers()
        self.worker = Worker(1)
        self.desk = ServiceDesk(
            self.loop,
            lambda kind, body, frames: self.sent.append((kind, body, *frames)),
            driver.core,
            backlog=lambda: self.backlog,
            touch=self.touch,
            prepare=self.prepared.append,
        )

    def touch(self):
        self.touches += 1

    def say(self, note, *body, frames=()):
        self.desk.take(self.worker, [msgpack.packb((note, *body)), *frames])

    def decide(self):
        """Let the core answer who waits."""
        self.driver.step()
        for worker, granted in self.driver.answers.items():
            self.desk.wait_answered(worker, granted=granted)

    def told(self):
        told, self.worker.service.told = self.worker.service.told, []
        return told


@pytest.fixture
def desk():
    """Give a desk through which the attempt has opened its tunnel, session 7."""
    desk = Desk()
    desk.say(ServiceNote.OPEN, 7, 1)
    return desk


def test_opens_a_tunnel_for_the_lease_that_the_worker_runs(desk):
    assert desk.sent == [(Kind.TUNNEL_OPEN, [1, 1])]
    assert desk.prepared == ["concurro.nodes.nested"]


def test_refuses_a_lease_that_the_worker_does_not_run():
    desk = Desk()

    with pytest.raises(ProtocolError, match="lease 5, which it does not run"):
        desk.say(ServiceNote.OPEN, 7, 5)

    assert desk.sent == []


def test_passes_frames_on_untouched_both_ways(desk):
    desk.say(ServiceNote.FRAMES, 7, frames=(b"header", b"chunk"))
    desk.desk.handle(Message(Kind.TUNNEL, 0, 0, [1], (b"answer", b"more")))

    assert desk.sent[-1] == (Kind.TUNNEL, [1], b"header", b"chunk")
    assert desk.told() == [([ServiceNote.FRAMES, 7], b"answer", b"more")]


def test_nothing_follows_once_a_session_was_left(desk):
    desk.say(ServiceNote.LEAVE, 7)
    desk.desk.handle(Message(Kind.TUNNEL, 0, 0, [1], (b"late",)))
    desk.say(ServiceNote.FRAMES, 7, frames=(b"late",))

    assert desk.sent[-1] == (Kind.TUNNEL_END, [1, "the attempt ended"])
    assert desk.told() == [([ServiceNote.LEFT, 7],)]


def test_leaving_is_confirmed_when_the_tunnel_has_ended_before(desk):
    desk.desk.handle(Message(Kind.TUNNEL_END, 0, 0, [1, "the master closed it"]))
    desk.say(ServiceNote.LEAVE, 7)

    assert desk.told() == [([ServiceNote.ENDED, 7, "the master closed it"],), ([ServiceNote.LEFT, 7],)]
    assert desk.sent == [(Kind.TUNNEL_OPEN, [1, 1])]


def test_a_tunnel_ends_with_the_result_whatever_the_worker_says(desk):
    desk.driver.report(1)
    desk.desk.reported(desk.worker)

    assert desk.sent[-1] == (Kind.TUNNEL_END, [1, "the attempt ended"])


def test_a_tunnel_ends_with_its_worker(desk):
    desk.desk.gone(desk.worker)

    assert desk.sent[-1] == (Kind.TUNNEL_END, [1, "its worker ended"])


def test_when_the_master_is_gone_whoever_speaks_to_it_is_told(desk):
    desk.desk.abandon()

    assert desk.told() == [([ServiceNote.ENDED, 7, "the slave lost its master"],)]


def test_a_wait_lends_the_slot_and_the_master_hears_for_what(desk):
    desk.say(ServiceNote.WAITS, 7, "task x:1")
    desk.decide()
    desk.say(ServiceNote.GOES_ON, 7)

    assert desk.told() == [([ServiceNote.ANSWER, 7, True, 1, 1],)]
    assert desk.sent[1:] == [(Kind.WAITS, [1, "task x:1, its slot is lent"]), (Kind.WAITS, [1, ""])]
    assert desk.driver.core.lent == 0


def test_the_master_hears_of_a_wait_whose_slot_is_not_lent_for_long(desk):
    desk.say(ServiceNote.WAITS, 7, "task x:1")
    desk.loop.turn()
    asking = desk.sent[1:]
    desk.decide()
    desk.say(ServiceNote.GOES_ON, 7)

    assert asking == [(Kind.WAITS, [1, "task x:1, and keeps its slot: its slave has lent all that it may"])]
    assert desk.sent[2:] == [(Kind.WAITS, [1, "task x:1, its slot is lent"]), (Kind.WAITS, [1, ""])]


@pytest.mark.parametrize("end", ["goes on", "refused"])
def test_the_master_hears_that_such_a_wait_is_over(desk, end):
    desk.say(ServiceNote.WAITS, 7, "task x:1")
    desk.loop.turn()

    if end == "refused":
        desk.desk.wait_answered(1, granted=False)
    desk.say(ServiceNote.GOES_ON, 7)
    desk.loop.turn()

    assert desk.sent[2:] == [(Kind.WAITS, [1, ""])]


def test_the_master_is_told_once_of_a_wait_that_was_answered_in_time(desk):
    desk.say(ServiceNote.WAITS, 7, "task x:1")
    desk.decide()
    desk.loop.turn()

    assert desk.sent[1:] == [(Kind.WAITS, [1, "task x:1, its slot is lent"])]


def test_nobody_is_told_of_a_wait_that_lends_nothing_but_who_waits(desk):
    desk.say(ServiceNote.WAITS, 7, "task x:1")
    desk.desk.wait_answered(1, granted=False)

    assert desk.told() == [([ServiceNote.ANSWER, 7, False, 0, 1],)]
    assert desk.sent == [(Kind.TUNNEL_OPEN, [1, 1])]


def test_the_core_is_asked_what_follows_when_a_wait_is_over_before_its_answer(desk):
    desk.say(ServiceNote.WAITS, 7, "task x:1")
    touches = desk.touches

    desk.say(ServiceNote.GOES_ON, 7)
    desk.driver.step()

    assert desk.touches > touches
    assert desk.driver.answers == {1: False}


def test_a_tunnel_that_ends_gives_the_slot_back(desk):
    desk.say(ServiceNote.WAITS, 7, "task x:1")
    desk.decide()

    desk.desk.gone(desk.worker)

    assert desk.driver.core.lent == 0
    assert desk.sent[-2:] == [(Kind.WAITS, [1, ""]), (Kind.TUNNEL_END, [1, "its worker ended"])]


def test_a_channel_is_not_read_while_the_link_to_the_master_is_behind(desk):
    desk.backlog = BACKLOG_LIMIT + 1
    desk.say(ServiceNote.FRAMES, 7, frames=(b"much",))
    behind = desk.worker.service.paused
    desk.loop.turn()
    still_behind = desk.worker.service.paused
    desk.backlog = 0
    desk.loop.turn()

    assert (behind, still_behind, desk.worker.service.paused) == (True, True, False)
    assert desk.loop.calls == []


@pytest.mark.parametrize(
    "message",
    [["nonsense"], [ServiceNote.OPEN, 7], [ServiceNote.OPEN, "7", 1], [ServiceNote.WAITS, 7, 5], [99, 1], [True, 1]],
)
def test_nonsense_is_refused(desk, message):
    with pytest.raises(ProtocolError):
        desk.say(*message)
