"""What if: a load with other strategies, on another cluster.

    Load --> simulate(strategy) --> makespan, leases, turns, what was moved, shares

A share is an application's part of the work that was done while all of them had some: with
equal weights and enough work, equal parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from concurro.testing.simulated_load import lower_bound, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concurro.testing.simulated_load import Load, Report


@dataclass(frozen=True, slots=True)
class Answer:
    """What one strategy makes of a load.

    Attributes:
        strategy: Its name.
        makespan: When the last job ended [s].
        efficiency: The least possible makespan divided by that.
        leases: Decisions: how many leases were given.
        returned: How many of them were taken back before they began.
        turns: Turns of the master.
        moved: Bytes of blobs that travelled to slaves [B].
        waited: The mean time from a job's arrival to its end [s].
        shares: Application to its part of the work while every one had some.
    """

    strategy: str
    makespan: float
    efficiency: float
    leases: int
    returned: int
    turns: int
    moved: int
    waited: float
    shares: dict[str, float]


def ask(load: Load, strategy: str, seed: int = 0) -> Answer:
    """Return what a strategy makes of a load.

    Raises:
        RuntimeError: Some tasks require what no machine has.
        ComponentError: There is no such strategy.
    """
    report = simulate(load.slaves, load.jobs, strategy, seed=seed)
    waited = sum(job.ended - job.arrived for job in report.jobs) / len(report.jobs)
    return Answer(
        strategy,
        report.makespan,
        lower_bound(load) / report.makespan,
        len(report.leased),
        len(report.leased) - len(report.runs),
        report.turns,
        report.moved,
        waited,
        shares(load, report),
    )


def shares(load: Load, report: Report) -> dict[str, float]:
    """Return each application's part of the work while all of them had some."""
    names = {number: job.application or f"application-{number}" for number, job in enumerate(load.jobs, 1)}
    begins: dict[str, float] = {}
    ends: dict[str, float] = {}
    for job in report.jobs:
        name = names[job.number]
        begins[name] = min(begins.get(name, job.arrived), job.arrived)
        ends[name] = max(ends.get(name, job.ended), job.ended)
    since, until = max(begins.values()), min(ends.values())
    work = dict.fromkeys(sorted(ends), 0.0)
    for run in report.runs:
        work[names[run.system]] += max(0.0, min(run.ended, until) - max(run.started, since))
    total = sum(work.values())
    return {name: part / total for name, part in work.items()} if total else {}


def table(load: Load, answers: Iterable[Answer]) -> Iterator[str]:
    """Yield the lines that tell people what strategies make of a load."""
    tasks = sum(len(job.tasks) for job in load.jobs)
    work = sum(task.duration for job in load.jobs for task in job.tasks)
    workers = sum(slave.workers for slave in load.slaves)
    yield f"{len(load.jobs)} jobs, {tasks} tasks, {work:.1f} s of work; {len(load.slaves)} slaves, {workers} workers"
    yield f"{'':16}{'makespan s':>12}{'efficiency':>12}{'job s':>10}{'leases':>10}{'returned':>10}{'turns':>9}{'MB':>9}"
    for answer in answers:
        yield (
            f"{answer.strategy:16}{answer.makespan:12.3f}{answer.efficiency:12.3f}{answer.waited:10.3f}"
            f"{answer.leases:10}{answer.returned:10}{answer.turns:9}{answer.moved / 1e6:9.1f}"
        )
        if len(answer.shares) > 1:
            parts = ", ".join(f"{name} {part:.1%}" for name, part in answer.shares.items())
            yield f"{'':16}  shares: {parts}"
