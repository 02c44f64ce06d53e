"""A bar at the bottom of a terminal to which others write as well.

    bar thread --draw--> Bar --> terminal
    print, logging --> BesideBar --aside--> the bar is erased, the text written, the bar drawn again

Without it, what others print is glued to the bar, and the next drawing erases a line that is
not finished.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

ERASE = "\r\x1b[2K"


class Bar:
    """One line that is drawn over and over. Thread-safe.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._line = ""
        self._drawn = False
        self._open = False  # whether somebody's line waits for its rest

    def draw(self, line: str) -> bool:
        """Show another line; return False when nobody can see it any more."""
        with self._lock:
            self._line = line
            return self._open or self._show()

    def erase(self) -> None:
        """Show none any more."""
        with self._lock:
            self._line = ""
            self._hide()

    def write_aside(self, stream: TextIO, text: str) -> int:
        """Write for somebody else, above the bar."""
        with self._lock:
            self._hide()
            count = stream.write(text)
            if text:
                self._open = not text.endswith("\n")
            if self._line and not self._open:
                stream.flush()
                self._show()
            return count

    def _show(self) -> bool:
        self._drawn = True
        return self._put(ERASE + self._line)

    def _hide(self) -> None:
        if self._drawn:
            self._drawn = False
            self._put(ERASE)

    def _put(self, text: str) -> bool:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a broken pipe, or closed
            return False
        return True


class BesideBar:
    """A stream on the terminal of a bar: that stream, but for `write`."""

    def __init__(self, stream: TextIO, bar: Bar) -> None:
        self._stream = stream
        self._bar = bar

    def write(self, text: str) -> int:
        """Write above the bar."""
        return self._bar.write_aside(self._stream, text)

    def writelines(self, lines: list[str]) -> None:
        """Write lines above the bar."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def written_around(bar: Bar) -> Iterator[None]:
    """Let what this process prints and logs to terminals go around a bar."""
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stack.enter_context(_standard_stream_beside(name, bar))
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and _is_terminal(handler.stream):
                before = handler.setStream(_beside(handler.stream, bar))
                stack.callback(handler.setStream, before)
        yield


@contextmanager
def _standard_stream_beside(name: str, bar: Bar) -> Iterator[None]:
    stream = getattr(sys, name)
    if not _is_terminal(stream):
        yield
        return
    beside = _beside(stream, bar)
    setattr(sys, name, beside)
    try:
        yield
    finally:
        if getattr(sys, name) is beside:  # else somebody put another in its place meanwhile
            setattr(sys, name, stream)


def _beside(stream: TextIO, bar: Bar) -> TextIO:
    return cast("TextIO", BesideBar(stream, bar))


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty()
