"""W9: from an empty process to the first result."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.workloads import Setting

CLUSTER = """
from concurro import LocalCluster
with LocalCluster(workers={workers}) as cluster:
    with cluster.executor() as executor:
        print(executor.submit(abs, -1).result(), flush=True)
"""
PPE = """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor({workers}) as executor:
    print(executor.submit(abs, -1).result(), flush=True)
"""
BARE = """
import concurrent.futures.process, multiprocessing.connection, pickle, socket, subprocess
print(abs(-1), flush=True)
"""


def _seconds_to_first_line(program: str) -> dict[str, float]:
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        seconds = time.perf_counter() - started
        process.wait()
        ended = time.perf_counter() - started
    if line.strip() != "1" or process.returncode:
        message = f"the program said {line!r} and ended with {process.returncode}"
        raise AssertionError(message)
    return {"seconds": seconds, "to_the_end": ended}


def from_cluster(setting: Setting) -> dict[str, float]:
    """Start an embedded cluster in a new interpreter."""
    return _seconds_to_first_line(CLUSTER.format(workers=setting.workers))


def from_ppe(setting: Setting) -> dict[str, float]:
    """Start a ProcessPoolExecutor in a new interpreter."""
    return _seconds_to_first_line(PPE.format(workers=setting.workers))


def from_bare_interpreter(setting: Setting) -> dict[str, float]:  # noqa: ARG001 - no workers in it
    """Start an interpreter with the imports of a process pool, and no pool."""
    return _seconds_to_first_line(BARE)
