"""Futures that a loop's thread resolves, and that it must not wait for.

Callbacks run in the thread that brings everybody's news. One that waits there for news would
wait for ever, and with it everybody else: it is told so instead.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any

from concurro.errors import WaitInCallbackError

if TYPE_CHECKING:
    from collections.abc import Callable

    Refuse = Callable[[str], None]


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
    """

    def __init__(self, refuse: Refuse) -> None:
        super().__init__()
        self._refuse = refuse

    def result(self, timeout: float | None = None) -> Any:
        """Return the result; wait for it.

        Raises:
            TimeoutError: It did not come within `timeout` [s].
            WaitInCallbackError: Called in a callback, before it is there.
        """
        if (timeout is None or timeout > 0) and not self.done():
            self._refuse("result()")
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error, None if there is none; wait for it.

        Raises:
            TimeoutError: It did not come within `timeout` [s].
            WaitInCallbackError: Called in a callback, before it is there.
        """
        if (timeout is None or timeout > 0) and not self.done():
            self._refuse("exception()")
        return super().exception(timeout)


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
    ) -> None:
        super().__init__(refuse)
        self.task_id = task_id
        self._ask_cancel = cancel
        self._ask_output = ask_output

    def output(self) -> str:
        """Return the last lines that the task wrote, running or ended.

        Raises:
            LookupError: Nothing is known of it any more, or it ran inline.
        """
        if self._ask_output is None:
            message = f"the output of task {self.task_id} is not kept"
            raise LookupError(message)
        return self._ask_output(self.task_id)

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
