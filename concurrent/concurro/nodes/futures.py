"""Futures that a loop's thread resolves, and that it must not wait for.

Callbacks run in the thread that brings everybody's news. One that waits there for news would
wait for ever, and with it everybody else: it is told so instead.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any

from concurro.errors import NothingToSaveError, RemoteTraceback, TaskError, WaitInCallbackError
from concurro.nodes.arguments import check_timeout

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    Refuse = Callable[[str], None]
    Lend = Callable[[str], AbstractContextManager[None]]

SHORT_WAIT = 0.001
"""A wait up to so long lends no slot: another worker would hardly start meanwhile [s]."""


class LoopThread:
    """Knows the thread of a loop. Thread-safe."""

    def __init__(self) -> None:
        self._ident: int | None = None

    def enter(self) -> None:
        """Learn that this thread is the one, from now on."""
        self._ident = threading.get_ident()

    def leave(self) -> None:
        """Learn that the loop has ended: another thread may get the same number."""
        self._ident = None

    def refuse_to_wait(self, call: str) -> None:
        """Refuse a call that waits when it is made in the loop's thread.

        Raises:
            WaitInCallbackError: It is; the message says what to do instead.
        """
        if threading.get_ident() == self._ident:
            message = (
                f"{call} would wait in a callback, in the very thread that brings what it waits for; make it "
                f"in another thread (concurrent.futures.ThreadPoolExecutor, or one that reads a queue.Queue), "
                f"or go on in a callback of the future itself (add_done_callback)"
            )
            raise WaitInCallbackError(message)


class LoopFuture(Future[Any]):
    """A future that a loop's thread resolves.

    Args:
        refuse: Called before each wait with the name of the call; raises in the loop's thread.
        lend: Entered for each longer wait with what is waited for; None where waiting lends nothing.
    """

    def __init__(self, refuse: Refuse, lend: Lend | None = None) -> None:
        super().__init__()
        self._refuse = refuse
        self._lend = lend
        if lend is not None:
            # What `concurrent.futures.wait` and `as_completed` append themselves to, and then wait for.
            self._waiters: list[Any] = _Waiters(lend)

    def describe(self) -> str:
        """Say in words what it is that comes."""
        return "an answer of the master"

    def result(self, timeout: float | None = None) -> Any:
        """Return the result; wait for it.

        Raises:
            TimeoutError: It did not come within `timeout` [s].
            WaitInCallbackError: Called in a callback, before it is there.
        """
        timeout = check_timeout(timeout)
        if (timeout is None or timeout > 0) and not self.done():
            self._refuse("result()")
            if self._lend is not None:
                return self._wait_lending(super().result, timeout, self._lend)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error, None if there is none; wait for it.

        Raises:
            TimeoutError: It did not come within `timeout` [s].
            WaitInCallbackError: Called in a callback, before it is there.
        """
        timeout = check_timeout(timeout)
        if (timeout is None or timeout > 0) and not self.done():
            self._refuse("exception()")
            if self._lend is not None:
                error: BaseException | None = self._wait_lending(super().exception, timeout, self._lend)
                return error
        return super().exception(timeout)

    def _wait_lending(self, get: Callable[[float | None], Any], timeout: float | None, lend: Lend) -> Any:
        began = time.monotonic()
        with self._condition:
            if self._condition.wait_for(self.done, SHORT_WAIT if timeout is None else min(timeout, SHORT_WAIT)):
                return get(0)
        with lend(self.describe()):
            return get(None if timeout is None else max(0.0, timeout - (time.monotonic() - began)))


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
        began = time.monotonic()
        if super().wait(SHORT_WAIT if timeout is None else min(timeout, SHORT_WAIT)):
            return True
        with self._lend("several futures"):
            return super().wait(None if timeout is None else max(0.0, timeout - (time.monotonic() - began)))


class TaskFuture(LoopFuture):
    """The future of a pushed task.

    Attributes:
        task_id: Id of the task.
    """

    def __init__(
        self,
        task_id: str,
        refuse: Refuse,
        cancel: Callable[[str], None],
        ask_output: Callable[[str], str] | None = None,
        lend: Lend | None = None,
    ) -> None:
        super().__init__(refuse, lend)
        self.task_id = task_id
        self._ask_cancel = cancel
        self._ask_output = ask_output

    def describe(self) -> str:
        """Name the task."""
        return f"task {self.task_id}"

    def output(self) -> str:
        """Return the last lines that the task wrote, running or ended.

        Raises:
            LookupError: Nothing is known of it any more, or it ran inline.
        """
        if self._ask_output is None:
            message = f"the output of task {self.task_id} is not kept"
            raise LookupError(message)
        return self._ask_output(self.task_id)

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
        if self.cancelled():
            return True
        if not super().cancel():
            return False
        with contextlib.suppress(InvalidStateError, RuntimeError):  # somebody else cancelled it at the same time
            self.set_running_or_notify_cancel()
        self._ask_cancel(self.task_id)
        return True
