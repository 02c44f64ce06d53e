"""Progress for a bar that somebody brings along: the protocol of tqdm.

loop thread --progress record--> BarFeeder --update(n), total--> the bar
who waits --end--> the last news, close()
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro.ids import ProgressRecord
    from concurro.nodes.handle import SystemHandle

log = logging.getLogger(__name__)


class ProgressBar(Protocol):
    """A bar that `progress` takes, such as `tqdm.tqdm()`.

    Attributes:
        total: How many there will be; set where the system has said it.
    """

    total: Any

    def update(self, n: int, /) -> Any:
        """Take that `n` more are done; less than 0 when a system corrects itself."""

    def close(self) -> Any:
        """Take that nothing more comes."""


def is_progress_bar(wanted: object) -> bool:
    """Whether something is such a bar, or a class of them."""
    return callable(getattr(wanted, "update", None)) and callable(getattr(wanted, "close", None))


@contextlib.contextmanager
def fed(bar: Any, handle: SystemHandle) -> Iterator[None]:
    """Show the progress of a system on a bar while the block runs.

    Close it then.

    Args:
        bar: It, or its class.
        handle: The system.
    """
    feeder = BarFeeder(bar() if isinstance(bar, type) else bar)
    handle.watch(feeder.take)
    try:
        yield
    finally:
        feeder.end(handle.progress)


class BarFeeder:
    """Tells a bar what is new. Thread-safe.

    A bar that raises is told nothing more: it must not end the job that it shows.
    """

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._lock = threading.Lock()
        self._done = 0
        self._over = False

    def take(self, progress: ProgressRecord) -> None:
        """Show the latest progress; nothing once it was closed."""
        with self._lock:
            if not self._over:
                self._attempt(lambda: self._show(progress))

    def end(self, progress: ProgressRecord) -> None:
        """Show the last progress, and close the bar."""
        self.take(progress)
        with self._lock:
            self._over = True
            self._attempt(self._bar.close)

    def _show(self, progress: ProgressRecord) -> None:
        bar = self._bar
        if progress.total is not None and getattr(bar, "total", None) != progress.total:
            bar.total = progress.total
            redraw = getattr(bar, "refresh", None)
            if callable(redraw):
                redraw()
        more = progress.done - self._done
        if more:
            self._done = progress.done
            bar.update(more)

    def _attempt(self, step: Any) -> None:
        try:
            step()
        except Exception:  # a user's bar, drawn in the thread that takes everybody's news
            self._over = True
            log.exception("the progress bar %r failed, and shows nothing more", type(self._bar).__name__)
