"""Where a node runs: versions, load, memory, limits, the time there.

Plain values, fit for msgpack and JSON. Nobody decides by them: they are for people who look.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from concurro.execution.processors import usable_processors
from concurro.transport.versions import libzmq_version

NEEDED = ("concurro", "pyzmq", "msgpack", "cloudpickle", "psutil", "zope.interface")
"""Distributions that every node has."""

TRAVELLING = ("numpy", "scipy", "pandas", "scikit-learn", "torch")
"""Others whose objects often travel in tasks and results: there a version should be the same everywhere."""

_BACKLOG = Path("/proc/sys/net/core/somaxconn")
_SHARED = Path("/dev/shm")  # noqa: S108 - looked at, not written to
_LIMITS = {"open files": "RLIMIT_NOFILE", "processes": "RLIMIT_NPROC"}


def surroundings() -> dict[str, Any]:
    """Return what there is to say of this process and its machine.

    `time` by its own clock [s], `memory`, `own_memory` and `shared_memory` [B], `limits` as soft
    and hard one; -1 is no limit, and what cannot be found out is absent.
    """
    import psutil  # noqa: PLC0415 - few processes are ever asked

    memory = psutil.virtual_memory()
    found: dict[str, Any] = {
        "time": time.time(),
        "host": platform.node(),
        "pid": os.getpid(),
        "executable": sys.executable or "",
        "platform": platform.platform(),
        "versions": dict(versions()),
        "processors": usable_processors(),
        "memory": {"total": memory.total, "available": memory.available},
        "own_memory": psutil.Process().memory_info().rss,
        "limits": _limits(),
        "shared_memory": _shared_memory(),
    }
    if hasattr(os, "getloadavg"):
        found["load"] = list(os.getloadavg())
    with contextlib.suppress(OSError, ValueError):
        found["backlog"] = int(_BACKLOG.read_text(encoding="ascii"))
    return found


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of what is installed beside it."""
    from importlib import metadata  # noqa: PLC0415 - takes as long as a worker to start

    found = {"python": platform.python_version(), "libzmq": libzmq_version()}
    for name in (*NEEDED, *TRAVELLING):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {name: version for name, version in found.items() if version}


def _limits() -> dict[str, list[int]]:
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return {}
    found = {}
    for name, constant in _LIMITS.items():
        if hasattr(resource, constant):
            limits = resource.getrlimit(getattr(resource, constant))
            found[name] = [-1 if limit == resource.RLIM_INFINITY else limit for limit in limits]
    return found


def _shared_memory() -> dict[str, Any]:
    """Return whether values can be shared in memory, and the room in /dev/shm."""
    found: dict[str, Any] = {"memfd": hasattr(os, "memfd_create")}
    try:
        room = os.statvfs(_SHARED)
    except OSError:
        return found
    return {**found, "total": room.f_frsize * room.f_blocks, "available": room.f_frsize * room.f_bavail}
