"""Futures that a loop's thread resolves, and that it must not wait for.

Callbacks run in the thread that brings everybody's news. One that waits there for news would
wait for ever, and with it everybody else: it is told so instead. So is a process that was forked
from the application's: the thread is not there.
"""

from __future__ import annotations

import threading
import time
from _thread import RLock, allocate_lock
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, LOGGER, PENDING
from typing import TYPE_CHECKING, Any

from concurro.errors import NothingToSaveError, RemoteTraceback, TaskError
from concurro.ids import format_task_id
from concurro.nodes.arguments import check_timeout

if TYPE_CHECKING:
    import asyncio
    import os
    from collections.abc import Callable, Generator

    from concurro.nodes.control import Control, Lend

SHORT_WAIT = 0.001
"""A wait up to so long lends no slot: another worker would hardly start meanwhile [s]."""

_CANCELLED = frozenset({CANCELLED, CANCELLED_AND_NOTIFIED})
_OVER = _CANCELLED | {FINISHED}


class LoopFuture(Future[Any]):
    """A future that a loop's thread resolves.

    It makes what waiting takes when somebody waits: of a hundred thousand that are open, few
    are ever waited for, and the standard library's condition and lists are two thirds of a
    future's time and memory. Everything that others do with a future finds what it expects:
    a lock as `_condition`, and lists of waiters and callbacks.

    Args:
        control: Refuses waits in the loop's thread, and lends the slot during the others.
    """

    # An instance has its own only of what is not as it was.
    _state = PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _made_waiters: list[Any] | None = None
    _made_callbacks: list[Callable[[Future[Any]], object]] | None = None

    def __init__(self, control: Control) -> None:
        self._condition: Any = RLock()
        self._control = control

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]  # made at its first use
        """What `concurrent.futures.wait` and `as_completed` append themselves to."""
        if self._state not in _OVER:
            self._control.refuse_elsewhere()
        if self._made_waiters is None:
            lend = self._control.lend
            self._made_waiters = [] if lend is None else _Waiters(lend)
        return self._made_waiters

    @property
    def _done_callbacks(self) -> list[Callable[[Future[Any]], object]]:
        """What `add_done_callback` appends to."""
        if self._made_callbacks is None:
            self._made_callbacks = []
        return self._made_callbacks

    def describe(self) -> str:
        """Say in words what it is that comes."""
        return "an answer of the master"

    def refuse_to_wait(self, call: str) -> None:
        """Refuse a call that waits for it, where that would be for ever.

        Raises:
            WaitInCallbackError: This is a callback.
            ClosedError: This process was forked before it was there.
        """
        self._control.refuse_to_wait(call)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait in the running asyncio loop; whoever is cancelled there cancels it."""
        return asyncio_future(self).__await__()

    def done(self) -> bool:
        """Return whether it is cancelled or has a result or an error."""
        return self._state in _OVER

    def result(self, timeout: float | None = None) -> Any:
        """Return the result; wait for it.

        Raises:
            TimeoutError: It did not come within `timeout` [s].
            WaitInCallbackError: Called in a callback, before it is there.
            ClosedError: Called in a process that was forked before it was there.
        """
        if timeout is not None or self._state != FINISHED:
            self._wait("result()", timeout)
        if self._exception is None:
            return self._result
        try:
            raise self._exception
        finally:
            del self  # the error's traceback would keep it, and it keeps the error

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error, None if there is none; wait for it.

        Raises:
            TimeoutError: It did not come within `timeout` [s].
            WaitInCallbackError: Called in a callback, before it is there.
        """
        if timeout is not None or self._state != FINISHED:
            self._wait("exception()", timeout)
        return self._exception

    def cancel(self) -> bool:
        """Cancel it; return False when it has a result or an error.

        Whoever waits is told at once.
        """
        with self._condition:
            if self._state in _OVER:
                return self._state != FINISHED
            self._state = CANCELLED_AND_NOTIFIED
            for waiter in self._made_waiters or ():
                waiter.add_cancelled(self)
        self._call_back()
        return True

    def set_result(self, result: Any) -> None:
        """Take the result. For who gave the future.

        Raises:
            InvalidStateError: It is over already.
        """
        with self._condition:
            if self._state in _OVER:
                raise InvalidStateError(_over_already(self))
            self._result = result
            self._state = FINISHED
            for waiter in self._made_waiters or ():
                waiter.add_result(self)
        self._call_back()

    def set_exception(self, exception: BaseException | None) -> None:
        """Take the error. For who gave the future.

        Raises:
            InvalidStateError: It is over already.
        """
        with self._condition:
            if self._state in _OVER:
                raise InvalidStateError(_over_already(self))
            self._exception = exception
            self._state = FINISHED
            for waiter in self._made_waiters or ():
                waiter.add_exception(self)
        self._call_back()

    def _call_back(self) -> None:
        if self._made_callbacks is None:
            return
        if not self._control.brings_news():
            self._invoke_callbacks()  # type: ignore[attr-defined]  # of the standard library
            return
        for callback in self._made_callbacks:
            try:
                callback(self)
            except BaseException:  # noqa: BLE001 - sys.exit() too would end the thread that brings everybody's news
                LOGGER.exception("exception calling callback for %r", self)

    def _wait(self, call: str, timeout: float | None) -> None:
        """Wait until there is a result or an error.

        Raises:
            CancelledError: It is cancelled.
            TimeoutError: It took longer than `timeout` [s].
        """
        timeout = check_timeout(timeout)
        if self._state not in _OVER and (timeout is None or timeout > 0):
            self._control.refuse_to_wait(call)
            self._sleep(_Sleeper(), timeout)
        if self._state in _CANCELLED:
            raise CancelledError
        if self._state != FINISHED:
            raise TimeoutError

    def _sleep(self, sleeper: _Sleeper, timeout: float | None) -> None:
        with self._condition:
            if self._state in _OVER:
                return
            list.append(self._waiters, sleeper)  # past the lending of `_Waiters`: this waits by itself
        lend = self._control.lend
        try:
            if lend is None:
                sleeper.wait(timeout)
                return
            rest = Patience(timeout)
            if not sleeper.wait(rest.at_most(SHORT_WAIT)):
                with lend(self.describe(), lambda: self._state in _OVER or rest.is_over()):
                    sleeper.wait(rest.left())
        finally:
            with self._condition:
                self._waiters.remove(sleeper)


