"""One call of a `Parallel`, for whom the results of batches arrive.

    news of everybody --deliver--> queue --> own thread --> joblib's callback, under joblib's lock
                                     ^
    the call is over ----end---------+   nothing is delivered any more

joblib's callback takes the next batches from the user's iterator, which may take its time: hence the thread. Between
two looks at whether its call still runs it gives joblib's lock back, so that it could go on within the next
call of the same `Parallel`; hence the lock, which a next call must have before it begins.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

log = logging.getLogger("concurro.joblib")


class Call:
    """Hands the results of one call to joblib until its end. Thread-safe.

    Args:
        lock: joblib's, of the `Parallel`; its owner may have it again.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self.is_over = False
        self._lock = lock
        self._ended: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._call_back, name="concurro-joblib", daemon=True)
        self.thread.start()

    def deliver(self, callback: Callable[[], object]) -> None:
        """Have the call's thread call this, unless the call is over by then."""
        self._ended.put(callback)

    def end(self) -> None:
        """Deliver nothing that has not begun. Idempotent; waits for nothing."""
        self.is_over = True
        self._ended.put(None)

    def _call_back(self) -> None:
        while (callback := self._ended.get()) is not None:
            with self._lock:
                if self.is_over:
                    return
                try:
                    callback()
                except Exception:  # joblib's code, and the user's: the results of the others come through this thread
                    log.exception("joblib failed to take a result")
