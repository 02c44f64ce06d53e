"""What a runtime counts: calls, memory, load."""

from __future__ import annotations

from typing import Any

import psutil

from concurro_monitor.foundation import Foundation


class Counts(Foundation):
    """The part of a runtime that counts. Thread-safe.

    Args:
        application: See `Foundation`.
        memory_limit: What the process may hold [B]; None for what the machine has.
        settings: See `Foundation`.
    """

    def __init__(self, application: Any = None, *, memory_limit: int | None = None, **settings: Any) -> None:
        super().__init__(application, **settings)
        self._pending = 0
        self._running = 0
        self._committed = 0
        self._memory_limit = memory_limit
        self._process = psutil.Process(self.pid)
        self._process.cpu_percent(None)  # it measures from one call to the next
        self._at_rest = int(self._process.memory_info().rss)

    @property
    def ps_process(self) -> psutil.Process:
        """The process of this runtime."""
        return self._process

    def cpu_load(self) -> float:
        """Return the processor time that the process took [%].

        Since it was asked last.
        """
        return float(self.ps_process.cpu_percent(None))

    def memory(self) -> int:
        """Return what the process holds [B]."""
        return int(self.ps_process.memory_info().rss)

    def memory_limit(self) -> float:
        """Return what the process may hold [B].

        `[slave] memory_limit`, or what the machine has.
        """
        return float(self._memory_limit or psutil.virtual_memory().total)

    def memory_in_use(self) -> int:
        """Return what the process holds, or will with what is committed [B]."""
        return max(self.memory(), self._at_rest + self._committed)

    def fits_in_memory(self, nbytes: float) -> bool:
        """Say whether so much more fits beside what is in use [B]."""
        return self.memory_in_use() + nbytes <= self.memory_limit()

    @property
    def committed_mem(self) -> int:
        """What is promised to calls that run or wait for their turn [B]."""
        return self._committed

    def inc_committed_mem(self, nbytes: int) -> None:
        """Note that so much will be used [B]."""
        with self._lock:
            self._committed += nbytes

    def dec_committed_mem(self, nbytes: int) -> None:
        """Note that so much is used no more [B]."""
        with self._lock:
            self._committed -= nbytes

    @property
    def pending_tasks(self) -> int:
        """How many tasks wait here."""
        return self._pending + (self.residence.figures()["queued"] if self.residence is not None else 0)

    @property
    def running_tasks(self) -> int:
        """How many tasks run here."""
        return self._running + (self.residence.figures()["running"] if self.residence is not None else 0)

    def inc_pending_tasks(self) -> None:
        """Count a task that waits."""
        with self._lock:
            self._pending += 1

    def dec_pending_tasks(self) -> None:
        """Count a task that waits no more."""
        with self._lock:
            self._pending -= 1

    def inc_running_tasks(self) -> None:
        """Count a task that runs."""
        with self._lock:
            self._running += 1

    def dec_running_tasks(self) -> None:
        """Count a task that runs no more."""
        with self._lock:
            self._running -= 1

    def figures(self) -> dict[str, Any]:
        """Return what the monitor is told of this runtime, by name."""
        residence = self.residence
        calls = residence.figures() if residence is not None else {}
        return {
            "memory": self.memory_in_use(),
            "memory_limit": int(self.memory_limit()),
            "memory_available": int(psutil.virtual_memory().available),
            "committed": self._committed,
            "cpu_load": self.cpu_load(),
            "running": calls.get("running", 0) + self._running,
            "queued": calls.get("queued", 0) + self._pending,
            "done": calls.get("done", 0),
            "failed": calls.get("failed", 0),
            "tesserae": calls.get("tesserae", 0),
        }
