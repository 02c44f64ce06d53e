"""Show how far a system is.

A live bar on a terminal, plain lines elsewhere.

Everything goes to standard error, since standard output belongs to the result.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TextIO
from unicodedata import east_asian_width

from concurro.nodes.bar import Bar, written_around
from concurro.nodes.rate_meter import RateMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concurro.ids import ProgressRecord
    from concurro.nodes.handle import SystemHandle

BAR_PERIOD = 0.1
"""Seconds between two drawings of the bar [s]."""

LINE_PERIOD = 5.0
"""Seconds between two plain lines [s]."""

BAR_CELLS = 24


@contextmanager
def live_progress(handle: SystemHandle, stream: TextIO | None = None) -> Iterator[None]:
    """Show the progress of a system while the block runs.

    Args:
        handle: The system.
        stream: Where to; None for standard error.
    """
    stream = sys.stderr if stream is None else stream
    if stream is None:  # a program without a console has none
        yield
        return
    over = threading.Event()
    with ExitStack() as stack:
        if stream.isatty() and os.environ.get("TERM") != "dumb":
            bar = Bar(stream)
            stack.enter_context(written_around(bar))
            thread = _started(_show_bar, handle, bar, over)
        else:
            thread = _started(_show_lines, handle, stream, over)
        try:
            yield
        finally:
            over.set()
            thread.join()


def _started(show: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=show, args=arguments, name="concurro-progress", daemon=True)
    thread.start()
    return thread


class ProgressLine:
    """Makes the line that says how far a system is.

    Args:
        handle: The system.
    """

    def __init__(self, handle: SystemHandle) -> None:
        self._handle = handle
        self._started = time.monotonic()
        progress = handle.progress
        self._tasks = RateMeter(self._started, finished_tasks(progress))
        self._steps = RateMeter(self._started, progress.done)

    def now(self, *, with_bar: bool) -> str:
        """Return it as it is now."""
        progress, now = self._handle.progress, time.monotonic()
        self._tasks.note(now, finished_tasks(progress))
        self._steps.note(now, progress.done)
        rate, left = self._tasks.rate(now), time_left(progress, self._steps.rate(now))
        return progress_line(progress, now - self._started, with_bar=with_bar, rate=rate, left=left)


def progress_line(
    progress: ProgressRecord, elapsed: float, *, with_bar: bool, rate: float | None = None, left: float | None = None
) -> str:
    """Return one line that says how far a system is.

    Args:
        progress: As last heard.
        elapsed: Since the start [s].
        with_bar: Whether to draw a bar where the total is known.
        rate: Tasks that end per second [1/s]; None when nobody knows.
        left: Until the end [s]; None when nobody knows.
    """
    parts = []
    if progress.total:
        share = min(1.0, max(0.0, progress.done / progress.total))
        if with_bar:
            full = int(share * BAR_CELLS)
            parts.append("[" + "#" * full + "." * (BAR_CELLS - full) + "]")
        parts.append(f"{progress.done}/{progress.total} ({share:.0%})")
    counts = progress.counts
    shown = [f"{counts.get('done', 0)} done"]
    words = {"failed": "failed", "cancelled": "cancelled", "leased": "at work", "queued": "queued"}
    shown += [f"{counts[state]} {word}" for state, word in words.items() if counts.get(state)]
    parts.append("tasks: " + ", ".join(shown))
    if rate is not None:
        parts.append(rate_text(rate))
    parts.append(f"{elapsed:.1f} s")
    if left is not None:
        parts.append(f"{duration_text(left)} left")
    if progress.message:
        parts.append("".join(sign if sign.isprintable() else "?" for sign in " ".join(progress.message.split())))
    return "  ".join(parts)


def finished_tasks(progress: ProgressRecord) -> int:
    """Return how many tasks of a system have run to their end."""
    return progress.counts.get("done", 0) + progress.counts.get("failed", 0)


def time_left(progress: ProgressRecord, rate: float | None) -> float | None:
    """Return when a system is done at the rate of late [s].

    None when it has not said how much there is: tasks are made as it goes, and how many come
    nobody knows.
    """
    if not rate or not progress.total or progress.done >= progress.total:
        return None
    return (progress.total - progress.done) / rate


def rate_text(rate: float) -> str:
    """Return a rate for people."""
    for unit, scale in (("s", 1.0), ("min", 60.0)):
        if rate * scale >= 1.0:
            return f"{rate * scale:.3g} tasks/{unit}" if rate * scale < 1000 else f"{rate * scale:.0f} tasks/{unit}"  # noqa: PLR2004 - three digits, and no exponent
    return f"{rate * 3600.0:.3g} tasks/h"


def duration_text(seconds: float) -> str:
    """Return a duration for people: `42 s`, `3:05 min`, `2:10 h`, `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d} h" if hours < 48 else f"{hours // 24} d {hours % 24} h"  # noqa: PLR2004 - two days


def _show_bar(handle: SystemHandle, bar: Bar, over: threading.Event) -> None:
    line = ProgressLine(handle)
    # Not at once: a job of a blink shows no bar.
    while not over.wait(BAR_PERIOD):
        width = shutil.get_terminal_size().columns
        if not bar.draw(_cut(line.now(with_bar=True), width - 1)):
            return
    bar.erase()


def _cut(text: str, cells: int) -> str:
    """Return as much of a text as fits into so many cells.

    A line that is longer breaks, and erasing reaches its last row only.
    """
    if text.isascii():
        return text[:cells]
    used = 0
    for place, sign in enumerate(text):
        used += 2 if east_asian_width(sign) in "WF" else 1
        if used > cells:
            return text[:place]
    return text


def _show_lines(handle: SystemHandle, stream: TextIO, over: threading.Event) -> None:
    line = ProgressLine(handle)
    begun = False
    while not over.wait(LINE_PERIOD):
        begun = True
        if not _write(stream, line.now(with_bar=False) + "\n"):
            return
    if begun:  # whoever read how it went on also reads how it ended
        _write(stream, line.now(with_bar=False) + "\n")


def _write(stream: TextIO, text: str) -> bool:
    """Write; return False when nobody can see it any more."""
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):  # a broken pipe, or closed
        return False
    return True
