"""Tasks that wait for a worker, in the master's order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro.execution.slave_records import Entry, TaskCode


class Run:
    """Tasks of one class, one after the other."""

    __slots__ = ("code", "entries")

    def __init__(self, code: TaskCode, entries: deque[Entry]) -> None:
        self.code = code
        self.entries = entries


class ReadyQueue:
    """A queue of leases whose blobs and classes are here.

    Those that need devices wait apart: no other task waits behind one that has to wait for a
    device. What is said of the first task, and whether the queue is falsy, is about the others.
    """

    def __init__(self) -> None:
        self._runs: deque[Run] = deque()
        self._count = 0
        self._apart: deque[tuple[TaskCode, Entry]] = deque()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        for run in self._runs:
            yield from run.entries
        for _, entry in self._apart:
            yield entry

    @property
    def apart(self) -> deque[tuple[TaskCode, Entry]]:
        """Tasks that need devices, in order."""
        return self._apart

    @property
    def total(self) -> int:
        """How many tasks wait, those for devices included."""
        return self._count + len(self._apart)

    def append(self, code: TaskCode, entry: Entry) -> Run | None:
        """Queue at the end; return the run that it joined, for `extend`, if any."""
        if code.devices:
            self._apart.append((code, entry))
            return None
        run = self._runs[-1] if self._runs and self._runs[-1].code is code else None
        if run is None:
            run = Run(code, deque())
            self._runs.append(run)
        run.entries.append(entry)
        self._count += 1
        return run

    def extend(self, run: Run, entry: Entry) -> None:
        """Queue a task of the class of the last run."""
        run.entries.append(entry)
        self._count += 1

    def put_back(self, code: TaskCode, entry: Entry) -> None:
        """Queue in front."""
        if code.devices:
            self._apart.appendleft((code, entry))
            return
        if not self._runs or self._runs[0].code is not code:
            self._runs.appendleft(Run(code, deque()))
        self._runs[0].entries.appendleft(entry)
        self._count += 1

    def first_code(self) -> TaskCode:
        """Return the class of the first task; the queue must not be empty."""
        return self._runs[0].code

    def chunks_at_once(self, workers: int) -> int:
        """Return how many chunks a worker may get at once, joined.

        More than one only where each worker has as much again, twice: a result that somebody waits
        for, since he decides by it what follows, is then not held back.
        """
        run = self._runs[0]
        count = run.code.joined_chunks()
        return count if len(run.entries) >= 2 * workers * count * run.code.chunk_size() else 1

    def take_chunk(self, workers: int) -> list[Entry]:
        """Take the first tasks, of 1 ms or a worker's share, as one chunk."""
        run = self._runs[0]
        waiting = run.entries
        share = max(-(-self._count // max(1, workers)), run.code.least_share())
        size = min(run.code.chunk_size(), len(waiting), share)
        entries = [waiting.popleft() for _ in range(size)]
        self._count -= size
        if not waiting:
            self._runs.popleft()
        return entries

    def remove(self, leases: set[int]) -> list[Entry]:
        """Remove these leases; return what was there of them."""
        removed: list[Entry] = []
        kept: deque[Run] = deque()
        for run in self._runs:
            gone = [entry for entry in run.entries if entry[0] in leases]
            if gone:
                removed += gone
                run.entries = deque(entry for entry in run.entries if entry[0] not in leases)
            if run.entries:
                kept.append(run)
        self._runs = kept
        self._count -= len(removed)
        if self._apart:
            removed += [entry for _, entry in self._apart if entry[0] in leases]
            self._apart = deque(each for each in self._apart if each[1][0] not in leases)
        return removed

    def of_system(self, system: int) -> set[int]:
        """Return the leases of a system."""
        return {entry[0] for entry in self if entry[1] == system}
