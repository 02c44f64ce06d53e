"""W11: a master with many slaves of nothing but the protocol, on this machine.

Messages are those that slaves say and hear while a task system runs, heartbeats and
acknowledgements included where they are messages of their own; several leases and results travel
in each. `per_cpu` is what one processor of the master's would sustain: everybody else on this
machine, the slaves among them, takes from `rate` and not from it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from benchmarks.clocks import check_equal
from benchmarks.noop import NoopSystem
from benchmarks.processes import running_nodes
from concurro import ApplicationNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workload import Setting

TASKS = 200_000
MIB = 1024 * 1024

TICK = 0.01
"""As finely does the kernel count processor time [s]."""


def with_50(setting: Setting) -> dict[str, float]:
    """Run the system on 50 slaves."""
    return _measure(50, setting)


def with_1000(setting: Setting) -> dict[str, float]:
    """Run the system on 1 000 slaves."""
    return _measure(1_000, setting)


def _measure(slaves: int, setting: Setting) -> dict[str, float]:
    count = setting.count or TASKS
    with running_nodes(0) as url:
        master = _master_below(psutil.Process())
        empty = master.memory_info().rss
        started = time.perf_counter()
        with _protocol_slaves(url, slaves) as counted, ApplicationNode(url) as application:
            joining = time.perf_counter() - started
            application.run(NoopSystem(1_000))
            idle = master.memory_info().rss
            used = _processor_seconds(master)
            started = time.perf_counter()
            check_equal(application.run(NoopSystem(count)), count, "results")
            seconds = time.perf_counter() - started
            used = max(TICK, _processor_seconds(master) - used)
            busy = master.memory_info().rss
    share = count / counted["done"]
    messages = (counted["heard"] + counted["said"]) * share
    return {
        "rate": messages / seconds,
        "per_cpu": messages / used,
        "tasks_s": count / seconds,
        "tasks_per_message": count / messages,
        "master_cpu_us": used / count * 1e6,
        "joining_s": joining,
        "KiB_per_slave": (idle - empty) / slaves / 1024,
        "master_MiB": busy / MIB,
    }


@contextmanager
def _protocol_slaves(url: str, count: int) -> Iterator[dict[str, int]]:
    """Run slaves in a process; what they counted is there when it is over."""
    command = [sys.executable, "-m", "benchmarks.protocol_slaves", url, str(count)]
    counted: dict[str, int] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        check_equal(process.stdout.readline().strip(), "joined", "protocol slaves")
        yield counted
        output, _ = process.communicate("")
        counted.update(json.loads(output))


def _master_below(me: psutil.Process) -> psutil.Process:
    (master,) = (child for child in me.children() if "concurrent-master" in " ".join(child.cmdline()))
    return master


def _processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
