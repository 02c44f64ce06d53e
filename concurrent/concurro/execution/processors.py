"""How many processors a process may use."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def usable_processors() -> int:
    """Return how many processors affinity and cgroup leave us."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return max(1, min(count, _cgroup_limit() or count))


def _cgroup_limit() -> int | None:
    try:
        quota, period = _CGROUP_LIMIT.read_text(encoding="ascii").split()[:2]
        return None if quota == "max" else max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):
        return None
