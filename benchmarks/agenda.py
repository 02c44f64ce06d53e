"""What happens when, in virtual time: a heap of calls, those of one time in their order."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Event:
    """A call to come."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Let it not happen."""
        self.callback = None


class Agenda:
    """A clock that jumps from event to event."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Event]] = []
        self._order = itertools.count()

    def at(self, time: float, callback: Callable[[], None]) -> Event:
        """Call at a time [s], not before now."""
        event = Event(callback)
        heapq.heappush(self._heap, (max(time, self.now), next(self._order), event))
        return event

    def after(self, seconds: float, callback: Callable[[], None]) -> Event:
        """Call in so long [s]."""
        return self.at(self.now + seconds, callback)

    def step(self) -> bool:
        """Let the next event happen; return whether there was one."""
        while self._heap:
            time, _, event = heapq.heappop(self._heap)
            if event.callback is not None:
                self.now = time
                event.callback()
                return True
        return False
