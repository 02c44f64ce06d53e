"""What futures and handles need of the application that gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from concurro.nodes.loop_thread import LoopThread

    Lend = Callable[[str, Callable[[], bool]], AbstractContextManager[None]]


class Control:
    """What futures and handles need of their application.

    Attributes:
        lend: Entered for each longer wait, with what is waited for, and whether that wait is over; it may take long
            to enter, but not longer than the wait. None where waiting lends nothing.
    """

    lend: Lend | None = None
    _loop_thread: LoopThread | None = None

    def refuse_to_wait(self, call: str) -> None:
        """Refuse a call that waits in the thread that brings the news.

        Raises:
            WaitInCallbackError: This is that thread.
            ClosedError: See `refuse_elsewhere`.
        """
        if self._loop_thread is not None:
            self._loop_thread.refuse_to_wait(call)

    def refuse_elsewhere(self) -> None:
        """Refuse what needs the application in a process that it does not live in.

        Raises:
            ClosedError: This one was forked from the application's.
        """
        if self._loop_thread is not None:
            self._loop_thread.refuse_elsewhere()

    def brings_news(self) -> bool:
        """Say whether this is the thread that calls callbacks of what has ended."""
        return self._loop_thread is not None and self._loop_thread.is_here()

    def cancel_system(self, system_id: str) -> None:
        """Ask the master to cancel a system."""
        raise NotImplementedError

    def cancel_task(self, system_id: str, number: int, *, started: bool = True) -> None:
        """Ask the master to cancel a pushed task.

        `started=False` leaves one alone that has started.
        """
        raise NotImplementedError

    def output_of(self, task_id: str) -> str:
        """Return the last lines that a pushed task wrote.

        Raises:
            LookupError: Nothing is known of it any more, or it is not kept.
        """
        raise NotImplementedError

    def request(self, name: str, arguments: list[Any]) -> Future[Any]:
        """Ask the master a question."""
        raise NotImplementedError
