"""A cluster under load, in virtual time, around the real cores.

    Load: jobs, machines ---> MasterModel (SchedulerCore, scheduler, any strategy)
                                   |  ^   a turn when something happened
                             orders|  |results           each way takes `latency`
                                   v  |
                              SimulatedSlave (SlaveCore), one per machine ---> Report

What decides is what a master and a slave run, untouched; what is modelled is what takes time:
tasks, the way of a message, a turn of the master, the transfer of blobs. Everything follows
from the load and the seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from concurro.ids import SystemState
from concurro.interfaces import ITaskScheduler
from concurro.kernel import Environment
from concurro.records import SlaveRecord, SystemRecord
from concurro.scheduling.commands import acknowledgements
from concurro.scheduling.core import SchedulerCore
from concurro.testing.simulated_slave import Run, SimulatedSlave, SlaveModel
from concurro.testing.simulated_time import Agenda
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from concurro.scheduling.orders import Commands, SlaveOrders


@dataclass(frozen=True, slots=True)
class TaskKind:
    """What tasks of one class have in common: priority, requirements."""

    priority: int = 0
    requires: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SimulatedTask:
    """A task.

    Attributes:
        duration: What it takes on a machine of speed 1 [s].
        kind: Place of its kind in its job.
        blobs: What it reads: name to size [B].
    """

    duration: float
    kind: int = 0
    blobs: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A task system that emits all its tasks when it arrives.

    Attributes:
        arrives: When [s].
        tasks: In the order of their emission.
        kinds: What its tasks refer to.
        weight: Its share.
        application: Who submitted it.
    """

    arrives: float
    tasks: tuple[SimulatedTask, ...]
    kinds: tuple[TaskKind, ...] = (TaskKind(),)
    weight: float = 1.0
    application: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """Machines, and jobs in the order of their arrival."""

    slaves: tuple[SlaveModel, ...]
    jobs: tuple[Job, ...]


def lower_bound(load: Load) -> float:
    """Return a time that no schedule can beat [s].

    Whatever arrives from a moment on, takes its work divided by the capacity from there, and its
    longest task on the fastest slave. Transfers are not counted.
    """
    capacity = sum(slave.workers * slave.speed for slave in load.slaves)
    fastest = max(slave.speed for slave in load.slaves)
    bound = work = 0.0
    for job in reversed(load.jobs):
        work += sum(task.duration for task in job.tasks)
        longest = max(task.duration for task in job.tasks)
        bound = max(bound, job.arrives + work / capacity, job.arrives + longest / fastest)
    return bound


