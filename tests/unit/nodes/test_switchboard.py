"""The master's switchboard: lines are passed on, and end at both ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from concurro.nodes import switchboard as switchboards
from concurro.nodes.switchboard import Switchboard
from concurro.wire.messages import Kind, LineCode, Message

SLAVE = ("slave", "north-1")
ADDRESS = "north-1/1"


class Timers:
    """A loop of which only timers are used."""

    def __init__(self):
        self.calls = []

    def after(self, delay, call):
        self.calls.append(call)


class Exchange:
    """A switchboard, a slave with a worker for services, and what everybody is sent."""

    def __init__(self):
        self.sent = []
        self.loop = Timers()
        self.board = Switchboard(None, self.loop, self.send, lambda peer: False, dict)
        self.board.slave_joined("north-1", 1)
        self.staff([[1, 77]])

    def send(self, peer, kind, body, frames=()):
        self.sent.append((peer, kind, body, tuple(frames)))
        return True

    def staff(self, alive, ended=()):
        self.board.from_slave("north-1", Message(Kind.STAFF, 0, 0, [alive, list(ended)]))

    def say(self, number, kind, body, frames=()):
        peer = SimpleNamespace(id=("application", number), outer=None, link=None)
        self.board.from_application(peer, Message(kind, 0, 0, body, tuple(frames)))

    def hear(self, kind, body, frames=()):
        self.board.from_slave("north-1", Message(kind, 0, 0, body, tuple(frames)))

    def take(self):
        sent, self.sent = self.sent, []
        return sent

    def open(self, number, line):
        """Open a line of an application; return what the slave calls it."""
        self.take()
        self.say(number, Kind.LINE_OPEN, [line, "shelf", ADDRESS, ""])
        (opened,) = [sent for sent in self.take() if sent[1] == Kind.LINE_OPEN]
        return opened[2][0]


@pytest.fixture
def exchange():
    """Give a switchboard."""
    return Exchange()


def test_a_line_is_opened_at_the_worker_in_the_callers_name(exchange):
    exchange.say(3, Kind.LINE_OPEN, [1, "shelf", ADDRESS, "somebody else"])

    sent = exchange.take()

    assert sent[-1][:2] == (SLAVE, Kind.LINE_OPEN)
    assert sent[-1][2][1:] == ["shelf", ADDRESS, "application-3"]


def test_messages_are_passed_on_both_ways_untouched(exchange):
    other = exchange.open(3, 1)

    exchange.say(3, Kind.LINE, [1], (b"there", b"and more"))
    exchange.hear(Kind.LINE, [other], (b"back",))

    assert exchange.take() == [
        (SLAVE, Kind.LINE, [other], (b"there", b"and more")),
        (("application", 3), Kind.LINE, [1], (b"back",)),
    ]


def test_lines_of_two_applications_with_the_same_number_are_two(exchange):
    first, second = exchange.open(3, 1), exchange.open(4, 1)

    exchange.hear(Kind.LINE, [second], (b"for 4",))

    assert first != second
    assert exchange.take() == [(("application", 4), Kind.LINE, [1], (b"for 4",))]


def test_who_leaves_ends_its_lines_at_the_other_end(exchange):
    other = exchange.open(3, 1)

    exchange.board.peer_left(("application", 3), "it was killed")
    ended = exchange.take()
    exchange.hear(Kind.LINE, [other], (b"too late",))

    assert ended == [(SLAVE, Kind.LINE_END, [other, LineCode.LOST, "its caller is gone: it was killed"], ())]
    assert exchange.take() == []


def test_a_slave_that_leaves_ends_its_lines_and_its_workers(exchange):
    exchange.open(3, 1)

    exchange.board.slave_left("north-1", "silent for 10 s")
    ended = exchange.take()
    exchange.say(3, Kind.LINE, [1], (b"too late",))

    why = "slave north-1 left: silent for 10 s"
    assert ended == [(("application", 3), Kind.LINE_END, [1, LineCode.LOST, why], ())]
    assert exchange.take() == []
    assert exchange.board.workers == {}


def test_the_end_of_a_line_is_passed_on_once(exchange):
    other = exchange.open(3, 1)

    exchange.hear(Kind.LINE_END, [other, "lost", "killed by SIGKILL"])
    exchange.hear(Kind.LINE_END, [other, "lost", "again"])

    assert exchange.take() == [(("application", 3), Kind.LINE_END, [1, "lost", "killed by SIGKILL"], ())]


def test_a_slave_cannot_speak_on_the_lines_of_others(exchange):
    other = exchange.open(3, 1)

    exchange.board.from_slave("south-2", Message(Kind.LINE, 0, 0, [other], (b"forged",)))

    assert exchange.take() == []


def test_an_unknown_worker_is_refused_with_the_closest(exchange):
    exchange.say(3, Kind.LINE_OPEN, [1, "shelf", "north-1/2", ""])

    (_, kind, body, _) = exchange.take()[-1]

    assert kind == Kind.LINE_END
    assert body[:2] == [1, LineCode.LOST]
    assert "did you mean 'north-1/1'" in body[2]


def test_an_address_that_nobody_was_given_hires_nobody(exchange):
    exchange.take()

    exchange.say(3, Kind.LINE_OPEN, [1, "shelf", "south-2/7", ""])

    assert [kind for _, kind, _, _ in exchange.take()] == [Kind.LINE_END]


def test_too_many_lines_are_refused(exchange, monkeypatch):
    monkeypatch.setattr(switchboards, "MOST_LINES", 2)
    for line in (1, 2):
        exchange.open(3, line)

    exchange.say(3, Kind.LINE_OPEN, [3, "shelf", ADDRESS, ""])

    assert exchange.take()[-1][2][:2] == [3, LineCode.BUSY]


def test_a_slave_that_joins_later_is_asked_for_workers_too(exchange):
    exchange.board.hire()
    exchange.take()

    exchange.board.slave_joined("south-2", 4)

    assert exchange.take() == [(("slave", "south-2"), Kind.HIRE, [], ())]


def test_who_asks_for_workers_waits_for_those_of_every_slave(exchange):
    exchange.board.slave_joined("south-2", 2)
    answers = []

    exchange.board.list_workers(answers.append)
    before = list(answers)
    exchange.board.from_slave("south-2", Message(Kind.STAFF, 0, 0, [[[1, 5], [2, 6]], []]))

    assert before == []
    assert [address for address, _, _ in answers[0]] == [ADDRESS, "south-2/1", "south-2/2"]


def test_who_asks_for_workers_does_not_wait_for_a_slave_that_keeps_none(exchange):
    exchange.board.slave_joined("south-2", 2)
    answers = []

    exchange.board.list_workers(answers.append)
    exchange.board.from_slave("south-2", Message(Kind.STAFF, 0, 0, [[], [[0, "none"]]]))

    assert [address for address, _, _ in answers[0]] == [ADDRESS]


def test_who_asks_for_workers_is_answered_after_a_while(exchange):
    exchange.board.slave_joined("south-2", 2)
    answers = []

    exchange.board.list_workers(answers.append)
    for call in exchange.loop.calls:
        call()

    assert [address for address, _, _ in answers[0]] == [ADDRESS]


def test_who_asks_later_is_not_answered_when_the_first_has_waited_for_long_enough(exchange):
    exchange.board.slave_joined("south-2", 2)
    first, second = [], []
    exchange.board.list_workers(first.append)
    exchange.board.list_workers(second.append)

    exchange.loop.calls[0]()

    assert (len(first), len(second)) == (1, 0)


def test_nothing_is_remembered_of_an_application_whose_lines_were_all_refused(exchange):
    for number in range(3, 100):
        exchange.say(number, Kind.LINE_OPEN, [1, "shelf", "south-2/7", ""])
        exchange.board.peer_left(("application", number), "it left")

    assert exchange.board._of_peer == {}


def test_a_worker_that_took_anothers_place_is_another(exchange):
    exchange.staff([[2, 78]], [[1, "killed by SIGKILL"]])

    assert list(exchange.board.workers) == ["north-1/2"]


def test_a_slave_that_ends_offers_its_workers_no_more_and_keeps_its_lines(exchange):
    other = exchange.open(3, 1)

    exchange.board.slave_changed("north-1", draining=True)
    exchange.staff([[1, 77]])
    exchange.say(3, Kind.LINE, [1], (b"still there",))

    assert exchange.board.workers == {}
    assert exchange.take() == [(SLAVE, Kind.LINE, [other], (b"still there",))]
