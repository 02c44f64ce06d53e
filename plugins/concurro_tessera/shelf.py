"""Results kept in a worker: some in memory, the rest in a file.

result --put--> shelf --too much--> what was asked for longest ago: pages of one file without a name
                  ^---------wanted---------/
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from bisect import bisect
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from concurro import Parcel

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger("concurro.tessera")


class Shelf:
    """Results by the names of their calls. Loop thread only.

    Args:
        budget: What they may hold in memory [B].
        folder: Where the file is; empty for the system's folder.

    Attributes:
        held: What they hold in memory [B].
        spilled: What is in the file [B].
    """

    def __init__(self, budget: int, folder: str = "") -> None:
        self.held = 0
        self.spilled = 0
        self._budget = budget
        self._file = SpillFile(folder)
        self._here: OrderedDict[str, list[Parcel]] = OrderedDict()
        self._away: dict[str, tuple[list[Parcel], int]] = {}

    def put(self, uid: str, parts: list[Any]) -> None:
        """Keep a result; its plain parts are not counted."""
        parcels = [part for part in parts if isinstance(part, Parcel)]
        if parcels:
            self._here[uid] = parcels
            self.held += _size(parcels)
            self._make_room()

    def want(self, uid: str) -> None:
        """Take a result back: somebody asks for it.

        Raises:
            OSError: It cannot be read.
        """
        if uid in self._here:
            self._here.move_to_end(uid)
        elif uid in self._away:
            parcels, moved = self._away[uid]
            for parcel in parcels:
                parcel.take_back()
            del self._away[uid]
            self._here[uid] = parcels
            self.held += moved
            self.spilled -= moved
            self._make_room()

    def drop(self, uid: str) -> None:
        """Forget a result. Idempotent."""
        if uid in self._here:
            self.held -= _size(self._here.pop(uid))
        elif uid in self._away:
            parcels, moved = self._away.pop(uid)
            self.spilled -= moved
            self.held -= _size(parcels) - moved

    def _make_room(self) -> None:
        """Move what was wanted longest ago to the file, but for the newest."""
        while self.held > self._budget and len(self._here) > 1:
            uid, parcels = next(iter(self._here.items()))
            try:
                moved = sum(parcel.spill(self._file.open()) for parcel in parcels)
            except OSError as error:
                log.warning("results cannot be moved to a file, they stay in memory: %s", error)
                return
            del self._here[uid]
            self._away[uid] = parcels, moved
            self.held -= moved
            self.spilled += moved


def _size(parcels: list[Parcel]) -> int:
    return sum(parcel.size for parcel in parcels)


class SpillFile:
    """Pages for many, in one file without a name.

    So it ends with the process.

    Thread-safe.

    Args:
        folder: Where it is; empty for the system's folder.
    """

    def __init__(self, folder: str = "") -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._file: Any = None
        self._end = 0
        self._free: list[tuple[int, int]] = []  # (start, size), in order, never two in touch

    def open(self) -> BinaryIO:
        """Return pages of one's own, to be written once and closed."""
        return cast("BinaryIO", Pages(self))

    def write(self, parts: list[Any]) -> tuple[int, int]:
        """Write; return where, and how much.

        Raises:
            OSError: It cannot be written; nothing is taken then.
        """
        size = sum(len(part) for part in parts)
        with self._lock:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder or None)  # noqa: SIM115 - it lives as long as this
            start = self._take(size)
        try:
            at = start
            for part in parts:
                at += self._write_all(part, at)
        except OSError:
            self.free(start, size)
            raise
        return start, size

    def _write_all(self, part: Any, at: int) -> int:
        view = memoryview(part).cast("B")
        written = 0
        while written < len(view):
            written += os.pwrite(self._file.fileno(), view[written:], at + written)
        return written

    def read(self, start: int, size: int) -> bytes:
        """Return what was written.

        Raises:
            OSError: It cannot be read.
        """
        parts = []
        while size:
            part = os.pread(self._file.fileno(), size, start)
            if not part:
                message = "the file of spilled results is shorter than it was"
                raise OSError(message)
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return b"".join(parts)

    def free(self, start: int, size: int) -> None:
        """Let others use the pages."""
        with self._lock:
            place = bisect(self._free, (start, size))
            if place < len(self._free) and start + size == self._free[place][0]:
                size += self._free.pop(place)[1]
            if place and sum(self._free[place - 1]) == start:
                place -= 1
                start, before = self._free.pop(place)
                size += before
            if start + size == self._end:
                self._end = start
                self._file.truncate(self._end)
            else:
                self._free.insert(place, (start, size))

    def close(self) -> None:
        """End it. Idempotent."""
        if self._file is not None:
            self._file.close()

    def __del__(self) -> None:
        self.close()

    def _take(self, size: int) -> int:
        for place, (start, free) in enumerate(self._free):
            if free >= size:
                left = [(start + size, free - size)] if free > size else []
                self._free[place : place + 1] = left
                return start
        start, self._end = self._end, self._end + size
        return start


class Pages:
    """Some pages of a `SpillFile`, as a file: written once, read, closed."""

    def __init__(self, file: SpillFile) -> None:
        self._file = file
        self._place: tuple[int, int] | None = None
        self._at = 0

    def writelines(self, lines: Iterable[Any]) -> None:
        """Write all.

        Raises:
            OSError: It cannot be written.
        """
        self._place = self._file.write(list(lines))

    def flush(self) -> None:
        """Do nothing: nothing waits."""

    def seek(self, offset: int) -> int:
        """Go to a place."""
        self._at = offset
        return offset

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        start = self._place[0] if self._place is not None else 0
        read = self._file.read(start + self._at, size)
        self._at += size
        return read

    def close(self) -> None:
        """Let others use the pages. Idempotent."""
        place, self._place = self._place, None
        if place is not None:
            self._file.free(*place)
