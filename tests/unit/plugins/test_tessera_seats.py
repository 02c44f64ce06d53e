"""Where a tessera lives, as a process knows it, when it cannot ask any more."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from concurro import ClosedError
from concurro_tessera import RuntimeDisconnectedError
from concurro_tessera.arguments import NOTHING
from concurro_tessera.callers import Caller
from concurro_tessera.calls import Task
from concurro_tessera.proxies import Seat


class PlayedApplication:
    """An application that is closed."""

    client_id = "app"

    def before_end(self, callback):
        pass


class PlayedRuntime:
    """A runtime whose application may be closed."""

    is_worker = is_nested = False

    def __init__(self):
        self.application = PlayedApplication()
        self.closed = False

    def ask(self, *_):
        if self.closed:
            message = "the application was closed"
            raise ClosedError(message)
        return SimpleNamespace(add_done_callback=lambda _: None)


class PlayedWay:
    """A way to a worker."""

    address = "s/1"
    acknowledged = 0

    is_delivered = True

    def __init__(self):
        self.sent = []

    def send(self, entry, task=None):
        self.sent.append(entry)
        if task is not None:
            task.way = self

    def seat(self, seat):
        pass


def settled_seat(*, creator):
    """Return a seat whose tessera has a place, and the way there."""
    caller = Caller(PlayedRuntime())
    seat = Seat(caller, "tess-Counter-1", dict, 0)
    if creator:
        seat.place(NOTHING, {"restarts": 1, "max_retries": 0}, "")
        caller.held(seat)
    seat._restarts = 1
    way = caller._ways["s/1"] = PlayedWay()
    seat.settle_at("s/1", "worker:0:0", 1)
    return seat, way


LOST = RuntimeDisconnectedError("the worker s/1 is gone")


@pytest.mark.parametrize("creator", [True, False])
def test_a_tessera_whose_worker_is_lost_when_its_program_ends_is_lost_without_a_word(creator):
    seat, way = settled_seat(creator=creator)
    seat.caller.runtime.closed = True

    seat.way_lost(way, LOST)

    with pytest.raises(RuntimeDisconnectedError, match="the worker s/1 is gone; the application was closed"):
        seat.call("clear", (), {}).wait(0)
    seat.caller.sweep(None)


def test_a_program_that_ends_waits_for_no_tessera_that_is_constructed_again_unless_it_was_called():
    seat, way = settled_seat(creator=True)

    seat.way_lost(way, LOST)

    assert not seat.caller.owes
    call = seat.call("clear", (), {})
    assert seat.caller.owes
    call.cancel()
    seat.caller.sweep(None)


def test_a_call_that_was_cancelled_before_its_tessera_had_a_place_is_never_sent():
    caller = Caller(PlayedRuntime())
    seat = Seat(caller, "tess-Counter-1", dict, 0)
    seat.place(NOTHING, {"restarts": 0, "max_retries": 0}, "")
    unwanted, wanted = seat.call("clear", (), {}), seat.call("copy", (), {})
    way = caller._ways["s/1"] = PlayedWay()

    unwanted.cancel()
    seat.settle_at("s/1", "worker:0:0", 1)

    assert [entry[1] for entry in way.sent] == [seat.ready.uid, wanted.uid]
    assert unwanted.uid not in caller.open
    caller.sweep(None)


class PlayedLine:
    """A line to a worker, as a way has it."""

    def on_told(self, callback):
        pass

    def on_lost(self, callback):
        self.lose = callback

    def tell(self, *_):
        pass


def test_who_calls_while_a_way_is_lost_hears_of_that_when_seats_know_it():
    caller = Caller(PlayedRuntime())
    line = PlayedLine()
    caller.runtime.application.service = lambda *_: line
    seat = Seat(caller, "tess-Counter-1", dict, 0)
    seat._restarts = 1
    seat.settle_at("s/1", "worker:0:0", 1)
    way, heard = caller.way("s/1"), []
    other = Seat(caller, "tess-Counter-2", dict, 0)
    other.settle_at("s/1", "worker:0:0", 1)
    late = Task(caller, "late", seat.uid, "clear")
    late.then(lambda: heard.append(seat._way))

    def send_late(*_):
        way.send((0, "late"), late)
        assert not late.done()

    other.way_lost = send_late
    line.lose(RuntimeError("killed"))

    assert heard == [None]
    caller.sweep(None)
