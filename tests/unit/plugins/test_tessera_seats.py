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

    def send(self, entry, task=None):
        pass

    def seat(self, seat):
        pass


@pytest.mark.parametrize("creator", [True, False])
def test_a_tessera_whose_worker_is_lost_when_its_program_ends_is_lost_without_a_word(creator):
    runtime = PlayedRuntime()
    caller = Caller(runtime)
    seat = Seat(caller, "tess-Counter-1", dict, 0)
    if creator:
        seat.place(NOTHING, {"restarts": 1, "max_retries": 0}, "")
    seat._restarts = 1
    way = caller._ways["s/1"] = PlayedWay()
    seat.settle_at("s/1", "worker:0:0", 1)
    runtime.closed = True

    seat.way_lost(way, RuntimeDisconnectedError("the worker s/1 is gone"))

    with pytest.raises(RuntimeDisconnectedError, match="the worker s/1 is gone; the application was closed"):
        seat.call("clear", (), {}).wait(0)
    caller._swept.put(None)
