"""A journal's disk in virtual time, around the real store.

    Keeper --write(rows, done)--> SimulatedWriter --after a while--> JournalStore.apply --> done
                                     a full disk: rows wait
    crash: what was not committed is gone, or is on disk and nobody was told

SQLite commits all of a transaction or nothing, so a record that was torn at a crash is one that
is gone. The files are real, in memory if the machine has a place for that.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from concurro.journal.store import JournalStore
    from concurro.scheduling.rows import Row
    from concurro.testing.simulated_time import SimulatedLoop

    Done = Callable[[], None]

RETRY_PERIOD = 1.0
"""How often a full disk is tried again [s]."""


@dataclass(slots=True)
class Disk:
    """The disk of a master's machine.

    Attributes:
        random: Draws how long a sync takes, and what a crash leaves.
        delay: Of a sync, on the average [s].
        full_until: Nothing can be written before [s].
        failing: Whether the next sync fails.
    """

    random: random.Random
    delay: float = 0.002
    full_until: float = 0.0
    failing: bool = False


class SimulatedWriter:
    """Stands for `JournalWriter`; what waits is committed together.

    Attributes:
        on_full: Called with True when the disk is full, with False when it has room again.
        on_failed: Called with a sentence when nothing can be written any more.
        full: Whether the disk is full.
        lost: Rows that never came to the disk, once it has ended.
    """

    def __init__(self, disk: Disk, loop: SimulatedLoop, store: JournalStore) -> None:
        self.on_full: Callable[[bool], None] = lambda full: None  # noqa: ARG005
        self.on_failed: Callable[[str], None] = lambda reason: None  # noqa: ARG005
        self.full = False
        self.store = store
        self.lost: list[Row] = []
        self._disk = disk
        self._loop = loop
        self._rows: list[Row] = []
        self._done: list[Done] = []
        self._reads: list[Done] = []
        self._size = 0
        self._writing: tuple[list[Row], list[Done], int] | None = None
        self._closed = False

    def waiting(self) -> int:
        """Return the bytes that are not written yet [B]."""
        return self._size

    def write(self, rows: Sequence[Row], done: Done | None = None, size: int = 0) -> None:
        """Queue rows; `done` is called once all queued so far are on disk."""
        self._rows += rows
        self._size += size
        if done is not None:
            self._done.append(done)
        self._begin()

    def read(self, query: Callable[[JournalStore], Any], done: Callable[[Any], None]) -> None:
        """Read behind everything that was queued so far."""

        def answer() -> None:
            if not self._closed:
                found = query(self.store)
                self._loop.post(lambda: done(found))

        self._reads.append(answer)
        self._begin()

    def close(self) -> None:
        """Write what waits, and end. Idempotent."""
        if not self._closed:
            self._closed = True
            rows = [*(self._writing[0] if self._writing else ()), *self._rows]
            if self._disk.full_until <= self._loop.now():
                self.store.apply(rows)
            else:
                self.lost = rows

    def crash(self) -> None:
        """End with the process: what is being written is on disk, or is not."""
        if not self._closed:
            self._closed = True
            writing = self._writing[0] if self._writing is not None else []
            if writing and self._disk.full_until <= self._loop.now() and self._disk.random.random() < 0.5:  # noqa: PLR2004
                self.store.apply(writing)
                writing = []
            self.lost = [*writing, *self._rows]

    def _begin(self) -> None:
        if self._writing is None and not (self._rows or self._done):
            reads, self._reads = self._reads, []
            _call_all(reads)
        if self._writing is None and (self._rows or self._done) and not self._closed:
            self._writing = self._rows, self._done, self._size
            self._rows, self._done = [], []
            delay = self._disk.delay * (0.2 + self._disk.random.random()) if self._writing[0] else 0.0
            # The thread goes on while the loop is busy, frozen even; it tells the loop.
            self._loop.agenda.after(delay, self._commit)

    def _commit(self) -> None:
        if self._closed or self._writing is None or self._loop.ended:
            return
        now, disk = self._loop.now(), self._disk
        rows, done, size = self._writing
        if rows and disk.failing:
            disk.failing = False
            self._closed = True
            self.lost = rows
            self._rows = self.lost  # what comes now is lost as well
            self._loop.post(lambda: self.on_failed("disk I/O error"))
            return
        if rows and disk.full_until > now:
            if not self.full:
                self.full = True
                self._loop.post(lambda: self.on_full(True))  # noqa: FBT003 - a callback of one argument
            self._loop.agenda.after(RETRY_PERIOD, self._commit)
            return
        if self.full:
            self.full = False
            self._loop.post(lambda: self.on_full(False))  # noqa: FBT003 - a callback of one argument
        if rows:
            self.store.apply(rows)
        self._writing = None
        self._size -= size
        if done:
            self._loop.post(lambda: _call_all(done))
        self._begin()


def make_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for journals, in memory where there is such a place."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own below it, with a name that nobody guesses
    prefix = f"concurro-simulated-{os.getpid()}-"
    return tempfile.TemporaryDirectory(prefix=prefix, dir=memory if memory.is_dir() else None)


def _call_all(callbacks: Sequence[Done]) -> None:
    for callback in callbacks:
        callback()
