"""Memory for large values.

Fresh memory costs more than what is copied into it, unless it comes in huge pages (measured:
64 MiB in 7 ms, and in 43 to 55 ms without).
"""

from __future__ import annotations

import mmap

from concurro.errors import ProtocolError

HUGE_FROM = 4 * 1024 * 1024
"""From this size on memory is mapped on its own, and goes back to the system with its last user [B]."""

_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def new_buffer(size: int) -> memoryview:
    """Return `size` bytes of zeros to be written to [B].

    Large ones take memory page by page, as they are written.

    Raises:
        ProtocolError: There is not so much memory.
    """
    try:
        if size < HUGE_FROM:
            return memoryview(bytearray(size))
        mapped = mmap.mmap(-1, size, flags=_PRIVATE)
    except (MemoryError, OSError, OverflowError) as error:
        message = f"there is no memory for {size} B: {error}"
        raise ProtocolError(message) from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            mapped.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # a kernel without them
            return memoryview(mapped)
    return memoryview(mapped)


def copy_of(buffer: bytes | bytearray | memoryview) -> memoryview:
    """Return a copy of a contiguous buffer, to be written to.

    Raises:
        ProtocolError: There is not so much memory.
    """
    view = memoryview(buffer).cast("B")
    if view.nbytes < HUGE_FROM:
        return memoryview(bytearray(view))
    copy = new_buffer(view.nbytes)
    copy[:] = view
    return copy
