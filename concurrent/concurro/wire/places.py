"""Where a blob that arrives is put together: here, or in a segment.

A segment is mapped by every process of this machine that wants the blob, without another copy,
and is not in the memory of the one that put it together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from concurro.errors import ProtocolError
from concurro.wire.pages import new_buffer

if TYPE_CHECKING:
    from concurro.wire.segments import Descriptor, Segment, SegmentPool


class Place(Protocol):
    """Takes the bytes of one blob. An announced size alone reserves nothing."""

    def write(self, offset: int, chunk: Any) -> None:
        """Put bytes where they belong.

        Raises:
            ProtocolError: There is no memory for them.
        """

    def finish(self) -> memoryview | Descriptor:
        """Return what was written, read-only from now on.

        Raises:
            ProtocolError: There is no memory for that.
        """


class BufferPlace:
    """Memory of this process.

    Args:
        size: Of the blob [B].

    Raises:
        ProtocolError: There is not so much memory.
    """

    def __init__(self, size: int) -> None:
        self._buffer = new_buffer(size)

    def write(self, offset: int, chunk: Any) -> None:
        """Put bytes where they belong."""
        self._buffer[offset : offset + len(chunk)] = chunk

    def finish(self) -> memoryview:
        """Return what was written, read-only from now on."""
        return self._buffer.toreadonly()


class SegmentPlace:
    """A segment of ours.

    Args:
        pool: Whose it is.
        segment: As taken from it.
        size: Of the blob [B].
    """

    def __init__(self, pool: SegmentPool, segment: Segment, size: int) -> None:
        self._pool = pool
        self._segment = segment
        self._size = size

    def write(self, offset: int, chunk: Any) -> None:
        """Put bytes where they belong.

        Raises:
            ProtocolError: There is no memory for them.
        """
        try:
            self._segment.write(offset, chunk)
        except OSError as error:
            message = f"there is no memory for a blob of {self._size} B: {error.strerror}"
            raise ProtocolError(message) from error

    def finish(self) -> memoryview | Descriptor:
        """Return what was written, read-only from now on.

        It is here where no descriptor is left to share it.

        Raises:
            ProtocolError: There is no memory for that.
        """
        return self._pool.lend_or_copy(self._segment, self._size)
