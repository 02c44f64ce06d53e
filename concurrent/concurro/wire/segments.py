"""Segments: pages that one process writes and others of its machine map.

    owner                                            receivers
    SegmentPool --take(size)--> Segment --write-->
                 Segment.publish() --> Descriptor ==SCM_RIGHTS==> map read-only, or copy on write
                 <---- free again: nobody, living or dead, has a descriptor or a mapping of it

A segment is a memfd: it has no name, and its memory goes with the last descriptor and mapping,
however a process ends. Its size is sealed, so that nobody gets SIGBUS, and once published it
cannot be written but by the mapping of its owner.

Nobody counts who has one. What receivers get is a second opening of the memfd, read-only,
with a shared `flock`: the kernel keeps that lock until the last descriptor, message on its
way and mapping that stem from it are gone, those of killed processes included. The owner
may write to the pages again as soon as it can have the lock for itself.
"""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import threading
from collections import deque
from pathlib import Path
from typing import Any

from concurro.wire.pages import new_buffer

SHARE_THRESHOLD = 64 * 1024
"""Blobs from this size on are passed as segments where both ends are on one machine [B]."""

MAP_THRESHOLD = 1024 * 1024
"""Buffers from this size on are read where they are; a smaller one is copied for who gets it [B]."""

FREE_LIMIT = 128 * 1024 * 1024
"""Bytes of segments that wait to be used again, per process [B]."""

_MOST_SEGMENTS = 2048
_MOST_FREE = 256
_LOOKS = 8
_STEPS = 8  # sizes of segments per doubling: at most an eighth is wasted
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SEAL_FUTURE_WRITE = 0x10
_SCARCE = 64 * 1024 * 1024
_MEMORY = Path("/proc/meminfo")


