"""Where a tessera lives, as a process knows it, when it cannot ask any more."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from concurro import ClosedError
from concurro_tessera import RuntimeDisconnectedError
from concurro_tessera.arguments import NOTHING
from concurro_tessera.callers import Caller
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

    def send(self, entry, task=None):
        pass

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
