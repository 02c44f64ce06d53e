"""What workers print: drained always, kept within a bound."""

from __future__ import annotations

import os
import select
from collections import deque
from typing import TYPE_CHECKING

from concurro.execution.output_flow import OutputFlow

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.transport.loop import Loop

KEPT = 64 * 1024
"""Bytes of output that are kept per worker [B]."""

_LAST_READS = 16  # what a pipe can hold, and more
_LAST_LINES = 10
_LAST_SIZE = 2000


class ProcessOutput:
    """The output of one process: its latest bytes, and what is untold.

    Args:
        loop: Where the pipes are watched.
        output: Read end of the pipe behind descriptor 1; taken over.
        errors: Read end of the pipe behind descriptor 2; taken over.
        on_read: Called after something was read by the loop.
        before_read: Called before bytes are taken out of a pipe.

    Attributes:
        flow: What was read and not told yet.
        pieces: The latest output, as (stream, bytes).
    """

    def __init__(
        self,
        loop: Loop,
        output: int,
        errors: int,
        on_read: Callable[[], None],
        before_read: Callable[[], None] = lambda: None,
    ) -> None:
        self.flow = OutputFlow()
        self.pieces: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._loop = loop
        self._on_read = on_read
        self._before_read = before_read
        self._ready = select.poll()
        self._streams = {output: 1, errors: 2}
        for fd in (output, errors):
            os.set_blocking(fd, False)
            self._ready.register(fd, select.POLLIN)
            loop.watch(fd, self._readable)

    @property
    def fds(self) -> tuple[int, ...]:
        """Read ends of the pipes that are still open."""
        return tuple(self._streams)

    def last_lines(self) -> str:
        """Return the last lines, of both streams as they came."""
        joined = b"".join(piece for _, piece in self.pieces)[-_LAST_SIZE:]
        lines = joined.decode("utf-8", "backslashreplace").splitlines()
        return "\n".join(lines[-_LAST_LINES:])

    def read(self) -> None:
        """Read what is in the pipes now."""
        for _ in range(_LAST_READS):
            if not self._read_ready():
                break

    def close(self) -> None:
        """Read what is left, and close the pipes. Idempotent."""
        self.read()
        for fd in tuple(self._streams):
            self._drop(fd)

    def _readable(self) -> None:
        if self._read_ready():
            self._on_read()

    def _read_ready(self) -> bool:
        """Read once what is there, of both pipes; say whether anything was.

        The loop may have seen what `read` has taken since: then nothing is counted as read.
        """
        found = False
        for fd, _ in self._ready.poll(0):
            self._before_read()
            found |= self._read(fd, self._streams[fd])
        return found

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
        self.flow.take(stream, piece)
        self.pieces.append((stream, piece))
        self._size += len(piece)
        while self._size > KEPT and len(self.pieces) > 1:
            self._size -= len(self.pieces.popleft()[1])
        return True

    def _drop(self, fd: int) -> None:
        if self._streams.pop(fd, None) is not None:
            self._loop.unwatch(fd)
            self._ready.unregister(fd)
            os.close(fd)