class Descriptor:
    """A descriptor that is owned here, and closed with its last reference.

    It stands among the frames of a message, at most one in each. One that was lost on its way
    (the receiver had no number left for it) has a negative `fileno`.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """Return its number; negative when there is none."""
        return self._fd

    def size(self) -> int:
        """Return how many bytes can be mapped without danger, 0 for none [B].

        What is no memfd, or could shrink below its readers, cannot.
        """
        if self._fd < 0:
            return 0
        try:
            facts = os.fstat(self._fd)
            sealed = fcntl.fcntl(self._fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
        except OSError:
            return 0
        return facts.st_size if sealed and stat.S_ISREG(facts.st_mode) else 0

    def read(self, offset: int, length: int) -> bytes:
        """Return some of its bytes."""
        piece = os.pread(self._fd, length, offset)
        if len(piece) == length:
            return piece
        pieces = []  # Linux reads less than 2 GiB per call
        while piece:
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
            piece = os.pread(self._fd, length, offset)
        return b"".join(pieces)

    def copy(self, size: int) -> bytearray:
        """Return its first bytes in memory of the caller's own.

        Raises:
            OSError: It holds less.
        """
        own = bytearray(size)
        if os.preadv(self._fd, [own], 0) != size:  # small ones only: Linux reads 2 GiB at once
            message = f"a descriptor of {self.size()} B holds no {size} B"
            raise OSError(message)
        return own

    def map(self, size: int, *, private: bool = False) -> memoryview:
        """Map its first bytes, read-only; or private: writable, copy on write.

        Raises:
            OSError: There is no room for it, or it holds less.
        """
        from concurro.wire.mapping import map_private, map_shared  # noqa: PLC0415 - see there

        if self.size() < size:
            message = f"a descriptor of {self.size()} B cannot be mapped for {size} B"
            raise OSError(message)
        return map_private(self._fd, size) if private else map_shared(self._fd, size)

    def __del__(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Segment:
    """Pages of ours. One thread at a time.

    Attributes:
        capacity: Bytes that it can hold [B].
    """

    def __init__(self, capacity: int, *, resident: bool = True) -> None:
        """Make one; pages come when they are written to.

        Args:
            capacity: Bytes [B].
            resident: Whether its pages stay in reach once they are published. It is quicker to write to them then.

        Raises:
            OSError: There is no memory or no descriptor for it.
        """
        self.capacity = capacity
        self._resident = resident
        self._pages: memoryview | None = None
        self._address = 0
        self._touched = 0
        self._written = 0
        self._fd = -1  # what cannot be made is closed, too
        self._fd = os.memfd_create("concurro", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self._fd, capacity)
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        except BaseException:
            os.close(self._fd)
            raise

    def write(self, offset: int, buffer: Any) -> None:
        """Put bytes at their place.

        Raises:
            OSError: There is no memory for them.
        """
        view = memoryview(buffer)
        if self._pages is not None:
            from concurro.wire.mapping import copy_to  # noqa: PLC0415 - see there

            self._touch(offset + view.nbytes)
            copy_to(self._address + offset, view)
            return
        # New pages are written without being mapped: that takes half the time, and a lack of memory is an error.
        self._written = max(self._written, offset + view.nbytes)
        while view.nbytes:
            written = os.pwrite(self._fd, view, offset)
            view, offset = view[written:], offset + written

    def publish(self) -> Descriptor:
        """Return what receivers get, once everything is written.

        Raises:
            OSError: There is no memory or no descriptor for it.
        """
        if self._pages is None:
            self._seal()
        elif not self._resident:
            self._leave()
        fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)
        descriptor = Descriptor(fd)
        fcntl.flock(fd, fcntl.LOCK_SH)
        return descriptor

    def copy(self, size: int) -> memoryview:
        """Return its first bytes in memory of this process, read-only.

        Raises:
            ProtocolError: There is not so much memory.
        """
        buffer = new_buffer(size)
        done = 0
        while done < size:
            done += os.preadv(self._fd, [buffer[done:]], done)
        return buffer.toreadonly()

    def is_free(self) -> bool:
        """Say whether nobody has what was published any more."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return True

    def close(self) -> None:
        """Give it up; receivers keep what they have. Idempotent."""
        self._pages = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def _seal(self) -> None:
        from concurro.wire.mapping import address_of, map_writable  # noqa: PLC0415 - see there

        if self._written < self.capacity:
            # Nobody ever meets a page that is not there: without memory that would be SIGBUS.
            os.posix_fallocate(self._fd, self._written, self.capacity - self._written)
        self._pages = map_writable(self._fd, self.capacity)
        self._address = address_of(self._pages)
        fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, _SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL)

    def _leave(self) -> None:
        from concurro.wire.mapping import leave  # noqa: PLC0415 - see there

        leave(self._address, self.capacity)
        self._touched = 0

    def _touch(self, end: int) -> None:
        if end > self._touched:
            from concurro.wire.mapping import touch  # noqa: PLC0415 - see there

            touch(self._address, self.capacity)
            self._touched = self.capacity


