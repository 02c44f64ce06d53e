"""Ten million lazily generated tasks: the memory of every process, sampled while they run.

A process is flat when it does not grow between the first tenth of the run and its end.
Sizes are VmRSS of /proc, so the witness is the kernel.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.noop import NoopSystem
from concurro import LocalCluster

if TYPE_CHECKING:
    from benchmarks.workload import Setting

TASKS = 10_000_000
SAMPLE_INTERVAL = 0.5
SETTLED = 0.1
"""Fraction of the run after which nothing may grow any more."""


def on_cluster(setting: Setting) -> dict[str, float]:
    """Run the tasks; report the largest growth of any process [MiB], and the rate."""
    count = setting.count or TASKS
    samples: dict[int, list[tuple[float, float]]] = {}
    names: dict[int, str] = {}
    with LocalCluster(workers=setting.workers) as cluster:
        started = time.perf_counter()
        handle = cluster.submit(NoopSystem(count))
        while not handle.done():
            done = handle.progress.done / count
            _sample(samples, names, done)
            time.sleep(SAMPLE_INTERVAL)
        seen = handle.result()
        seconds = time.perf_counter() - started
    if seen != count:
        message = f"{seen} results of {count} tasks"
        raise AssertionError(message)
    growths = {pid: _growth(series) for pid, series in samples.items()}
    for pid, series in samples.items():
        last = series[-1][1]
        sys.stderr.write(f"{names[pid]:<40} {last:8.1f} MiB at the end, grew {growths[pid]:+.1f} MiB\n")
    return {"growth": max(growths.values()), "rate": count / seconds, "seconds": seconds}


def _sample(samples: dict[int, list[tuple[float, float]]], names: dict[int, str], done: float) -> None:
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        size = _resident(process.pid)
        if size is not None:
            samples.setdefault(process.pid, []).append((done, size))
            names.setdefault(process.pid, "application" if process == me else _name(process))


def _name(process: Any) -> str:
    """Return the module that a process runs; a worker is forked and shows its launcher's."""
    try:
        modules = re.findall(r"from (concurro\.[\w.]+) import main", " ".join(process.cmdline()))
    except psutil.Error:
        modules = []
    return f"{modules[-1] if modules else 'unknown'} [{process.pid}]"


def _resident(pid: int) -> float | None:
    """Return the resident memory of a process [MiB]; None when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), None)


def _growth(series: list[tuple[float, float]]) -> float:
    """Return by how much a process grew after it had settled [MiB]."""
    settled = [size for done, size in series if done >= SETTLED]
    return max(settled) - settled[0] if settled else 0.0
