"""The way to the tesserae of a worker, and what is said when it ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from concurro import ServiceLostError
from concurro_tessera.ways import Way


class PlayedLine:
    """A proxy of the service in a worker, which ends when a test says so."""

    def on_told(self, callback):
        pass

    def on_lost(self, callback):
        self.end = callback


class PlayedCaller:
    """A process whose runtime may be closed."""

    def __init__(self, line, *, is_closed):
        self.runtime = SimpleNamespace(application=SimpleNamespace(service=lambda *_: line))
        self.is_closed = is_closed

    def leave(self, way):
        pass

    def way_lost(self, way, error):
        pass


@pytest.mark.parametrize(
    ("is_closed", "text"),
    [
        (True, "the runtime of this process was closed"),
        (False, "the worker vm-1/1 is gone, or the way to it: it was killed"),
    ],
    ids=["closed", "killed"],
)
def test_who_calls_on_is_told_whether_the_worker_ended_or_the_runtime_here(is_closed, text):
    line = PlayedLine()
    way = Way(PlayedCaller(line, is_closed=is_closed), "vm-1/1")

    line.end(ServiceLostError("it was killed"))

    assert str(way.lost) == text