@dataclass(frozen=True, slots=True)
class Timing:
    """What takes time besides tasks [s].

    Attributes:
        latency: A message's way between master and slave.
        turn: A turn of the master, however little it decides.
        per_task: What each lease or result adds to it.
    """

    latency: float = 100e-6
    turn: float = 50e-6
    per_task: float = 5e-6


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job that ended.

    Attributes:
        number: Its system's number; jobs count from 1 in the order of arrival.
        arrived, ended: When [s].
        work: The durations of its tasks together [s].
        longest: The longest of them [s].
        tasks: How many.
    """

    number: int
    arrived: float
    ended: float
    work: float
    longest: float
    tasks: int


@dataclass(slots=True)
class Report:
    """What happened.

    Attributes:
        runs: Every attempt, in the order of their ends.
        jobs: Every job, in the order of their ends.
        moved: Bytes of blobs that travelled to slaves [B].
        turns: Turns of the master.
        leased: Lease to when it was given [s]; more than runs when some were taken back.
    """

    runs: list[Run] = field(default_factory=list)
    jobs: list[JobRecord] = field(default_factory=list)
    moved: int = 0
    turns: int = 0
    leased: dict[int, float] = field(default_factory=dict)

    @property
    def makespan(self) -> float:
        """When the last job ended, since the beginning [s]."""
        return max((job.ended for job in self.jobs), default=0.0)


def simulate(  # noqa: PLR0913 - what may vary
    slaves: Iterable[SlaveModel],
    jobs: Iterable[Job],
    strategy: str = "least-loaded",
    *,
    seed: int = 0,
    timing: Timing | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
) -> Report:
    """Run jobs on a cluster, and return what happened.

    Args:
        slaves: The machines; all are there from the beginning.
        jobs: In the order of arrival; taken one by one when their time comes.
        strategy: Name of an `ITaskScheduleStrategy`.
        seed: Of the random numbers that a strategy may draw.
        timing: What takes time besides tasks.
        settings: More of the master's configuration, by table.

    Raises:
        RuntimeError: Nothing happens any more and jobs are left, e.g. requirements that no machine meets.
    """
    return _Simulation(slaves, jobs, strategy, seed, timing or Timing(), settings or {}).run()


class _Simulation:
    def __init__(  # noqa: PLR0913 - as in `simulate`
        self,
        slaves: Iterable[SlaveModel],
        jobs: Iterable[Job],
        strategy: str,
        seed: int,
        timing: Timing,
        settings: dict[str, dict[str, Any]],
    ) -> None:
        self.report = Report()
        self._agenda = Agenda()
        self._timing = timing
        self._jobs: Iterator[Job] = iter(jobs)
        self._taken: dict[int, Job] = {}
        self._live: dict[int, SystemRecord] = {}
        configuration = {**settings, "master": {**settings.get("master", {}), "strategy": strategy}}
        env = Environment(configuration, kind="master")
        self._core = SchedulerCore(env.selected(ITaskScheduler, "master.scheduler"), seed=seed)
        self._core.begin(0.0)
        self._inbox: list[Callable[[], None]] = []
        self._free_at = 0.0
        self._turn_due = False
        self._woken_for: float | None = None
        self._slaves: dict[str, SimulatedSlave] = {}
        for model in slaves:
            self._slaves[model.name] = SimulatedSlave(
                model, self._agenda, self._duration_of, self._slave_tells, self.report.runs.append
            )
            self._core.slave_joined(SlaveRecord(model.name, model.name, model.workers, dict(model.resources)))

    def run(self) -> Report:
        self._await_next_job()
        while self._agenda.step():
            pass
        if self._live:
            left = {number: len(system.open) for number, system in self._live.items()}
            message = f"nothing happens any more, and open tasks are left, by job: {left}"
            raise RuntimeError(message)
        self.report.moved = sum(slave.moved for slave in self._slaves.values())
        return self.report

    # Jobs

    def _await_next_job(self) -> None:
        job = next(self._jobs, None)
        if job is not None:
            self._agenda.at(job.arrives, lambda: self._receive(lambda: self._take_job(job)))

    def _take_job(self, job: Job) -> None:
        self._await_next_job()
        number = len(self._taken) + 1
        system = SystemRecord(
            number, f"job-{number}", "Job", weight=job.weight, application=job.application or f"application-{number}"
        )
        self._taken[number], self._live[number] = job, system
        self._core.start_system(system)
        entries = [
            [place, f"Class{place}", kind.priority, None, None, kind.requires, b"", None]
            for place, kind in enumerate(job.kinds)
        ]
        self._core.announce_classes(system, entries)
        self._core.emit(system, 0, [[task.kind, b"", _blob_entries(task)] for task in job.tasks])

    def _finished(self, number: int) -> None:
        job, system = self._taken[number], self._live[number]
        if system.open:
            return
        del self._live[number]
        durations = [task.duration for task in job.tasks]
        now = self._agenda.now
        self.report.jobs.append(JobRecord(number, job.arrives, now, sum(durations), max(durations), len(durations)))
        self._core.end_system(system, SystemState.COMPLETE)

    def _duration_of(self, system: int, task: int) -> float:
        return self._taken[system].tasks[task].duration

    # The master

    def _receive(self, event: Callable[[], None]) -> None:
        self._inbox.append(event)
        self._turn_soon()

    def _turn_soon(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self._agenda.at(self._free_at, self._turn)

    def _turn(self) -> None:
        """Take all that arrived, decide once, and send what follows."""
        self._turn_due = False
        now = self._agenda.now
        self._core.begin(now)
        inbox, self._inbox = self._inbox, []
        for event in inbox:
            event()
        self._core.tick(now)
        commands = self._core.take_commands()
        for number in commands.finished:
            self._finished(number)
        ends = self._core.take_commands()
        leased = [entry[0] for orders in commands.orders.values() for entry in orders.leases]
        finished = sum(map(len, commands.finished.values()))
        self.report.turns += 1
        self.report.leased.update(dict.fromkeys(leased, now))
        self._free_at = now + self._timing.turn + (len(leased) + finished) * self._timing.per_task
        for each in (commands, ends):
            self._send(each)
        self._wake_later()

    def _wake_later(self) -> None:
        due = self._core.wake_at
        if due is not None and due != self._woken_for:
            self._woken_for = due
            self._agenda.at(max(due, self._agenda.now + 0.001), self._turn_soon)

    def _send(self, commands: Commands) -> None:
        arrival = self._free_at + self._timing.latency
        settled: dict[str, list[int]] = {name: list(leases) for name, leases in commands.settled.items()}
        for entries in commands.leases_of.values():
            for told in acknowledgements(entries):
                settled.setdefault(told.slave_id, []).extend(told.leases)
        for name in {**commands.orders, **settled}:
            self._send_to(self._slaves[name], arrival, commands.orders.get(name), settled.get(name, []))

    def _send_to(self, slave: SimulatedSlave, arrival: float, orders: SlaveOrders | None, settled: list[int]) -> None:
        def carry_out(core: Any, now: float) -> None:
            core.acknowledge(settled)
            if orders is None:
                return
            for number in orders.forgets:
                core.forget(number)
            core.classes(orders.classes)
            core.leases(orders.leases)
            core.recall(orders.recalls)
            core.kill(orders.kills, now)

        self._agenda.at(arrival, lambda: slave.take(carry_out))

    def _slave_tells(self, name: str, kind: int, body: list[Any]) -> None:
        self._agenda.after(self._timing.latency, lambda: self._receive(lambda: self._hear(name, kind, body)))

    def _hear(self, name: str, kind: int, body: list[Any]) -> None:
        if kind == Kind.RESULTS:
            self._core.results(name, body)
        elif kind == Kind.RETURNED:
            self._core.returned(name, body[0])
        elif kind == Kind.STARTED:
            self._core.started(name, body[0])


def _blob_entries(task: SimulatedTask) -> list[list[Any]] | None:
    if not task.blobs:
        return None
    return [[place, _digest(name), size] for place, (name, size) in enumerate(task.blobs)]


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=32).digest()
