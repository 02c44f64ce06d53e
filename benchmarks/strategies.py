"""Strategies side by side on five kinds of load, in the simulation.

    python -m benchmarks strategies --json comparison.json --chart comparison.svg

Every strategy gets the same jobs; a figure is the median over some seeds. The report holds
no time of this machine: the same version gives the same report anywhere.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.loads import LOADS
from benchmarks.simulation import Report, simulate

if TYPE_CHECKING:
    from benchmarks.loads import Load

SEEDS = (1, 2, 3)

SHORTEST = 0.1
"""A job that could end sooner is taken for one that could end after so long [s]."""

MEASURES = {
    "efficiency": "the least possible makespan divided by the makespan",
    "moved": "bytes of blobs moved to slaves [GB]",
    "mean_slowdown": "time from arrival to end of a job, divided by its time alone; mean",
    "p95_slowdown": "the same; 95 of 100 jobs stay below",
}


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


def slowdowns(load: Load, report: Report) -> list[float]:
    """Return by what factor each job took longer than it would alone, least first.

    Source: D. Feitelson, L. Rudolph, "Metrics and Benchmarking for Parallel Job Scheduling", 1998,
    section 3: the bounded slowdown.
    """
    capacity = sum(slave.workers * slave.speed for slave in load.slaves)
    fastest = max(slave.speed for slave in load.slaves)
    factors = []
    for job in report.jobs:
        alone = max(job.longest / fastest, job.work / capacity)
        factors.append(max(1.0, (job.ended - job.arrived) / max(alone, SHORTEST)))
    return sorted(factors)


def measure(name: str, strategy: str, seed: int) -> dict[str, float]:
    """Run one strategy on one load, and return its measures."""
    load = LOADS[name](seed)
    report = simulate(load.slaves, load.jobs, strategy, seed=seed)
    factors = slowdowns(load, report)
    return {
        "efficiency": lower_bound(load) / report.makespan,
        "moved": report.moved / 1e9,
        "mean_slowdown": statistics.fmean(factors),
        "p95_slowdown": factors[int(0.95 * (len(factors) - 1))],
    }


def compare(strategies: list[str], seeds: tuple[int, ...] = SEEDS) -> dict[str, dict[str, dict[str, float]]]:
    """Return load to strategy to measure to median."""
    return {
        load: {strategy: _medians([measure(load, strategy, seed) for seed in seeds]) for strategy in strategies}
        for load in LOADS
    }


def _medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(result[key] for result in results), 3) for key in results[0]}
