"""One run of a scenario, looked at after each step.

Scenario --> Run: start, faults in their time --> after each step: invariants
                  calm: all mended            --> everything ends, results are exact
                                              --> Verdict
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from concurro.errors import MasterUnreachable
from concurro.ids import LEASE_COUNTER_BITS
from concurro.scheduling.rows import InputApplied
from concurro.testing.invariants import Ledger, check_application, check_host, check_master, check_slave
from concurro.testing.simulated_cluster import BEGINNING, MASTER, SimulatedCluster
from concurro.testing.simulated_faults import befall
from concurro.testing.simulated_outcomes import PushedTasks, SubmittedJob, judge
from concurro.testing.simulated_scenario import Mode, Scenario, draw

if TYPE_CHECKING:
    from collections.abc import Collection

    from concurro.nodes.handle import SystemHandle
    from concurro.testing.simulated_cluster import SimulatedApplication
    from concurro.testing.simulated_processes import Process
    from concurro.testing.simulated_workers import Execution

PATIENCE = 300.0
"""After so long without faults everything must have ended [s]."""

MOST_STEPS = 200_000
"""Steps after which a run is one that does not end."""

UNREACHABLE = 25.0
"""So long after a fault an application may give a master up [s]."""

PUSHER = "app-tasks"
PUSHED_AT = 0.4
"""Who pushes tasks one by one, and when it begins [s]."""

LONG_AWAY = 8.0
"""Beyond this a session may end [s]."""

RETURN_AFTER = 1.0
"""How soon somebody starts again what ended [s]."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a run.

    Attributes:
        faults: What must not have happened, in words; empty for a run without fault.
        trace: A digest of everything that arrived anywhere.
        steps: How many things happened.
        seconds: How long it took, in virtual time [s].
        outcomes: How each job ended, in a word.
    """

    faults: tuple[str, ...]
    trace: str
    steps: int
    seconds: float
    outcomes: tuple[str, ...]


def simulate(seed: int, mode: Mode, without: Collection[int] = ()) -> Verdict:
    """Run the scenario of a seed.

    Args:
        seed: Which.
        mode: What is asked.
        without: Places of faults that are left out.
    """
    return Run(draw(seed, mode), without).verdict()


def shrink(seed: int, mode: Mode) -> list[int]:
    """Return the places of faults without which a failing seed still fails."""
    without: list[int] = []
    for place in range(len(draw(seed, mode).faults)):
        if simulate(seed, mode, [*without, place]).faults:
            without.append(place)
    return without


class Run:
    """A scenario that runs.

    Attributes:
        scenario: What happens.
        cluster: Where.
        slave_returns_after: Name of a slave to how soon it is started again [s].
        masters_stopped: Whether a master ended and said so.
    """

    def __init__(self, scenario: Scenario, without: Collection[int] = ()) -> None:
        self.scenario = scenario
        self.masters_stopped = False
        self.slave_returns_after: dict[str, float] = {}
        settings = {"master": {"strategy": scenario.strategy}}
        self.cluster = SimulatedCluster(
            scenario.seed,
            ordered=scenario.ordered,
            journalled=scenario.journalled,
            settings=settings,
            snapshot_after=scenario.snapshot_after,
        )
        self.ledger = Ledger()
        self._without = set(without)
        self._slaves: list[Process | None] = [None] * len(scenario.slaves)
        self._jobs: list[SubmittedJob] = []
        self._pushed = PushedTasks(scenario.pushed)
        self._master_returns_after = RETURN_AFTER
        self._calm = False
        self._steps = 0
        self._last_epoch = 0

    def verdict(self) -> Verdict:
        """Run it, and say what came of it."""
        cluster, scenario = self.cluster, self.scenario
        cluster.network.delay = scenario.delay
        cluster.disk.delay = scenario.sync
        cluster.processes.turn_cost = scenario.turn_cost
        cluster.processes.on_turn = self._look
        cluster.processes.on_ended = self._ended
        cluster.witness.on_start = self._witnessed
        cluster.witness.on_acknowledged, cluster.witness.on_killed = self.ledger.acknowledged, self.ledger.killed
        with cluster:
            self._start()
            end = scenario.calm_at if scenario.mode is Mode.SAFETY else scenario.calm_at + PATIENCE
            while not cluster.faults and self._steps < MOST_STEPS:
                if cluster.agenda.now - BEGINNING > end or not cluster.step():
                    break
                self._steps += 1
                if self._calm and self._pushed.done and all(job.done for job in self._jobs):
                    break
            cluster.faults += self.ledger.check()
            if not cluster.faults:
                cluster.faults += judge(self._jobs, self.ledger, cluster.masters)
                cluster.faults += self._pushed.judge(self.ledger, may_be_cut_off=self._may_be_cut_off())
                if scenario.mode is Mode.LIVENESS and not self._pushed.done:
                    cluster.faults.append(f"pushed tasks have not ended {PATIENCE:g} s after the last fault")
                if scenario.mode is Mode.LIVENESS:
                    cluster.faults += [
                        f"job {job.number} has not ended {PATIENCE:g} s after the last fault"
                        for job in self._jobs
                        if not job.done
                    ]
            trace = cluster.trace.hexdigest()
        seconds = cluster.agenda.now - BEGINNING
        return Verdict(tuple(cluster.faults), trace, self._steps, seconds, tuple(job.outcome for job in self._jobs))

    # For faults

    def slave_of(self, target: int) -> Process | None:
        """Return a slave's process; None while it is not there."""
        return self._slaves[target % len(self._slaves)]

    def worker_of(self, target: int) -> Process | None:
        """Return a worker's process, a busy one if there is one."""
        workers = [process for process in self.cluster.processes.living.values() if " worker " in process.name]
        busy = [process for process in workers if process.node is not None and process.node.running is not None]
        among = busy or workers
        return among[target % len(among)] if among else None

    def host_of(self, target: int) -> Process | None:
        """Return a host's process; None when there is none."""
        hosts = [process for process in self.cluster.processes.living.values() if process.name.startswith("host ")]
        return hosts[target % len(hosts)] if hosts else None

    def note_kill(self, host: Process) -> None:
        """Note whose host is killed."""
        master = self.cluster.master
        life = master.node._table.life(int(host.name.split()[1])) if master is not None else None  # noqa: SLF001
        for job in self._jobs:
            if life is not None and job.system.system_id == life.record.system_id:
                job.hosts_killed += 1

    def machine_of(self, target: int) -> str:
        """Return the name of a machine with a slave or an application."""
        machines = [f"slave-{number}" for number in range(len(self._slaves))] + [
            f"app-{job.number}" for job in self._jobs
        ]
        if self.scenario.pushed:
            machines.append(PUSHER)
        return machines[target % len(machines)]

    def master_returns_after(self, seconds: float) -> None:
        """Let the master that ends next be started again after so long [s]."""
        self._master_returns_after = seconds

    def kill_application(self, number: int) -> None:
        """Kill an application; another one comes for what it detached."""
        if number < len(self._jobs):
            job = self._jobs[number]
            if job.process is None or not job.process.alive or job.handle is None or job.handle.done():
                return
            self._replace_application(job)

    def _replace_application(self, job: SubmittedJob) -> None:
        assert job.process is not None  # noqa: S101 - whose is replaced
        job.process.kill()
        job.orphaned = not (job.plan.detach and job.accepted)
        if not job.orphaned:
            job.handle, job.replaced = None, True
            self.cluster.agenda.after(RETURN_AFTER, lambda: self._attach(job))

    # Life

    def _start(self) -> None:
        agenda, scenario = self.cluster.agenda, self.scenario
        self.cluster.start_master()
        for number in range(len(scenario.slaves)):
            self._start_slave(number)
        for number, plan in enumerate(scenario.jobs):
            job = SubmittedJob(plan, number)
            self._jobs.append(job)
            agenda.at(BEGINNING + plan.arrives, lambda job=job: self._submit(job))  # type: ignore[misc]
        if scenario.pushed:
            agenda.at(BEGINNING + PUSHED_AT, lambda: self.cluster.start_application(PUSHER, self._push))  # type: ignore[arg-type]
        for place, fault in enumerate(scenario.faults):
            if place not in self._without:
                agenda.at(BEGINNING + fault.at, lambda fault=fault: befall(self, fault))  # type: ignore[misc]
        if scenario.mode is Mode.LIVENESS:
            agenda.at(BEGINNING + scenario.calm_at, self._mend)

    def _start_slave(self, number: int) -> None:
        plan = self.scenario.slaves[number]
        resources = {"disk": plan.disk} if plan.disk else {}
        self._slaves[number] = self.cluster.start_slave(f"slave-{number}", plan.workers, resources)

    def _submit(self, job: SubmittedJob) -> None:
        def ready(application: SimulatedApplication) -> None:
            options = {
                "detach": job.plan.detach,
                "ttl": 86400.0,
                "weight": 1.0,
                "restarts": job.plan.restarts,
                "speculate": job.plan.speculate,
            }
            job.handle = application.hand_in(job.system, options)
            if job.plan.cancel_at is not None:
                application._loop.after(job.plan.cancel_at, job.handle.cancel)  # type: ignore[arg-type]  # noqa: SLF001 - in its loop

        job.process = self.cluster.start_application(f"app-{job.number}", ready)

    def _push(self, application: SimulatedApplication) -> None:
        application.on_welcome = lambda: self._pushed.push(application)

    def _may_be_cut_off(self) -> bool:
        """Say whether an application may have lost its master for too long."""
        away = sum(fault.seconds for fault in self.scenario.faults if fault.kind.startswith(("cut", "freeze_master")))
        return self.cluster.masters > 1 or self.cluster.master is None or away > LONG_AWAY

    def _attach(self, job: SubmittedJob) -> None:
        def ready(application: SimulatedApplication) -> None:
            job.handle = application.follow(job.system.system_id)

        job.process = self.cluster.start_application(f"app-{job.number}", ready)

    def _ended(self, process: Process) -> None:
        """Start again what ended."""
        after = self.cluster.agenda.after
        if process in self._slaves:
            number = self._slaves.index(process)
            self._slaves[number] = None
            delay = self.slave_returns_after.pop(process.name, RETURN_AFTER)
            after(RETURN_AFTER if self._calm else delay, lambda: self._start_slave(number))
        elif process.name.startswith(MASTER):
            self._forgive(process)
            delay, self._master_returns_after = self._master_returns_after, RETURN_AFTER
            after(RETURN_AFTER if self._calm else delay, self._master_returns)
        node = process.node
        running = getattr(node, "running", None)
        if running is not None:
            running.end = "lost"

    def _forgive(self, master: Process) -> None:
        """Let crashes not count of tasks that no journal knows.

        They came with an answer that was not written any more: after a restart they are emitted anew.
        """
        writer = getattr(getattr(master.node, "_keeper", None), "_writer", None)
        ids = {life.record.number: life.record.system_id for life in master.node._table.lives()} if writer else {}  # noqa: SLF001
        for row in writer.lost if writer is not None else ():
            if isinstance(row, InputApplied):
                self.ledger.forgive(ids.get(row.system, ""), range(row.note.first, row.note.first + row.note.emitted))

    def _master_returns(self) -> None:
        if self.cluster.master is None:
            self.cluster.start_master()

    def _mend(self) -> None:
        """Stop all faults."""
        self._calm, scenario = True, self.scenario
        now = self.cluster.agenda.now
        for way in list(self.cluster.network._ways.values()):  # noqa: SLF001 - all of them
            way.cut_until, way.rate, way.lose, way.repeat = min(way.cut_until, now), inf, 0, 0
        self.cluster.network.look_again()
        disk = self.cluster.disk
        disk.full_until, disk.delay, disk.failing = 0.0, scenario.sync, False
        for process in list(self.cluster.processes.living.values()):
            if process.loop.frozen and process.node is not None:
                process.loop.thaw()

    # What is looked at

    def _look(self, process: Process) -> None:
        node = process.node
        if node is None or not process.alive:
            return
        for check in _CHECKS.get(process.name.split()[0].split("-")[0], ()):
            if process.name.startswith("slave") and " worker" in process.name:
                return
            self.cluster.faults += [f"{process.name}: {fault}" for fault in check(node)]
        for job in self._jobs:
            if job.process is process and job.handle is not None:
                self._look_at_job(job, job.handle)

    def _look_at_job(self, job: SubmittedJob, handle: SystemHandle) -> None:
        """Let another application follow a job when the master has ended."""
        epoch = self._epoch()
        for place, went_well in handle._published.untaken():  # noqa: SLF001 - without taking it
            job.told.setdefault(place, (went_well, epoch))
        if not handle.done():
            job.accepted = job.accepted or handle._acknowledged.is_set()  # noqa: SLF001 - what `submit` waits for
        elif not handle.cancelled() and isinstance(handle.exception(), MasterUnreachable) and self._was_unreachable():
            self._replace_application(job)

    def _was_unreachable(self) -> bool:
        """Say whether an application may have given a master up."""
        now = self.cluster.agenda.now - BEGINNING
        latest = max((fault.at + fault.seconds for fault in self.scenario.faults if fault.at <= now), default=-inf)
        return self.masters_stopped or now - min(latest, self.scenario.calm_at) < UNREACHABLE

    def _witnessed(self, execution: Execution) -> None:
        self.cluster.faults += self.ledger.started(execution)
        job = next((job for job in self._jobs if job.system.system_id == execution.system), None)
        told = job.told.get(execution.number) if job is not None else None
        if job is not None and told is not None and execution.lease >> LEASE_COUNTER_BITS > told[1]:
            self.cluster.faults.append(
                f"job {job.number}: task {execution.number} runs again after a restart; its end was told before"
            )

    def _epoch(self) -> int:
        """Return the epoch of the master; of the one before while there is none."""
        master = self.cluster.master
        core = getattr(master.node, "_core", None) if master is not None else None
        if core is not None:
            self._last_epoch = core.epoch
        return self._last_epoch


_CHECKS = {"master": (check_master,), "slave": (check_slave,), "app": (check_application,), "host": (check_host,)}
