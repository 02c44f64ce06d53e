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

from concurro.nodes.bar import Bar, written_around

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


def progress_line(progress: ProgressRecord, elapsed: float, *, with_bar: bool) -> str:
    """Return one line that says how far a system is.

    Args:
        progress: As last heard.
        elapsed: Since the start [s].
        with_bar: Whether to draw a bar where the total is known.
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
    parts.append(f"{elapsed:.1f} s")
    if progress.message:
        parts.append(" ".join(progress.message.split()))
    return "  ".join(parts)


def _show_bar(handle: SystemHandle, bar: Bar, over: threading.Event) -> None:
    started = time.monotonic()
    # Not at once: a job of a blink shows no bar.
    while not over.wait(BAR_PERIOD):
        line = progress_line(handle.progress, time.monotonic() - started, with_bar=True)
        width = shutil.get_terminal_size().columns
        if not bar.draw(line[: width - 1]):
            return
    bar.erase()


def _show_lines(handle: SystemHandle, stream: TextIO, over: threading.Event) -> None:
    started = time.monotonic()
    while not over.wait(LINE_PERIOD):
        line = progress_line(handle.progress, time.monotonic() - started, with_bar=False)
        if not _write(stream, line + "\n"):
            return


def _write(stream: TextIO, text: str) -> bool:
    """Write; return False when nobody can see it any more."""
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):  # a broken pipe, or closed
        return False
    return True
