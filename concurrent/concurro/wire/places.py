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
            ProtocolError: There is no memory or descriptor for that.
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
    """

    def __init__(self, pool: SegmentPool, segment: Segment) -> None:
        self._pool = pool
        self._segment = segment

    def write(self, offset: int, chunk: Any) -> None:
        """Put bytes where they belong.

        Raises:
            ProtocolError: There is no memory for them.
        """
        try:
            self._segment.write(offset, chunk)
        except OSError as error:
            message = f"there is no memory for a blob of up to {self._segment.capacity} B: {error.strerror}"
            raise ProtocolError(message) from error

    def finish(self) -> Descriptor:
        """Return what was written, read-only from now on.

        Raises:
            ProtocolError: There is no memory or descriptor for that.
        """
        descriptor = self._pool.lend(self._segment)
        if descriptor is None:
            message = f"a blob of up to {self._segment.capacity} B cannot be shared: no memory or descriptor is left"
            raise ProtocolError(message)
        return descriptor
