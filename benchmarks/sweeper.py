"""Clean up behind a run that was killed: its processes, their folders.

    runner --- a line for each folder ---> sweeper
           --- the end of the pipe, whoever ended the runner ---> kills who has the folder as TMPDIR; removes it

Nothing is left to do where the runner could clean up itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tell = Callable[[Path], None]

PROCESSES = Path("/proc")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - that of Linux
PATIENCE = 10.0
"""How long killed processes may take to be gone [s]."""


@contextmanager
def swept_up() -> Iterator[Tell]:
    """Give what takes folders; each goes when this process ends, in whatever way."""
    command = [sys.executable, "-I", "-S", __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True) as sweeper:
        pipe = sweeper.stdin
        assert pipe is not None  # noqa: S101 - it was asked for
        yield lambda folder: print(folder, file=pipe, flush=True)


def main() -> None:
    """Wait for the end of the run, and clean up behind it."""
    folders = [Path(line.rstrip("\n")) for line in sys.stdin]
    end_users_of(folders)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def end_users_of(folders: list[Path]) -> None:
    """Kill every process that has one of these for its temporary files."""
    deadline = time.monotonic() + PATIENCE
    while (users := _users_of(folders)) and time.monotonic() < deadline:
        for pid in users:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            for left in SHARED_MEMORY.glob(f"sem.loky-{pid}-*"):
                left.unlink(missing_ok=True)
        time.sleep(0.02)


def _users_of(folders: list[Path]) -> list[int]:
    settings = {f"TMPDIR={folder}".encode() for folder in folders}
    found = []
    for process in PROCESSES.glob("[0-9]*"):
        with suppress(OSError):  # it is gone, or somebody else's
            if not settings.isdisjoint((process / "environ").read_bytes().split(b"\0")):
                found.append(int(process.name))
    return found


if __name__ == "__main__":
    main()