class Patience:
    """How long a wait may still take.

    Args:
        timeout: In all [s]; None for ever.
    """

    __slots__ = ("_until",)

    def __init__(self, timeout: float | None) -> None:
        self._until = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Return what is left [s]; None for ever."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    def at_most(self, limit: float) -> float:
        """Return what is left, but no more than `limit` [s]."""
        left = self.left()
        return limit if left is None else min(left, limit)

    def is_over(self) -> bool:
        """Say whether nothing is left."""
        return self.left() == 0.0


class _Sleeper:
    """A thread that waits for one future, among its waiters."""

    __slots__ = ("_woken",)

    def __init__(self) -> None:
        self._woken = allocate_lock()
        self._woken.acquire()

    def wait(self, timeout: float | None) -> bool:
        """Wait until the future is over, or `timeout` [s]; return whether it is."""
        return self._woken.acquire(timeout=-1 if timeout is None else timeout)

    def add_result(self, future: Future[Any]) -> None:  # noqa: ARG002 - the signature of the standard library's waiters
        """Wake the thread: the future ended, which it does once."""
        self._woken.release()

    add_exception = add_cancelled = add_result


class _Waiters(list[Any]):
    """Who waits for a future together with others, by the standard library."""

    def __init__(self, lend: Lend) -> None:
        super().__init__()
        self._lend = lend

    def append(self, waiter: Any) -> None:
        """Let a waiter lend the slot while it waits."""
        if not isinstance(waiter.event, _LendingEvent):
            waiter.event = _LendingEvent(self._lend)
        super().append(waiter)


class _LendingEvent(threading.Event):
    """An event whose longer waits lend the slot."""

    def __init__(self, lend: Lend) -> None:
        super().__init__()
        self._lend = lend

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; return whether it is."""
        rest = Patience(timeout)
        if super().wait(rest.at_most(SHORT_WAIT)):
            return True
        with self._lend("several futures", lambda: self.is_set() or rest.is_over()):
            return super().wait(rest.left())


class TaskFuture(LoopFuture):
    """The future of a pushed task.

    Attributes:
        task_id: Id of the task.
    """

    _withdrawn = False

    def __init__(self, control: Control, system_id: str, number: int) -> None:
        # As that of `LoopFuture`, without the call: this runs for every task.
        self._condition = RLock()
        self._control = control
        self._system_id = system_id
        self._number = number

    @property
    def task_id(self) -> str:
        """Id of the task."""
        return format_task_id(self._system_id, self._number)

    def describe(self) -> str:
        """Name the task."""
        return f"task {self.task_id}"

    def output(self) -> str:
        """Return the last lines that the task wrote, running or ended.

        Raises:
            LookupError: Nothing is known of it any more, or it ran inline.
        """
        return self._control.output_of(self.task_id)

    def save_task(self, path: str | os.PathLike[str]) -> None:
        """Write the failed attempt to a file, for `concurrent replay`.

        See `TaskError.save`.

        Raises:
            NothingToSaveError: The task has not failed.
            NotPicklableError: The task has changed, and cannot travel any more.
            OSError: The file cannot be written.
        """
        raised = None if self.cancelled() or not self.done() else self.exception(0)
        if isinstance(raised, TaskError):
            raised.save(path)
        elif raised is not None and isinstance(raised.__cause__, RemoteTraceback) and raised.__cause__.error:
            raised.__cause__.error.save(path)
        else:
            message = f"task {self.task_id} has not failed"
            raise NothingToSaveError(message)

    def cancel(self) -> bool:
        """Cancel the task, running or not; return False when it is final."""
        was_cancelled = self.cancelled()
        if not super().cancel():
            return False
        if not was_cancelled:
            self._control.cancel_task(self._system_id, self._number)
        return True

    def withdraw(self) -> None:
        """Let it be cancelled unless it runs, or has run; it ends either way."""
        self._withdrawn = True
        if not self.done():
            self._control.cancel_task(self._system_id, self._number, started=False)

    def end_withdrawn(self) -> bool:
        """Take that the master cancelled it; return whether that was wanted.

        For who gave the future.
        """
        return self._withdrawn and super().cancel()


def asyncio_future(future: Future[Any]) -> asyncio.Future[Any]:
    """Return a future of the running asyncio loop that ends as this one does."""
    import asyncio  # noqa: PLC0415 - only who awaits pays for it

    return asyncio.wrap_future(future)


def _over_already(future: LoopFuture) -> str:
    return f"{future._state}: {future!r}"  # noqa: SLF001 - its own class
