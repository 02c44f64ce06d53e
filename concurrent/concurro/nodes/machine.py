"""Which machine this is, and whether a process on it has ended.

Equal machines have equal boot ids and namespaces of process ids: then a peer's pid is one
that we can ask the kernel about.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES = Path("/proc")


@functools.cache
def machine_id() -> str:
    """Return what names this machine until it boots again; may be empty."""
    try:
        return f"{_BOOT_ID.read_text().strip()} {(_PROCESSES / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def has_ended(machine: str, pid: int) -> bool:
    """Say whether a process is known to have ended.

    Args:
        machine: What `machine_id` said in that process; of another machine nothing is known.
        pid: Its process id.
    """
    if not machine or machine != machine_id() or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
        facts = (_PROCESSES / str(pid) / "stat").read_bytes()
    except ProcessLookupError:
        return True
    except OSError:
        return False  # another user's, or hidden: it is there
    return facts.rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"])
