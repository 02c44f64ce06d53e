"""The memory of every process below us while something runs, as the kernel counts it.

Resident memory (VmRSS, and its peak VmHWM) includes what a process has mapped, so that an array
in shared memory counts in every process that reads it.
"""

from __future__ import annotations

import re
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

LOOK_PERIOD = 0.2
SETTLED = 0.2
"""Part of the looks after which nothing should grow any more."""

LIVED = 0.6
"""Who was seen in such a part of the looks lived on."""

LAUNCHER, BELOW_LAUNCHER = 2, 3
"""Generations below the application."""

MIB = 1024.0


class MemoryWatch:
    """Looks at every process, from `with` to the end of the block; then `report`."""

    def __init__(self) -> None:
        self._me = psutil.Process()
        self._sizes: dict[int, list[float]] = {}
        self._peaks: dict[int, float] = {}
        self._roles: dict[int, str] = {}
        self._looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_often, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        self._thread.join()
        self._look()

    def report(self) -> dict[str, float]:
        """Return peaks by role, and the largest growth of any process that lived on [MiB].

        Each of these gets a line on standard error.
        """
        metrics = {"growth": 0.0}
        for pid, sizes in self._sizes.items():
            role = self._roles[pid]
            metrics[role] = max(metrics.get(role, 0.0), self._peaks[pid])
            if len(sizes) < LIVED * self._looks:
                continue
            growth = _growth(sizes)
            metrics["growth"] = max(metrics["growth"], growth)
            line = f"{role} [{pid}]"
            sys.stderr.write(
                f"{line:<24} {sizes[-1]:8.1f} MiB at the end, grew {growth:+.1f}, peak {self._peaks[pid]:.1f}\n"
            )
        return metrics

    def _look_often(self) -> None:
        while not self._over.wait(LOOK_PERIOD):
            self._look()

    def _look(self) -> None:
        self._looks += 1
        children = self._me.children(recursive=True)
        parents = set()
        for child in children:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                parents.add(child.ppid())
        for process in [self._me, *children]:
            found = _status(process.pid)
            if found is not None:
                self._sizes.setdefault(process.pid, []).append(found[0])
                self._peaks[process.pid] = found[1]
                if process.pid not in self._roles:
                    self._roles[process.pid] = self._role(process, parents)

    def _role(self, process: psutil.Process, parents: set[int]) -> str:
        """Return what a process is by its place: all but the nodes are forked, and look like what forked them.

        application -- master -- launcher -- host
                         |           +------ launcher -- worker     in a standalone master
                       slave --- launcher -- worker
        """
        if process.pid == self._me.pid:
            return "application"
        try:
            line = [process, *process.parents()]
            line = line[: line.index(self._me)]
            node = "slave" if "concurrent-slave" in " ".join(line[-1].cmdline()) else "master"
        except (psutil.Error, ValueError):
            return "unknown"
        if len(line) == 1:
            return node
        if len(line) == LAUNCHER or process.pid in parents:
            return "launcher"
        return "host" if node == "master" and len(line) == BELOW_LAUNCHER else "worker"


def _status(pid: int) -> tuple[float, float] | None:
    """Return the resident memory of a process and its peak [MiB]; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", text, re.MULTILINE))
    if "VmRSS" not in found:  # it has ended, and was not waited for yet
        return None
    return int(found["VmRSS"]) / MIB, int(found["VmHWM"]) / MIB


def _growth(sizes: list[float]) -> float:
    """Return by how much a process grew after it had settled [MiB]."""
    settled = sizes[int(len(sizes) * SETTLED) :]
    return max(settled) - settled[0]
