r"""The way from a process to the tesserae of one worker.

A line, spoken in batches.

    entries --+-- nothing unacknowledged: at once --------> take(number, entries)   at the worker
              \-- else: with the acknowledgement, or when there are many
    tasks <-------------------------------------------- news(acknowledged, ended calls)
    seats <-------------------------------------------- gone(uid): a tessera was collected that has restarts

Whatever is sent arrives in order. When the line ends, so does everything that was sent on it: a
worker's address names one process for good, so nothing of it is ever heard again.
"""

from __future__ import annotations

import threading
from enum import IntEnum
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from concurro import WaitInCallbackError
from concurro_monitor import Answer, RuntimeDisconnectedError

if TYPE_CHECKING:
    from concurro_tessera.callers import Caller
    from concurro_tessera.calls import Task
    from concurro_tessera.proxies import Seat

SERVICE = "tessera"
MOST = 128
"""So many entries are sent though others are not acknowledged."""


class Entry(IntEnum):
    """The kinds of entries."""

    CALL = 0  # [uid, tessera, incarnation, method, payload, dependencies, retries, chain]
    CREATE = 1  # [uid, tessera, incarnation, payload, dependencies, options]
    RELEASE = 2  # [tessera]: one proxy less here
    WATCH = 3  # [uid]: tell when that call ends, and keep its result
    FORGET = 4  # [uid]: nobody here asks for its result any more
    CANCEL = 5  # [uid]
    WAIT_FOR = 6  # [uid, tessera]: a call that ends when the tessera is constructed
    PROBE = 7  # [uid, origin]: whether that call waits for the call `origin`
    PIN = 8  # [tessera, incarnation, seconds]: a proxy was pickled for somebody who is not known here
    PIN_RESULT = 9  # [uid]: a task was


class Way:
    """A line to the tesserae of a worker. Thread-safe.

    Attributes:
        address: Of the worker.
        acknowledged: Number of the last batch that arrived there.
        lost: Why it can be used no more; None while it can.
    """

    def __init__(self, caller: Caller, address: str) -> None:
        self.address = address
        self.acknowledged = 0
        self.lost: Exception | None = None
        self._caller = caller
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._waiting: list[tuple[Any, ...]] = []
        self._sent = 0
        self._urgent = False
        self._seats: WeakSet[Seat] = WeakSet()
        self._ending: Exception | None = None
        self._line = caller.runtime.application.service(SERVICE, address)
        self._line.on_told(self._told)
        self._line.on_lost(self._ended)

    def send(self, entry: tuple[Any, ...], task: Task | None = None) -> None:
        """Send an entry; `task` is what ends when its call does."""
        with self._lock:
            lost = self.lost
            if lost is None:
                if task is not None:
                    task.way, task.batch = self, self._sent + 1
                    self._caller.open[task.uid] = task
                self._waiting.append(entry)
                self._urgent = True
        if lost is None:
            self._pump()
        elif task is not None:
            task.settle(None, lost)

    def send_later(self, entry: tuple[Any, ...]) -> None:
        """Send an entry with the next one, or at the next `flush`."""
        with self._lock:
            if self.lost is None:
                self._waiting.append(entry)

    def flush(self) -> None:
        """Send what waits."""
        with self._lock:
            self._urgent = bool(self._waiting)
        self._pump()

    @property
    def is_delivered(self) -> bool:
        """Whether all that was sent has arrived, or never will."""
        return self.lost is not None or (not self._waiting and self._sent == self.acknowledged)

    def fetch(self, task: Task) -> Answer[Any]:
        """Return an awaitable of the parts of a result."""
        return Answer.of_future(self._line.call("fetch", task.uid), name="the result")

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the service; return the future of the answer."""
        return self._line.call(method, *arguments)

    def watch(self, task: Task) -> Any:
        """Ask to be told of the end of a call that others made.

        Return the future of that being noted; None where this can be used no more.
        """
        with self._lock:
            lost = self.lost
            if lost is None:
                task.way, task.batch = self, self._sent + 1
                self._caller.open[task.uid] = task
        if lost is not None:
            task.settle(None, lost)
            return None
        return self._line.call("watch", task.uid)

    def seat(self, seat: Seat) -> None:
        """Let a seat know when it can be used no more.

        As long as somebody has that.
        """
        with self._lock:
            ending = self._ending
            if ending is None:
                self._seats.add(seat)
        if ending is not None:
            seat.way_lost(self, ending)

    def _pump(self) -> None:
        """Send what waits, unless another thread does.

        That looks again when it has sent.

        Sending may wait for room; the lock is not held meanwhile, for acknowledgements make that room.
        """
        while self._is_due() and self._sending.acquire(blocking=False):
            try:
                if not self._is_due():
                    continue
                with self._lock:
                    batch, self._waiting, self._urgent = self._waiting, [], False
                    self._sent += 1
                    number = self._sent
                try:
                    self._line.tell("take", number, batch)
                except WaitInCallbackError:  # too much is on its way: with the next acknowledgement
                    with self._lock:
                        self._waiting, self._urgent = batch + self._waiting, True
                        self._sent -= 1
                    return
                except Exception:  # noqa: BLE001 - the line has ended, and `_ended` says so to everybody
                    return
            finally:
                self._sending.release()

    def _is_due(self) -> bool:
        urgent = self._urgent and self._sent == self.acknowledged
        return self.lost is None and (urgent or len(self._waiting) >= MOST)

    def _told(self, method: str, *facts: Any) -> None:
        if method == "gone":
            self._caller.restarted.pop(facts[0], None)
        else:
            self._take_news(*facts)

    def _take_news(self, acknowledged: int, ended: list[tuple[Any, ...]]) -> None:
        open_tasks = self._caller.open
        if acknowledged > self.acknowledged:
            self.acknowledged = acknowledged
            if self._urgent:
                self._pump()
        for entry in ended:
            task = open_tasks.pop(entry[0], None)
            if task is not None:
                task.ended(entry)

    def _ended(self, reason: Exception) -> None:
        why = f"the worker {self.address} is gone, or the way to it: {reason}"
        error = RuntimeDisconnectedError("the runtime of this process was closed" if self._caller.is_closed else why)
        with self._lock:
            self._ending = error
            seats = list(self._seats)
        self._caller.leave(self)
        for seat in seats:  # they learn of it first: who hears of a failed call calls again at once
            seat.way_lost(self, error)
        with self._lock:
            self.lost = error
            self._waiting.clear()
        self._caller.way_lost(self, error)

    def close(self) -> None:
        """End it. Idempotent."""
        self._line.close()
