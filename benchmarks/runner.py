"""Run a measurement in fresh processes, and leave nothing of it behind.

    python -m benchmarks -- python -m benchmarks.measure -- whatever the contender starts
                         -- python -m benchmarks.sweeper

We are the subreaper of all below us, so that daemons end up as our children when their parents
end. A measurement has a folder of its own for everything temporary. What still runs when it
has ended, or when its time is up, is killed; then the folders go. So it is when we are told to
end (SIGTERM); when we are killed, a sweeper does it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.sweeper import SHARED_MEMORY, swept_up
from benchmarks.workload import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from benchmarks.sweeper import Tell

ROOT = Path(__file__).parents[1]
MEASURE = [sys.executable, "-m", "benchmarks.measure"]

PATIENCE = 5.0
PATIENCE_WITH_PEERS = 0.5
"""How long a process may take to end after its application [s]."""

_PR_SET_CHILD_SUBREAPER = 36


class MeasurementFailed(Exception):  # noqa: N818 - says what happened
    """A contender did not deliver figures."""


@contextlib.contextmanager
def orphans_adopted() -> Iterator[None]:
    """Be the parent of whoever below us loses his, for a while; nothing happens where that is unknown."""
    _adopt(1)
    try:
        yield
    finally:
        _adopt(0)


@contextlib.contextmanager
def ends_cleanly() -> Iterator[Tell]:
    """Leave nothing behind, for a while, when this process is told to end or is killed.

    Gives what `measure` tells of its folders.
    """
    with swept_up() as tell:
        before = signal.signal(signal.SIGTERM, _end)
        try:
            yield tell
        finally:
            signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal's taker
    signal.signal(number, signal.SIG_IGN)  # nothing interrupts the cleaning
    sys.exit(128 + number)


def _adopt(value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, value, 0, 0, 0)


def measure(  # noqa: PLR0913 - what a measurement may vary
    workload: str, contender: str, *, workers: int, count: int, timeout: float, tell: Tell | None = None
) -> dict[str, float]:
    """Return the metrics of one run.

    Args:
        workload: Its name.
        contender: Its name there.
        workers: Worker processes.
        count: Tasks; 0 for the workload's own number.
        timeout: After so long it is ended [s].
        tell: Called with each folder that is made for it.

    Raises:
        MeasurementFailed: It failed, or took too long; with its last words.
    """
    command = [*MEASURE, workload, contender, str(workers), str(count)]
    others = set(psutil.Process().children(recursive=True))
    with _private_folders(tell) as folders, (folders[0] / "stdout").open("w+") as output:
        with (folders[0] / "stderr").open("w+") as errors:
            process = subprocess.Popen(
                command, cwd=ROOT, env=_environment(*folders), stdout=output, stderr=errors, start_new_session=True
            )
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                message = f"ended after {timeout:.0f} s"
                raise MeasurementFailed(message) from None
            finally:
                left = _end_everything(process, contender, others)
        words = (folders[0] / "stderr").read_text(encoding="utf-8", errors="replace")
        figures = (folders[0] / "stdout").read_text(encoding="utf-8", errors="replace").splitlines()
    if contender.startswith(OURS):
        sys.stderr.write(words)
    if status:
        message = f"exit code {status}: {(words.strip().splitlines() or ['without a word'])[-1]}"
        raise MeasurementFailed(message)
    if left:
        message = f"left processes behind: {', '.join(left)}"
        raise MeasurementFailed(message)
    try:
        metrics: dict[str, float] = json.loads(figures[-1])
    except (ValueError, IndexError):
        message = f"printed no figures but {figures[-1:]}"
        raise MeasurementFailed(message) from None
    return metrics


@contextlib.contextmanager
def _private_folders(tell: Tell | None) -> Iterator[tuple[Path, Path]]:
    """Give a folder on disk, and one in memory where there is such a thing. Paths are short: sockets lie in them."""
    made: list[Path] = []
    try:
        for place in ["/tmp", *([str(SHARED_MEMORY)] if SHARED_MEMORY.is_dir() else [])]:  # noqa: S108 - private ones in it
            made.append(Path(tempfile.mkdtemp(prefix="bm-", dir=place)))
            if tell is not None:
                tell(made[-1])
        yield made[0], made[-1]
    finally:
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, memory: Path) -> dict[str, str]:
    """Return what the contender sees: this checkout, whichever one is installed, and its folders."""
    paths = [str(ROOT), str(ROOT / "concurrent"), str(ROOT / "plugins")]
    return os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(paths),
        "TMPDIR": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JOBLIB_TEMP_FOLDER": str(memory),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONWARNINGS": "ignore",
    }


def _end_everything(process: subprocess.Popen[bytes], contender: str, others: set[psutil.Process]) -> list[str]:
    """Kill what the measurement left; return what of it is ours to explain."""
    if process.poll() is None:
        process.kill()
        process.wait()
    me = psutil.Process()
    ours = contender.startswith(OURS)
    deadline = time.monotonic() + (PATIENCE if ours else PATIENCE_WITH_PEERS)
    while (living := _living(me, others)) and time.monotonic() < deadline:
        time.sleep(0.05)
    names = [f"{name} ({child.pid})" for child in living if (name := _name(child))]
    while living:
        for child in living:
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(living, timeout=1.0)
        living = _living(me, others)
    for left in SHARED_MEMORY.glob(f"sem.loky-{process.pid}-*"):
        left.unlink(missing_ok=True)
    return names if ours else []


def _living(me: psutil.Process, others: set[psutil.Process]) -> list[psutil.Process]:
    """Return the processes below us but `others`; those that have ended are taken note of, and gone."""
    children = [child for child in me.children(recursive=True) if child not in others]
    gone, living = psutil.wait_procs(children, timeout=0)
    return [child for child in living if child not in gone]


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""
