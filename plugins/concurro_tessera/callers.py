"""What a process needs to call tesserae: ways, open calls, references.

One per runtime.

proxies, tasks --__del__--> sweeper thread --RELEASE, FORGET--> their homes
proxies that arrive --hold--> home; what we answer or forget waits until homes know of them
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from concurro import ConcurroError, NoApplicationError, when_application
from concurro_monitor import Answer, Runtime, RuntimeDisconnectedError, here
from concurro_tessera.calls import Task
from concurro_tessera.records import is_of_run, run_of, running_call
from concurro_tessera.unheard import Unheard
from concurro_tessera.ways import Entry, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from concurro_tessera.proxies import TesseraProxy

WARM = 8
"""So many workers are spoken to before anybody waits for them."""

QUIET_ROUNDS = 2
"""So many times one after the other nobody must have had anything to do: a call may have been on its way."""

DELIVER_POLL = 0.002
DELIVER_LIMIT = 20.0
"""What was not sent yet when the process leaves may take so long [s]."""

SWEPT_WITHIN = 2.0
"""What was dropped is told within this when all ends [s]."""

SWEEP_AFTER = 0.02
"""What was dropped is told when nothing was for so long [s]."""


class Caller:
    """A process's side of the calls that it makes. Thread-safe.

    Attributes:
        runtime: Of the process.
        open: Uid to task, of calls on their way or running.
        pinned_early: Uids of calls that are not sent yet, and whose results are to be kept for a while.
        proxies: Uid to the proxy of a tessera: one object per process.
        restarted: Uid to the seat of a tessera that is constructed again from here when its worker is lost, as
            long as it lives anywhere.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.open: dict[str, Task] = {}
        self.proxies: WeakValueDictionary[str, TesseraProxy] = WeakValueDictionary()
        self.restarted: dict[str, Any] = {}
        self.pinned_early: set[str] = set()
        self.lock = threading.RLock()
        self._ways: dict[str, Way] = {}
        self._foreign: WeakValueDictionary[str, Task] = WeakValueDictionary()
        self._prefix = f"{runtime.application.client_id}-"
        self._run = "" if runtime.is_worker or runtime.is_nested else runtime.application.client_id
        self._numbers = itertools.count(1)
        self._swept: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._holds: set[Any] = set()
        self._after_holds: list[Callable[[], object]] = []
        self._unplaced: set[Any] = set()
        self._closed = False
        self.sweep = self._swept.put
        self.unheard = Unheard(losses=not runtime.is_worker)
        self._sweeper = threading.Thread(target=self._sweep, name="concurro-sweeper", daemon=True)
        self._sweeper.start()
        runtime.application.before_end(self.deliver)

    @property
    def is_closed(self) -> bool:
        """Whether nothing is called from here any more."""
        return self._closed

    @property
    def run(self) -> str:
        """The run of what is created here; empty when that is not known."""
        call = running_call.get()
        return self._run if call is None else run_of(call.tessera)

    def new_uid(self) -> str:
        """Return a name that nothing else has."""
        return f"{self._prefix}{next(self._numbers)}"

    def unfinished(self, run: str = "") -> list[Task]:
        """Return the calls made here that have not ended.

        But for the one that runs.

        Args:
            run: Only those of tesserae of that run; empty for all.
        """
        own = running_call.get()
        with self.lock:
            calls = list(self.open.copy().values())
        return [
            task
            for task in calls
            if not task.done() and (own is None or task.uid != own.uid) and is_of_run(task.tessera, run)
        ]

    def elsewhere(self) -> Coroutine[Any, Any, None] | None:
        """Return what ends when all calls of this run have.

        Wherever they were made,
        but for those that are made here from now on.
        """
        if self.runtime.is_worker or self.runtime.is_nested:
            return None
        return self._quiet(next(self._numbers))

    async def _quiet(self, mark: int) -> None:
        rounds = 0
        while rounds < QUIET_ROUNDS:
            _, workers = await awaited(self.runtime.ask("network"))
            facts = (self.run, self._prefix, mark)
            asked = [awaited(self.way(worker[1]).ask("barrier", *facts)) for worker in workers]
            rounds += 1
            for answer in asked:
                try:
                    if await answer:
                        rounds = 0  # what has ended now may have called others
                except RuntimeDisconnectedError:
                    rounds = 0

    def way(self, address: str) -> Way:
        """Return the way to a worker."""
        way = self._ways.get(address)
        if way is None:
            with self.lock:
                way = self._ways.get(address)
                if way is None:
                    way = self._ways[address] = Way(self, address)
        return way

    def placing(self, seat: Any) -> None:
        """Notice that it is asked where a tessera lives; `held` ends that."""
        with self.lock:
            self._unplaced.add(seat)

    @property
    def owes(self) -> bool:
        """Whether something was sent that has not arrived, and may."""
        with self.lock:
            unplaced = list(self._unplaced)
        ways = list(self._ways.values())
        return not all(way.is_delivered for way in ways) or any(seat.owes for seat in unplaced)

    def deliver(self) -> None:
        """Wait until all that was sent has arrived: this process leaves."""
        until = monotonic() + DELIVER_LIMIT
        while monotonic() < until:
            if self._closed or not self.owes:
                return
            for way in list(self._ways.values()):
                if not way.is_delivered:
                    way.flush()
            sleep(DELIVER_POLL)

    def warm_up(self) -> None:
        """Let the first workers import what they need.

        Before anybody waits for that.
        """
        for worker in self.runtime.application.workers()[:WARM]:
            self.way(worker.address).ask("ended", "")

    def leave(self, way: Way) -> None:
        """Use a way no more."""
        with self.lock:
            if self._ways.get(way.address) is way:
                del self._ways[way.address]

    def way_lost(self, way: Way, error: Exception) -> None:
        """Let every call on a way fail."""
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

    def pin_result(self, task: Task) -> None:
        """Let a result be kept for a while though nobody may have the task.

        It was pickled for somewhere unknown, as in the state of a task system.
        """
        with self.lock:
            way = task.way
            if way is None:
                self.pinned_early.add(task.uid)
        if way is not None:
            way.send((int(Entry.PIN_RESULT), task.uid))

    def withdrawn(self, task: Task) -> None:
        """Notice that a call is not sent any more."""
        self.open.pop(task.uid, None)
        with self.lock:
            self.pinned_early.discard(task.uid)

    def sent_late(self, task: Task) -> None:
        """Say what was to be said of a call that has left now."""
        with self.lock:
            pinned = task.uid in self.pinned_early
            self.pinned_early.discard(task.uid)
        if pinned:
            self.pin_result(task)

    def remember(self, task: Task) -> None:
        """Let a task be the one that comes back when it has travelled."""
        self._foreign.setdefault(task.uid, task)

    def foreign(  # noqa: PLR0913 - the facts of a task
        self, uid: str, tessera: str, method: str, address: str, incarnation: int, *, arrived: bool = False
    ) -> Task:
        """Return the task of a call that somebody else made.

        Or this process itself. Of one that arrived here its home knows before it is told of anything
        that may let whoever sent it forget it.
        """
        known = self.open.get(uid) or self._foreign.get(uid)
        if known is not None:
            return known
        task = Task(self, uid, tessera, method, incarnation)
        task.pass_on()  # whoever made it hears of it
        with self.lock:
            known = self._foreign.setdefault(uid, task)
        if known is not task:
            return known
        if address:
            self._watch(task, address, arrived=arrived)
        else:
            if arrived:
                self.expect_hold(task)
            self.open[uid] = task
            located = self.runtime.ask("locate", tessera, incarnation)
            located.add_done_callback(lambda done: self._located(task, done, arrived=arrived))
        return task

    def _located(self, task: Task, done: Any, *, arrived: bool) -> None:
        error = done.exception()
        if error is None:
            try:
                self._watch(task, done.result()[0], arrived=arrived)
            except ConcurroError as fault:  # the way to the master was closed meanwhile
                error = fault
        if error is not None:
            self.open.pop(task.uid, None)
            task.settle(None, error)
        if arrived:
            self.held(task)

    def _watch(self, task: Task, address: str, *, arrived: bool) -> None:
        way = self.way(address)
        if not arrived:
            way.send((int(Entry.WATCH), task.uid), task)
            return
        watched = way.watch(task)
        if watched is not None:
            with self.lock:
                self._holds.add(watched)
            watched.add_done_callback(self.held)

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
            self._unplaced.discard(done)
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

    def _sweep(self) -> None:
        """Tell homes what is gone here.

        What nobody waits for goes with other entries, or after a while.
        """
        late: set[Way] = set()
        while True:
            if self.unheard.waiting:
                self.unheard.tell()
            try:
                dropped = self._swept.get(timeout=SWEEP_AFTER if late or self.unheard.waiting else None)
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
                    self.when_held(partial(self._forget, way, uid, late))
            elif what == "late":
                late.update(facts)
            elif what == "failure":
                self.unheard.add(*facts)
            else:
                (release,) = facts
                self.when_held(release)
                del release
            del dropped, facts

    def _forget(self, way: Way, uid: str, late: set[Way]) -> None:
        """Let a result go with other entries, or after a while.

        In the sweeper, which ends that while.
        """
        way.send_later((int(Entry.FORGET), uid))
        if threading.current_thread() is self._sweeper:
            late.add(way)
        else:  # a hold came in between
            self._swept.put(("late", way))

    def close(self) -> None:
        """End what was started, once all that was sent has arrived. Idempotent."""
        self.deliver()
        self._closed = True
        self._swept.put(None)
        if self._sweeper is not threading.current_thread():
            self._sweeper.join(SWEPT_WITHIN)
        self.unheard.end()
        for way in list(self._ways.values()):
            way.close()


def caller_here() -> Caller:
    """Return that of this process.

    Raises:
        NoApplicationError: It has no runtime.
    """
    return here().part(Caller)


def as_soon_as_possible(callback: Callable[[], object]) -> None:
    """Call once others can be called from here; never where they never can."""
    with contextlib.suppress(NoApplicationError):
        when_application(callback)


def awaited(future: Any) -> Answer[Any]:
    """Return an awaitable of a service's answer."""
    return Answer.of_future(future)
