"""What workers print: drained always, kept within a bound."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.transport.loop import Loop

KEPT = 64 * 1024
"""Bytes of output that are kept per worker [B]."""

_LAST_READS = 16  # what a pipe can hold, and more
_LAST_LINES = 10
_LAST_SIZE = 2000


class OutputRing:
    """The latest output of one worker.

    Args:
        loop: Where the pipes are watched.
        output: Read end of the pipe behind descriptor 1; taken over.
        errors: Read end of the pipe behind descriptor 2; taken over.
        current_lease: Says what the worker runs, so that each piece has its task.
    """

    def __init__(self, loop: Loop, output: int, errors: int, current_lease: Callable[[], int]) -> None:
        self.pieces: deque[tuple[int, int, bytes]] = deque()
        self._size = 0
        self._loop = loop
        self._current_lease = current_lease
        self._streams = {output: 1, errors: 2}
        for fd, stream in self._streams.items():
            os.set_blocking(fd, False)
            loop.watch(fd, self._reader(fd, stream))

    def last_lines(self) -> str:
        """Return the last lines, of both streams as they came."""
        joined = b"".join(piece for _, _, piece in self.pieces)[-_LAST_SIZE:]
        lines = joined.decode("utf-8", "backslashreplace").splitlines()
        return "\n".join(lines[-_LAST_LINES:])

    def close(self) -> None:
        """Read what is left, and close the pipes. Idempotent."""
        for fd, stream in tuple(self._streams.items()):
            for _ in range(_LAST_READS):
                if fd in self._streams and not self._read(fd, stream):
                    break
            self._drop(fd)

    def _reader(self, fd: int, stream: int) -> Callable[[], None]:
        def read() -> None:
            self._read(fd, stream)

        return read

    def _read(self, fd: int, stream: int) -> bool:
        try:
            piece = os.read(fd, KEPT)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if not piece:
            self._drop(fd)
            return False
        self.pieces.append((stream, self._current_lease(), piece))
        self._size += len(piece)
        while self._size > KEPT and len(self.pieces) > 1:
            self._size -= len(self.pieces.popleft()[2])
        return True

    def _drop(self, fd: int) -> None:
        if self._streams.pop(fd, None) is not None:
            self._loop.unwatch(fd)
            os.close(fd)
