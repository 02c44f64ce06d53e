"""What a soak looks at from outside: memory, and what was left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from concurro.testing.soak.nodes import MARKER

if TYPE_CHECKING:
    from concurro.testing.soak.nodes import Nodes

MEBIBYTE = 1024 * 1024
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, never written

SETTLED_AFTER = 15.0
"""So long after its start a process has loaded what it needs [s]."""

OBSERVED = 20.0
"""How long a process must be seen after that to say something about it [s]."""

GROWTH_LIMIT = 64 * MEBIBYTE
"""What buffers may make of the difference between early and late [B]."""

GRACE = 5.0
"""How long the operating system may take to reap and unlink [s]."""


class MemoryWatch:
    """Notes the memory of every node, and of this process, early and late.

    Args:
        nodes: The cluster.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._samples: dict[tuple[str, int], list[tuple[float, int]]] = {}

    def look(self) -> None:
        """Note what everybody holds now."""
        now = time.monotonic()
        named = [(node.name, node.pid) for node in self._nodes.everybody()]
        for name, pid in [*named, ("the soak itself", os.getpid())]:
            size = _resident(pid)
            if pid is not None and size:
                self._samples.setdefault((name, pid), []).append((now, size))

    def report(self) -> tuple[list[str], list[str]]:
        """Return a line per process that was seen for long, and what is wrong."""
        lines, faults = [], []
        for (name, pid), samples in self._samples.items():
            settled = [sample for sample in samples if sample[0] >= samples[0][0] + SETTLED_AFTER]
            if not settled or settled[-1][0] - settled[0][0] < OBSERVED:
                continue
            third = max(1, len(settled) // 3)
            early, late = (_median([size for _, size in part]) for part in (settled[:third], settled[-third:]))
            line = f"{name}, process {pid}: {early / MEBIBYTE:.0f} MiB early, {late / MEBIBYTE:.0f} MiB late"
            line += f", seen for {settled[-1][0] - settled[0][0]:.0f} s"
            lines.append(line)
            if late - early > GROWTH_LIMIT:
                faults.append(f"memory grows: {line}")
        return lines, faults


def _resident(pid: int | None) -> int:
    try:
        return 0 if pid is None else int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _median(sizes: list[int]) -> int:
    return sorted(sizes)[len(sizes) // 2]


class Remains:
    """What there was before, so that what is left can be told.

    Args:
        marker: What every process of the soak carries in its environment.
        folder: Where all their files are.
    """

    def __init__(self, marker: str, folder: Path) -> None:
        self._marker = marker
        self._folder = folder
        self._before = _shared_memory()

    def find(self) -> list[str]:
        """Return what is left after a grace; empty if nothing."""
        deadline = time.monotonic() + GRACE
        while (found := self._look()) and time.monotonic() < deadline:
            time.sleep(LOOK_PERIOD)
        return found

    def processes(self) -> list[psutil.Process]:
        """Return whoever carries the marker."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get(MARKER) == self._marker:
                    found.append(process)
            except psutil.Error:  # somebody else's, or gone
                continue
        return found

    def _look(self) -> list[str]:
        lines = [f"process {_describe(process)}" for process in self.processes()]
        lines += [f"socket {path}" for path in _sockets(self._folder)]
        lines += [f"shared memory {name}" for name in sorted(_shared_memory() - self._before)]
        lines += [f"file {path}" for path in sorted(self._folder.rglob("*")) if not path.is_dir()]
        return lines


LOOK_PERIOD = 0.1


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({process.status()}): {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid} (ended just now)"


def _sockets(folder: Path) -> list[str]:
    try:
        lines = Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()[1:]
    except FileNotFoundError:  # not Linux; the files below the folder still tell
        return []
    fields = [line.split(maxsplit=7) for line in lines]
    paths = {parts[7] for parts in fields if len(parts) > 7}  # noqa: PLR2004 - the field of the path
    return sorted(path for path in paths if path.lstrip("@").startswith(str(folder)))


def _shared_memory() -> set[str]:
    try:
        entries = list(SHARED_MEMORY.iterdir())
    except FileNotFoundError:
        return set()
    names = set()
    for entry in entries:
        try:
            if entry.lstat().st_uid == os.getuid():
                names.add(entry.name)
        except FileNotFoundError:
            continue
    return names
