"""Prove that a test left nothing behind on the machine.

Every witness stands outside the code under test: the process table, /proc/net/unix,
/dev/shm and the file system. A process is ours when it descends from this one or when
its environment carries the marker that the test set, however it was orphaned since.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER = "CONCURRO_TEST_ID"
"""Environment variable that every process of a test inherits."""

FOLDER_VARIABLES = ("TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, never written
GRACE = 20.0 if os.environ.get("CONCURRO_WITHOUT", "nothing") == "nothing" else 2.0
"""Seconds that the system may take to reap and unlink [s]; without a mechanism much is left, and nobody asks."""


class LeftBehindError(AssertionError):
    """Something outlived the test that made it."""


@contextmanager
def watch_leftovers(grace: float = GRACE) -> Iterator[Path]:
    """Give a private folder for run-time files; complain about what outlives the block.

    The folder is short enough for socket paths, and every process started inside the
    block finds its temporary, runtime, cache and configuration folders below it.

    Raises:
        LeftBehindError: Names each process, thread, socket, file and shared memory left.
    """
    test_id = uuid.uuid4().hex
    folder = Path(tempfile.mkdtemp(prefix="cq-", dir="/tmp"))
    before = _Snapshot(folder)
    replaced = _replace_environment(test_id, folder)
    try:
        yield folder
        _await_nothing_left(before, test_id, grace)
    finally:
        _restore_environment(replaced)
        _end_processes(_processes(test_id, before.children))
        shutil.rmtree(folder, ignore_errors=True)


class _Snapshot:
    """What existed before the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children = {process.pid for process in psutil.Process().children(recursive=True)}
        self.threads = set(threading.enumerate())
        self.shared_memory = _shared_memory()


def _await_nothing_left(before: _Snapshot, test_id: str, grace: float) -> None:
    found: list[str] = []

    def nothing_left() -> bool:
        found[:] = _leftovers(before, test_id)
        return not found

    try:
        wait_until(nothing_left, grace, "everything that the test started to be gone")
    except AssertionError:
        raise LeftBehindError("left behind:\n" + "\n".join(f"  - {line}" for line in found)) from None


def _leftovers(before: _Snapshot, test_id: str) -> list[str]:
    lines = [f"process {_describe(process)}" for process in _processes(test_id, before.children)]
    lines += [f"thread {thread.name}" for thread in threading.enumerate() if thread not in before.threads]
    lines += [f"socket {path}" for path in _unix_sockets(before.folder)]
    lines += [f"shared memory {name}" for name in sorted(_shared_memory() - before.shared_memory)]
    # Not by `rglob`: a folder may go while it looks.
    lines += sorted(f"file {folder}/{file}" for folder, _, files in os.walk(before.folder) for file in files)
    return lines


def _processes(test_id: str, known: set[int]) -> list[psutil.Process]:
    """Return our descendants and whoever carries the marker, living or not yet reaped."""
    found = {process.pid: process for process in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter():
        if process.pid not in found and process.pid != os.getpid() and _carries(process, test_id):
            found[process.pid] = process
    return [process for pid, process in sorted(found.items()) if pid not in known]


def _carries(process: psutil.Process, test_id: str) -> bool:
    try:
        return process.environ().get(MARKER) == test_id
    except psutil.Error:  # somebody else's, or gone
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({process.status()}): {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid} (ended just now)"


def _unix_sockets(folder: Path) -> list[str]:
    """Return the paths below `folder` to which some process has a socket bound."""
    try:
        lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    except FileNotFoundError:  # not Linux; the files below the folder still tell
        return []
    paths = {line.split(maxsplit=7)[7] for line in lines if len(line.split()) > 7}
    return sorted(path for path in paths if path.lstrip("@").startswith(str(folder)))


def _shared_memory() -> set[str]:
    try:
        entries = list(SHARED_MEMORY.iterdir())
    except FileNotFoundError:
        return set()
    names = set()
    for entry in entries:
        try:
            if entry.lstat().st_uid == os.getuid() and not _belongs_to_another_simulation(entry.name):
                names.add(entry.name)
        except FileNotFoundError:
            continue
    return names


def _belongs_to_another_simulation(name: str) -> bool:
    """Whether a simulator that runs beside this test, and is none of its processes, keeps its disk there."""
    known, _, rest = name.partition("concurro-simulated-")
    pid = rest.partition("-")[0]
    if known or not pid.isdigit() or int(pid) == os.getpid() or not psutil.pid_exists(int(pid)):
        return False
    return int(pid) not in {process.pid for process in psutil.Process().children(recursive=True)}


def _replace_environment(test_id: str, folder: Path) -> dict[str, str | None]:
    values = {MARKER: test_id} | {name: str(folder) for name in FOLDER_VARIABLES}
    replaced = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    tempfile.tempdir = None  # it keeps the first TMPDIR that it saw
    return replaced


def _restore_environment(replaced: dict[str, str | None]) -> None:
    for name, value in replaced.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    tempfile.tempdir = None


def _end_processes(processes: list[psutil.Process]) -> None:
    """Kill what a failed test left, so that the next one starts clean."""
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(processes, timeout=GRACE)
