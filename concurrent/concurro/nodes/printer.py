"""Shows the output of tasks where the application's own output goes.

    loop thread -- lines --> queue, bounded --> thread --> sys.stdout, sys.stderr

Each line begins with a mark, `[task slave]`, or `[system]` for its own callbacks. A terminal
or a pipe that nobody reads blocks the thread, not the loop: then lines are dropped and
counted.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUE_LIMIT = 4 * 1024 * 1024
"""Characters that wait to be written."""

SETTLE_LIMIT = 0.5
"""How long a result waits for the output before it [s]."""

CLOSE_LIMIT = 2.0
"""How long the end of an application waits for its output [s]."""

NAME_LIMIT = 40
"""Characters of a name in a mark."""


class Printer:
    """Writes marked lines to this process's streams. Thread-safe.

    The streams are those of `sys` at the moment of writing.

    Args:
        name_of: Names a task of which the number is all that is known; "" when it cannot.
    """

    def __init__(self, name_of: Callable[[int, int], str]) -> None:
        self._name_of = name_of
        self._queue: deque[tuple[int, str]] = deque()
        self._size = 0
        self._dropped = 0
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._writing = False
        self._stuck = False
        self._closed = False

    def show(self, entries: list[list[Any]]) -> None:
        """Take PRINTED."""
        texts = [(entry[4], self._marked(entry)) for entry in entries]
        with self._news:
            if self._closed:
                return
            for stream, text in texts:
                if self._size + len(text) > QUEUE_LIMIT:
                    self._dropped += len(text)
                    continue
                shown = self._notice() + text
                self._queue.append((stream, shown))
                self._size += len(shown)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="concurro-output", daemon=True)
                self._thread.start()
            self._news.notify_all()

    def settle(self, limit: float = SETTLE_LIMIT) -> None:
        """Wait until everything was written, unless the streams are stuck."""
        if self._thread is None or threading.current_thread() is self._thread:
            return
        with self._news:
            if not self._stuck:
                self._stuck = not self._news.wait_for(self._is_idle, limit)

    def close(self) -> None:
        """Write what waits, if that is possible soon. Idempotent."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_LIMIT)

    def _is_idle(self) -> bool:
        return not self._queue and not self._writing

    def _write_all(self) -> None:
        while True:
            with self._news:
                self._writing = False
                self._stuck = False
                self._news.notify_all()
                self._news.wait_for(lambda: bool(self._queue) or self._closed)
                if not self._queue:
                    return
                stream = self._queue[0][0]
                texts = []
                while self._queue and self._queue[0][0] == stream:
                    texts.append(self._queue.popleft()[1])
                if not self._queue:
                    texts.append(self._notice())
                self._size = sum(len(text) for _, text in self._queue)
                self._writing = True
            _write(stream, "".join(texts))

    def _notice(self) -> str:
        """Return what is to be said about dropped output, once."""
        dropped, self._dropped = self._dropped, 0
        return f"... {dropped} characters of output dropped\n" if dropped else ""

    def _marked(self, entry: list[Any]) -> str:
        system, number, name, slave_id, _, text, dropped = entry[:7]
        if number is not None:
            name = name or self._name_of(system, number) or f"task {number}"
        mark = mark_of(str(name), str(slave_id))
        lines = [f"{mark}... {dropped} bytes of output dropped\n"] if dropped else []
        lines += [f"{mark}{_as_seen(line)}\n" for line in str(text).removesuffix("\n").split("\n")] if text else []
        return "".join(lines)


def mark_of(name: str, slave_id: str) -> str:
    """Return what a line of output begins with."""
    shown = " ".join(name.split())
    if len(shown) > NAME_LIMIT:
        shown = shown[: NAME_LIMIT - 3] + "..."
    return f"[{shown} {slave_id}] " if slave_id else f"[{shown}] "


def _as_seen(line: str) -> str:
    """Return what a terminal shows of a line that overwrites itself."""
    return line.rstrip("\r").rpartition("\r")[2]


def _write(number: int, text: str) -> None:
    stream = sys.stderr if number == 2 else sys.stdout  # noqa: PLR2004 - the number of the descriptor
    if stream is None:  # a program without a console has none
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):
        return  # a broken pipe, or closed: nobody can see it any more