class SegmentPool:
    """The segments of a process. Thread-safe.

    Args:
        free_limit: Bytes of segments that are kept although nobody has them [B].
        most: Most segments at once; None: as many as the limit of descriptors leaves room for.
        resident: Whether published pages count in the memory of this process.
    """

    def __init__(self, free_limit: int = FREE_LIMIT, most: int | None = None, *, resident: bool = True) -> None:
        self._free_limit = free_limit
        self._most = most
        self._resident = resident
        self._lent: deque[Segment] = deque()
        self._free: deque[Segment] = deque()
        self._free_bytes = 0
        self._idle = True  # nothing was taken since `tidy`
        self._works: bool | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def take(self, size: int) -> Segment | None:
        """Return a segment for `size` bytes, to be written and given to `lend`.

        None: there cannot be one, for want of memory or descriptors, or on this system, or in a
        process that was forked from the pool's: the segments are those of its parent.
        """
        if os.getpid() != self._pid:
            return None
        capacity = _capacity_for(size)
        with self._lock:
            self._idle = False
            if self._works is None:
                self._works = _works_here()
            if not self._works:
                return None
            self._collect(_LOOKS)
            for segment in self._free:
                if segment.capacity == capacity:
                    self._free.remove(segment)
                    self._free_bytes -= capacity
                    return segment
            self._trim(self._free_limit - capacity)
            if len(self._lent) + len(self._free) >= self._limit() or not _memory_for(capacity):
                return None
        try:
            return Segment(capacity, resident=self._resident)
        except OSError:
            return None

    def lend(self, segment: Segment) -> Descriptor | None:
        """Publish a segment; it is used again when nobody has it any more.

        None: there is no memory or descriptor for that; the segment is given up.
        """
        descriptor = self._publish(segment)
        if descriptor is None:
            segment.close()
        return descriptor

    def lend_or_copy(self, segment: Segment, size: int) -> Descriptor | memoryview:
        """Publish a segment, or return what is in it and give it up.

        The latter where no descriptor is left.

        Raises:
            ProtocolError: There is no memory for a copy either.
        """
        descriptor = self._publish(segment)
        if descriptor is not None:
            return descriptor
        try:
            return segment.copy(size)
        finally:
            segment.close()

    def _publish(self, segment: Segment) -> Descriptor | None:
        try:
            descriptor = segment.publish()
        except OSError:
            return None
        with self._lock:
            self._lent.append(segment)
        return descriptor

    def fill(self, buffer: Any) -> Descriptor | None:
        """Copy a buffer into a segment and publish it.

        None: there cannot be one.
        """
        segment = self.take(memoryview(buffer).nbytes)
        if segment is None:
            return None
        try:
            segment.write(0, buffer)
        except OSError:
            segment.close()
            return None
        return self.lend(segment)

    @property
    def lends(self) -> bool:
        """Whether there is anything that may be given up, now or later."""
        return bool(self._lent or self._free) and os.getpid() == self._pid

    def tidy(self) -> None:
        """Look at all that was lent, and give up what nobody has.

        To be called now and then while the process is idle: what is free stays for once, to be used again.
        """
        with self._lock:
            if os.getpid() != self._pid:
                return
            self._collect(len(self._lent))
            if self._idle:
                self._trim(0)
            self._idle = True

    def close(self) -> None:
        """Give every segment up; receivers keep what they have."""
        with self._lock:
            self._lent.clear()
            self._trim(0)

    def _collect(self, looks: int) -> None:
        """Look at those lent out longest: usually they come back first."""
        for _ in range(min(looks, len(self._lent))):
            segment = self._lent.popleft()
            if segment.is_free():
                self._free.append(segment)
                self._free_bytes += segment.capacity
            else:
                self._lent.append(segment)
        self._trim(self._free_limit)

    def _trim(self, limit: int) -> None:
        while self._free and (self._free_bytes > limit or len(self._free) > _MOST_FREE):
            self._free_bytes -= self._free.popleft().capacity

    def _limit(self) -> int:
        return min(_MOST_SEGMENTS, most_descriptors() // 2) if self._most is None else self._most


def most_descriptors() -> int:
    """Return how many descriptors blobs may take, of those of a process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft // 4


def _capacity_for(size: int) -> int:
    """Round up to one of eight sizes per doubling."""
    step = max(_PAGE, 1 << max(0, (size - 1).bit_length() - _STEPS.bit_length()))
    return -(-size // step) * step


def _memory_for(size: int) -> bool:
    """Say whether the machine has room for it; what is small is just tried."""
    if size < _SCARCE:
        return True
    try:
        with _MEMORY.open("rb") as facts:
            for line in facts:
                if line.startswith(b"MemAvailable:"):
                    return int(line.split()[1]) * 1024 > size + _SCARCE
    except OSError:
        return True
    return True


def _works_here() -> bool:
    """Try whether this system does what segments need of it."""
    if not hasattr(os, "memfd_create"):
        return False
    try:
        segment = Segment(_PAGE)
        segment.write(0, b"tried")
        descriptor = segment.publish()
        pages = descriptor.map(_PAGE)
        del descriptor
        held = not segment.is_free() and bytes(pages[:5]) == b"tried"
        del pages
        return held and segment.is_free()
    except (OSError, AttributeError):  # an old kernel, no /proc, another system
        return False
