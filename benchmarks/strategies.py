"""Strategies side by side on five kinds of load, in the simulation.

Every strategy gets the same jobs; a figure is the median over some seeds. None holds a time
of this machine: the same version gives the same figures anywhere.

    efficiency       the least possible makespan divided by the makespan
    moved            blobs that travelled to slaves [GB]
    mean_slowdown    time from arrival to end of a job, divided by its least time alone
    p95_slowdown     95 of 100 jobs stay below
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.loads import LOADS
from concurro.interfaces import ITaskScheduleStrategy
from concurro.kernel import Environment
from concurro.testing.simulated_load import lower_bound, simulate

if TYPE_CHECKING:
    from concurro.testing.simulated_load import Load, Report

SEEDS = (1, 2, 3)

SHORTEST = 0.1
"""A job that could end sooner is taken for one that could end after so long [s]."""

BOUND = "bound"
"""Stands for what is possible, where a strategy's name stands."""

Figures = dict[str, dict[str, dict[str, float]]]
"""Load to strategy to measure to figure."""


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


def measure_bound(name: str, seed: int) -> dict[str, float]:
    """Return what no strategy can beat: each blob travels once, no job waits."""
    sizes = {blob: size for job in LOADS[name](seed).jobs for task in job.tasks for blob, size in task.blobs}
    return {"efficiency": 1.0, "moved": sum(sizes.values()) / 1e9, "mean_slowdown": 1.0, "p95_slowdown": 1.0}


def compare(strategies: list[str], seeds: tuple[int, ...] = SEEDS) -> Figures:
    """Return the medians over the seeds; beside the strategies, `bound`."""
    return {
        load: {
            BOUND: _medians([measure_bound(load, seed) for seed in seeds]),
            **{strategy: _medians([measure(load, strategy, seed) for seed in seeds]) for strategy in strategies},
        }
        for load in LOADS
    }


def built_in() -> list[str]:
    """Return the names of the strategies that come with Concurrent."""
    offers = Environment({}, kind="master").offers(ITaskScheduleStrategy)
    return sorted(offer.name for offer in offers if offer.source == "built-in")


def _medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(result[key] for result in results), 3) for key in results[0]}
