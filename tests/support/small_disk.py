"""Processes with a small disk of their own: a tmpfs in a mount namespace that nobody else sees."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

_UNSHARE = ["unshare", "--map-root-user", "--mount"]
_MOUNT_AND_RUN = 'mount -t tmpfs -o size="$0" tmpfs "$1" && cd "$1" && shift && exec "$@"'


def python_with_disk(folder: Path, size: str) -> list[str]:
    """Return the beginning of a command: Python, with a disk of that size mounted on a folder, in which it starts."""
    return [*_UNSHARE, "sh", "-c", _MOUNT_AND_RUN, size, str(folder), sys.executable, "-P"]


def seen_by(pid: int, path: Path) -> Path:
    """Return where a path of such a process is for others."""
    return Path(f"/proc/{pid}/root{path}")


def fill(folder: Path) -> None:
    """Write `ballast` until nothing more fits."""
    with (folder / "ballast").open("wb", 0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


def _can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder, suppress(OSError):
        probe = [*python_with_disk(Path(folder), "1m"), "-c", ""]
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    return False


needs_mount = pytest.mark.skipif(not _can_mount(), reason="needs a user namespace in which it may mount")
