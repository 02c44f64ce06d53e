"""The thread that brings everybody's news, and who must not wait for it.

A callback must not, for it runs in that very thread; nor may a process that was forked from the
one with the thread, which is not there.
"""

from __future__ import annotations

import os
import threading

from concurro.errors import ClosedError, WaitInCallbackError


class LoopThread:
    """Knows the thread of a loop. Thread-safe."""

    def __init__(self) -> None:
        self._ident: int | None = None
        self._pid = 0

    def enter(self) -> None:
        """Learn that this thread is the one, from now on."""
        self._ident = threading.get_ident()
        self._pid = os.getpid()

    def leave(self) -> None:
        """Learn that the loop has ended: another thread may get the same number."""
        self._ident = None

    def is_here(self) -> bool:
        """Say whether this is the one."""
        return threading.get_ident() == self._ident and os.getpid() == self._pid

    def is_elsewhere(self) -> bool:
        """Say whether it runs in the process that this one was forked from."""
        return os.getpid() != self._pid and self._pid != 0

    def refuse_elsewhere(self) -> None:
        """Refuse whatever takes the loop in a process that has none.

        Raises:
            ClosedError: This one was forked from the application's.
        """
        if os.getpid() != self._pid and self._pid:
            message = f"the application is that of process {self._pid}, which forked this one: open one here"
            raise ClosedError(message)

    def refuse_to_wait(self, call: str) -> None:
        """Refuse a call that waits when it is made in the loop's thread.

        Raises:
            WaitInCallbackError: It is; the message says what to do instead.
            ClosedError: It is made in a process that has no such thread, but was forked from one.
        """
        self.refuse_elsewhere()
        if threading.get_ident() == self._ident:
            message = (
                f"{call} would wait in a callback, in the very thread that brings what it waits for; make it "
                f"in another thread (concurrent.futures.ThreadPoolExecutor, or one that reads a queue.Queue), "
                f"or go on in a callback of the future itself (add_done_callback)"
            )
            raise WaitInCallbackError(message)
