"""How much memory processes hold, and what is known when one is killed.

Everything is best effort: what the system does not tell is left out.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from concurro.config.quantities import format_size

_HAS_PROC = sys.platform.startswith("linux")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_KILLS_OF_SYSTEM = Path("/proc/vmstat")
_SCARCE = 0.1  # of the machine's memory: what watches over it in user space kills from about there on


def resident_size(pid: int) -> int:
    """Return what a process holds in memory [B]; 0 when it is gone."""
    if not _HAS_PROC:
        return _resident_elsewhere(pid)
    try:
        return int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def shared_fairly(pid: int) -> int:
    """Return what a process holds, shared pages as its part of them [B].

    It takes a thousand times as long as `resident_size`; 0 when it cannot be had.
    """
    try:
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        return 0
    return 0


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    if not _HAS_PROC:
        return _descendants_elsewhere(pid)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):  # noqa: PTH208 - texts, many times a second
                children = [int(child) for child in _read(f"/proc/{parent}/task/{thread}/children").split()]
                found += children
                waiting += children
        except OSError:
            continue  # it has ended
    return found


def state_of(pid: int) -> str:
    """Return the state letter of a process; empty when it is gone."""
    facts = _facts(pid)
    return facts[0].decode() if facts else ""


def is_ending(pid: int) -> bool:
    """Say whether a process has ended, or is about to by itself."""
    facts = _facts(pid)
    exiting = 4  # PF_EXITING
    return _HAS_PROC and (not facts or facts[0] in b"ZX" or bool(int(facts[6]) & exiting))


class KernelKills:
    """Counts what the kernel killed because memory ran out.

    Each kill explains one death, for a second or two: `look` has to be called now and then.
    """

    def __init__(self) -> None:
        self._counters = [_KILLS_OF_SYSTEM, *_event_files()]
        self._latest = self._before = [_counter(path) for path in self._counters]

    @property
    def known(self) -> bool:
        """Whether there is any counter that we may read."""
        return any(count is not None for count in self._latest)

    def look(self) -> None:
        """Let kills before the look before this one be those of others."""
        self._before, self._latest = self._latest, [_counter(path) for path in self._counters]

    def explain_one(self) -> bool:
        """Say whether there was one lately that explains no other death."""
        pairs = [(before, _counter(path)) for before, path in zip(self._before, self._counters, strict=True)]
        if not any(before is not None and now is not None and now > before for before, now in pairs):
            return False
        self._before = [
            before + 1 if before is not None and now is not None and now > before else before for before, now in pairs
        ]
        return True


def explain_kill(peak: int, kills: KernelKills) -> str:
    """Return why a process that none of us killed got SIGKILL, to its words.

    Args:
        peak: The most that it held in memory [B].
        kills: Looked at before its death.
    """
    available, total = _room()
    facts = [f"it held up to {format_size(peak)}"] if peak else []
    if total:
        facts.append(f"{format_size(available)} of the machine's {format_size(total)} are free now")
    if kills.explain_one():
        return f" by the kernel's out-of-memory killer{_in_brackets(facts)}"
    if kills.known:
        facts.append("the kernel counted no kill for want of memory")
    if available - peak < total * _SCARCE:
        return f"; probably out of memory{_in_brackets(facts)}, unless somebody sent it"
    return f"; by whom is not known{_in_brackets(facts)}"


def _in_brackets(facts: list[str]) -> str:
    return f" ({'; '.join(facts)})" if facts else ""


def _event_files() -> list[Path]:
    """Return where the counters of our control group are, of either version."""
    found = []
    try:
        for line in _OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                found.append(_GROUPS / path.lstrip("/") / "memory.events")
            elif "memory" in controllers.split(","):
                found.append(_GROUPS / "memory" / path.lstrip("/") / "memory.oom_control")
    except (OSError, ValueError):
        return []
    return found


def _counter(path: Path) -> int | None:
    """Return how many were killed; None when it is not told."""
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        return None
    return None


def _facts(pid: int) -> list[bytes]:
    """Return the fields of `/proc/PID/stat` behind the name."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()
    except OSError:
        return []


def _room() -> tuple[int, int]:
    """Return what is free of the machine's memory, and all of it [B].

    Both are 0 when it is not told.
    """
    import psutil  # noqa: PLC0415 - it takes longer to import than a worker to start

    try:
        memory = psutil.virtual_memory()
    except (OSError, psutil.Error):
        return 0, 0
    return memory.available, memory.total


def _resident_elsewhere(pid: int) -> int:
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _descendants_elsewhere(pid: int) -> list[int]:
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 65536)
    finally:
        os.close(fd)
