"""Virtual time, and the loop of a node that lives in it.

    Agenda: a heap of calls, those of one time in their order
       |
       +--> SimulatedLoop.turn: what arrived --> due timers --> posted calls --> flush hooks

A turn is that of the real loop: everything that arrived is handled before anything is sent.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING

from concurro.transport.loop import Timer

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
    """A clock that jumps from event to event.

    Attributes:
        now: The time [s].
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
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


class SimulatedLoop:
    """The loop of one process: what nodes and links use of the real one.

    It turns when something arrived, when a timer is due, or when it was asked to. A frozen one
    does not: what arrives waits, as in the buffers of a kernel, and time goes on.

    Args:
        agenda: Where it lives.
        cost: What a turn takes at least [s]; what arrives meanwhile waits for the next one.
        around: Called with each turn, which it makes.

    Attributes:
        ended: Whether its process has ended.
        stopping: Whether somebody asked it to stop.
        wakeups: Its turns.
    """

    def __init__(
        self, agenda: Agenda, cost: float = 1e-6, around: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        self.agenda = agenda
        self.cost = cost
        self.ended = False
        self.stopping = False
        self.wakeups = 0
        self._around = around or _call
        self._frozen = False
        self._arrived: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._posted: deque[Callable[[], None]] = deque()
        self._flushes: list[Callable[[], None]] = []
        self._requested: list[Callable[[], None]] = []
        self._event: Event | None = None
        self._event_at = 0.0
        self._busy_until = 0.0

    # As the real one

    def now(self) -> float:
        """Return the virtual time [s]."""
        return self.agenda.now

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call once at the time `when` [s]."""
        timer = Timer(when, callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        self._turn_at(when)
        return timer

    def after(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call once, `delay` seconds from now [s]."""
        return self.at(self.agenda.now + delay, callback)

    def post(self, callback: Callable[[], None]) -> None:
        """Call once in the next turn."""
        self._posted.append(callback)
        self._turn_at(self.agenda.now)

    soon = post

    def wake(self) -> None:
        """Make the loop turn once."""
        self._turn_at(self.agenda.now)

    def on_flush(self, callback: Callable[[], None]) -> None:
        """Call after every batch of events, in the order of registration."""
        self._flushes.append(callback)

    def off_flush(self, callback: Callable[[], None]) -> None:
        """Forget a flush hook. Idempotent."""
        if callback in self._flushes:
            self._flushes.remove(callback)

    def request_flush(self, callback: Callable[[], None]) -> None:
        """Call once after this batch, behind the flush hooks."""
        self._requested.append(callback)
        self._turn_at(self.agenda.now)

    def flush_now(self) -> None:
        """Make the requested calls now."""
        if self._requested:
            requested, self._requested = self._requested, []
            for flush in requested:
                flush()

    def stop(self) -> None:
        """End after this turn."""
        self.stopping = True
        self._turn_at(self.agenda.now)

    def close(self) -> None:
        """Do nothing: it holds nothing. Idempotent."""

    # For the world around it

    def arrive(self, callback: Callable[[], None]) -> None:
        """Call in the next turn, ahead of its timers: something arrived."""
        if not self.ended:
            self._arrived.append(callback)
            self._turn_at(self.agenda.now)

    def freeze(self) -> None:
        """Turn no more until `thaw`."""
        self._frozen = True

    def thaw(self) -> None:
        """Go on: what arrived meanwhile is read first."""
        self._frozen = False
        self._turn_at(self.agenda.now)

    @property
    def frozen(self) -> bool:
        """Whether it is frozen."""
        return self._frozen

    def end(self) -> None:
        """Turn never again."""
        self.ended = True
        for waiting in (self._arrived, self._posted, self._timers, self._flushes, self._requested):
            waiting.clear()

    def _turn_at(self, time: float) -> None:
        if self.ended or self._frozen:
            return
        time = max(time, self._busy_until, self.agenda.now)
        if self._event is not None:
            if self._event_at <= time:
                return
            self._event.cancel()
        self._event_at = time
        self._event = self.agenda.at(time, self._turn_now)

    def _turn_now(self) -> None:
        self._event = None
        if self.ended or self._frozen:
            return
        self._around(self._turn)
        self._turn_again()

    def _turn_again(self) -> None:
        """Wait for the next turn, if there is one."""
        if self.ended:
            return
        self._busy_until = self.agenda.now + self.cost
        if self._arrived or self._posted or self._requested:
            self._turn_at(self.agenda.now)
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        if timers:
            self._turn_at(timers[0][0])

    def _turn(self) -> None:
        self.wakeups += 1
        now = self.agenda.now
        for _ in range(len(self._arrived)):
            if not self._arrived:
                return  # it has ended meanwhile
            self._arrived.popleft()()
        timers = self._timers
        while timers and timers[0][0] <= now:
            callback = heapq.heappop(timers)[2].callback
            if callback is not None:
                callback()
        while self._posted:
            self._posted.popleft()()
        for flush in tuple(self._flushes):
            flush()
        self.flush_now()


def _call(turn: Callable[[], None]) -> None:
    turn()
