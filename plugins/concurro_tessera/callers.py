"""What a process needs to call tesserae: ways, open calls, references.

One per runtime.

proxies, tasks --__del__--> sweeper thread --RELEASE, FORGET--> their homes
proxies that arrive --hold--> home; what we answer or forget waits until homes know of them
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from concurro_monitor import Answer, Runtime, here
from concurro_tessera.calls import Task
from concurro_tessera.ways import Entry, Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro_tessera.proxies import TesseraProxy

WARM = 8
"""So many workers are spoken to before anybody waits for them."""

PINNED = 30.0
"""What was pickled for somewhere unknown, in a task of the core say, is kept so long [s]."""

SWEEP_AFTER = 0.02
"""What was dropped is told when nothing was for so long [s]."""


class Caller:
    """A process's side of the calls that it makes. Thread-safe.

    Attributes:
        runtime: Of the process.
        open: Uid to task, of calls on their way or running.
        proxies: Uid to the proxy of a tessera: one object per process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.open: dict[str, Task] = {}
        self.proxies: WeakValueDictionary[str, TesseraProxy] = WeakValueDictionary()
        self.lock = threading.RLock()
        self._ways: dict[str, Way] = {}
        self._foreign: WeakValueDictionary[str, Task] = WeakValueDictionary()
        self._prefix = f"{runtime.application.client_id}-"
        self._numbers = itertools.count(1)
        self._swept: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._holds: set[Any] = set()
        self._after_holds: list[Callable[[], object]] = []
        self._pinned: deque[tuple[float, Any]] = deque()
        self.sweep = self._swept.put
        threading.Thread(target=self._sweep, name="concurro-sweeper", daemon=True).start()

    def new_uid(self) -> str:
        """Return a name that nothing else has."""
        return f"{self._prefix}{next(self._numbers)}"

    def unfinished(self) -> list[Task]:
        """Return the calls that have not ended."""
        with self.lock:
            return [task for task in self.open.copy().values() if not task.done()]

    def way(self, address: str) -> Way:
        """Return the way to a worker."""
        way = self._ways.get(address)
        if way is None:
            with self.lock:
                way = self._ways.get(address)
                if way is None:
                    way = self._ways[address] = Way(self, address)
        return way

    def warm_up(self) -> None:
        """Let the first workers import what they need.

        Before anybody waits for that.
        """
        for worker in self.runtime.application.workers()[:WARM]:
            self.way(worker.address).ask("ended", "")

    def way_lost(self, way: Way, error: Exception) -> None:
        """Let every call on a way fail."""
        with self.lock:
            if self._ways.get(way.address) is way:
                del self._ways[way.address]
        for task in list(self.open.copy().values()):
            if task.way is way:
                self.open.pop(task.uid, None)
                task.settle(None, error)

    def load(self, shape: Any, parts: Any) -> Any:
        """Return the value of a result.

        Loading runs code of users, and may raise anything.
        """
        values = [part.open() if hasattr(part, "open") else part for part in parts]
        if shape is None:
            return values[0]
        return tuple(values) if isinstance(shape, int) else dict(zip(shape, values, strict=True))

    def cancel(self, task: Task) -> None:
        """Tell the home of a call that nobody wants it any more."""
        if task.way is not None:
            task.way.send((int(Entry.CANCEL), task.uid))

    def remember(self, task: Task) -> None:
        """Let a task be the one that comes back when it has travelled."""
        self._foreign.setdefault(task.uid, task)

    def foreign(self, uid: str, tessera: str, method: str, address: str, incarnation: int) -> Task:
        """Return the task of a call that somebody else made.

        Or this process itself.
        """
        known = self.open.get(uid) or self._foreign.get(uid)
        if known is not None:
            return known
        task = Task(self, uid, tessera, method, incarnation)
        with self.lock:
            known = self._foreign.setdefault(uid, task)
        if known is not task:
            return known
        if address:
            self._watch(task, address)
        else:
            located = self.runtime.ask("locate", tessera, incarnation)
            located.add_done_callback(lambda done: self._located(task, done))
            self.open[uid] = task
        return task

    def _located(self, task: Task, done: Any) -> None:
        error = done.exception()
        if error is not None:
            self.open.pop(task.uid, None)
            task.settle(None, error)
        else:
            self._watch(task, done.result()[0])

    def _watch(self, task: Task, address: str) -> None:
        self.way(address).send((int(Entry.WATCH), task.uid), task)

    # References

    @property
    def holds_pending(self) -> bool:
        """Whether a home does not know yet of a proxy that arrived here."""
        return bool(self._holds)

    def expect_hold(self, seat: Any) -> None:
        """Notice a proxy that arrived here, and whose home is not known yet."""
        with self.lock:
            self._holds.add(seat)

    def hold(self, address: str, uid: str, incarnation: int) -> None:
        """Tell the home of a tessera that there is a proxy of it here."""
        held = self.way(address).ask("hold", uid, incarnation)
        with self.lock:
            self._holds.add(held)
        held.add_done_callback(self.held)

    def held(self, done: Any) -> None:
        """Notice that a home knows of a proxy, or is gone."""
        with self.lock:
            self._holds.discard(done)
            if self._holds:
                return
            callbacks, self._after_holds = self._after_holds, []
        for callback in callbacks:
            callback()

    def when_held(self, callback: Callable[[], object]) -> None:
        """Call once homes know of every proxy that arrived here until now."""
        with self.lock:
            if self._holds:
                self._after_holds.append(callback)
                return
        callback()

    def pin(self, value: Any) -> None:
        """Keep what was pickled for somewhere unknown for a while."""
        now = monotonic()
        while self._pinned and self._pinned[0][0] < now - PINNED:
            self._pinned.popleft()
        self._pinned.append((now, value))

    def _sweep(self) -> None:
        """Tell homes what is gone here.

        What nobody waits for goes with other entries, or after a while.
        """
        late: set[Way] = set()
        while True:
            try:
                dropped = self._swept.get(timeout=SWEEP_AFTER if late else None)
            except queue.Empty:
                for way in late:
                    way.flush()
                late.clear()
                continue
            if dropped is None:
                return
            what, *facts = dropped
            if what == "task":
                way, uid = facts
                if way.lost is None:
                    late.add(way)
                    self.when_held(partial(way.send_later, (int(Entry.FORGET), uid)))
            else:
                (release,) = facts
                self.when_held(release)
                del release
            del dropped, facts

    def close(self) -> None:
        """End what was started. Idempotent."""
        self._swept.put(None)
        for way in list(self._ways.values()):
            way.close()


def caller_here() -> Caller:
    """Return that of this process.

    Raises:
        NoApplicationError: It has no runtime.
    """
    return here().part(Caller)


def awaited(future: Any) -> Answer[Any]:
    """Return an awaitable of a service's answer."""
    return Answer.of_future(future)
