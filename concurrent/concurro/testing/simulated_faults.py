"""What can go wrong in a simulated cluster, and how it is over.

Fault(kind) --> the function of that name: breaks something now, mends it after a while
calm --> everything is mended, and whoever is missing is started again
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from concurro.testing.simulated_cluster import MASTER

if TYPE_CHECKING:
    from concurro.testing.simulated_processes import Process
    from concurro.testing.simulated_run import Run
    from concurro.testing.simulated_scenario import Fault

SLOW_RATE = 200_000.0
"""Of a slow link [B/s]."""


def befall(run: Run, fault: Fault) -> None:
    """Let a fault happen."""
    _KINDS[fault.kind](run, fault)


def _kill_slave(run: Run, fault: Fault) -> None:
    process = run.slave_of(fault.target)
    if process is not None:
        run.slave_returns_after[process.name] = fault.seconds
        process.kill()


def _drain_slave(run: Run, fault: Fault) -> None:
    process = run.slave_of(fault.target)
    if process is not None and not process.loop.frozen:
        run.slave_returns_after[process.name] = fault.seconds
        process.loop.post(lambda: process.node._interrupted(signal.SIGTERM))  # noqa: SLF001 - what the signal calls


def _freeze_slave(run: Run, fault: Fault) -> None:
    process = run.slave_of(fault.target)
    if process is not None:
        _freeze(run, process, fault.seconds)


def _lose_workers(run: Run, fault: Fault) -> None:
    process = run.slave_of(fault.target)
    agent = getattr(process.node, "_agent", None) if process is not None else None
    if agent is not None:
        agent._launcher.lose("the process that starts the workers ended")  # noqa: SLF001 - what a task may kill


def _kill_worker(run: Run, fault: Fault) -> None:
    worker = run.worker_of(fault.target)
    if worker is not None:
        worker.kill()


def _freeze_worker(run: Run, fault: Fault) -> None:
    worker = run.worker_of(fault.target)
    if worker is not None:
        _freeze(run, worker, fault.seconds)


def _kill_host(run: Run, fault: Fault) -> None:
    host = run.host_of(fault.target)
    if host is not None:
        run.note_kill(host)
        host.kill()


def _freeze_host(run: Run, fault: Fault) -> None:
    host = run.host_of(fault.target)
    if host is not None:
        _freeze(run, host, fault.seconds)


def _kill_application(run: Run, fault: Fault) -> None:
    run.kill_application(fault.target % len(run.scenario.jobs))


def _freeze_master(run: Run, fault: Fault) -> None:
    if run.cluster.master is not None:
        _freeze(run, run.cluster.master, fault.seconds)


def _kill_master(run: Run, fault: Fault) -> None:
    if run.cluster.master is not None:
        run.master_returns_after(min(fault.seconds, 5.0))
        run.cluster.master.kill()


def _stop_master(run: Run, fault: Fault) -> None:
    if run.cluster.master is not None and not run.cluster.master.loop.frozen:
        run.master_returns_after(min(fault.seconds, 5.0))
        run.masters_stopped = True
        run.cluster.master.loop.stop()


def _fail_disk(run: Run, fault: Fault) -> None:
    run.master_returns_after(min(fault.seconds, 5.0))
    run.masters_stopped = True
    run.cluster.disk.failing = True


def _fill_disk(run: Run, fault: Fault) -> None:
    run.cluster.disk.full_until = run.cluster.agenda.now + fault.seconds


def _slow_disk(run: Run, fault: Fault) -> None:
    run.cluster.disk.delay = 0.3
    run.cluster.agenda.after(fault.seconds, lambda: _mend_disk(run))


def _mend_disk(run: Run) -> None:
    run.cluster.disk.delay = run.scenario.sync


def _cut(run: Run, fault: Fault) -> None:
    _cut_to_master(run, fault)
    _cut_from_master(run, fault)


def _cut_to_master(run: Run, fault: Fault) -> None:
    way = run.cluster.network.way(run.machine_of(fault.target), MASTER)
    way.cut_until = max(way.cut_until, run.cluster.agenda.now + fault.seconds)


def _cut_from_master(run: Run, fault: Fault) -> None:
    way = run.cluster.network.way(MASTER, run.machine_of(fault.target))
    way.cut_until = max(way.cut_until, run.cluster.agenda.now + fault.seconds)


def _reset(run: Run, fault: Fault) -> None:
    machine = run.machine_of(fault.target)
    for process in list(run.cluster.processes.living.values()):
        if process.machine == machine:
            for connection, _ in run.cluster.network.of_loop(process.loop):
                if not connection.ordered:
                    connection.reset()


def _slow(run: Run, fault: Fault) -> None:
    machine = run.machine_of(fault.target)
    for way in (run.cluster.network.way(machine, MASTER), run.cluster.network.way(MASTER, machine)):
        rate, way.rate = way.rate, SLOW_RATE
        run.cluster.agenda.after(fault.seconds, lambda way=way, rate=rate: setattr(way, "rate", max(rate, way.rate)))  # type: ignore[misc]


def _lose(run: Run, fault: Fault) -> None:
    machine = run.machine_of(fault.target)
    ways = run.cluster.network.way(machine, MASTER), run.cluster.network.way(MASTER, machine)
    ways[fault.amount % 2].lose += fault.amount


def _repeat(run: Run, fault: Fault) -> None:
    machine = run.machine_of(fault.target)
    ways = run.cluster.network.way(machine, MASTER), run.cluster.network.way(MASTER, machine)
    ways[fault.amount % 2].repeat += fault.amount


def _freeze(run: Run, process: Process, seconds: float) -> None:
    process.loop.freeze()
    run.cluster.agenda.after(seconds, process.loop.thaw)


_KINDS = {
    "kill_slave": _kill_slave,
    "drain_slave": _drain_slave,
    "freeze_slave": _freeze_slave,
    "lose_workers": _lose_workers,
    "kill_worker": _kill_worker,
    "freeze_worker": _freeze_worker,
    "kill_host": _kill_host,
    "freeze_host": _freeze_host,
    "kill_application": _kill_application,
    "freeze_master": _freeze_master,
    "kill_master": _kill_master,
    "stop_master": _stop_master,
    "fail_disk": _fail_disk,
    "fill_disk": _fill_disk,
    "slow_disk": _slow_disk,
    "cut": _cut,
    "cut_to_master": _cut_to_master,
    "cut_from_master": _cut_from_master,
    "reset": _reset,
    "slow": _slow,
    "lose": _lose,
    "repeat": _repeat,
}
