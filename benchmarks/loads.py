"""Five kinds of load for the simulation, each from a seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from concurro.testing.simulated_load import Job, Load, SimulatedTask
from concurro.testing.simulated_slave import SlaveModel

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTE = 1_000_000


def _equal_slaves(count: int = 16) -> tuple[SlaveModel, ...]:
    return tuple(SlaveModel(f"slave-{number:02}") for number in range(count))


def _one_job(tasks: list[SimulatedTask]) -> tuple[Job, ...]:
    return (Job(0.0, tuple(tasks)),)


def uniform(seed: int, tasks: int = 3_200) -> Load:
    """Give equal slaves one job of tasks that take about the same, 90 to 110 ms."""
    chance = random.Random(seed)
    return Load(_equal_slaves(), _one_job([SimulatedTask(chance.uniform(0.09, 0.11)) for _ in range(tasks)]))


def heavy_tail(seed: int, tasks: int = 3_200) -> Load:
    """Give equal slaves one job where few tasks are most of the work.

    Durations follow a Pareto distribution of shape 1.3 from 20 ms on, and end at 3 s.
    """
    chance = random.Random(seed)
    durations = (min(3.0, 0.02 * chance.paretovariate(1.3)) for _ in range(tasks))
    return Load(_equal_slaves(), _one_job([SimulatedTask(duration) for duration in durations]))


def unequal_slaves(seed: int, tasks: int = 1_200) -> Load:
    """Give slaves of speed 0.5 to 4 and of 2 to 8 workers one job of tasks of 0.25 to 0.75 s."""
    chance = random.Random(seed)
    sizes = [(workers, speed) for speed in (0.5, 1.0, 2.0, 4.0) for workers in (2, 4, 4, 8)]
    slaves = tuple(SlaveModel(f"slave-{number:02}", *size) for number, size in enumerate(sizes))
    return Load(slaves, _one_job([SimulatedTask(chance.uniform(0.25, 0.75)) for _ in range(tasks)]))


def data_bound(seed: int, tasks: int = 3_200, blobs: int = 160) -> Load:
    """Give equal slaves one job whose tasks read one of many blobs each.

    A blob of 20 MB needs 0.16 s to a slave, which keeps twelve of them, and a task 50 ms. Some blobs
    are read by many tasks, most by few (Zipf).
    """
    chance = random.Random(seed)
    names = chance.choices(range(blobs), [1.0 / (place + 1) for place in range(blobs)], k=tasks)
    work = [SimulatedTask(0.05, blobs=((f"blob-{name}", 20 * MEGABYTE),)) for name in names]
    return Load(_equal_slaves(), _one_job(work))


def many_users(seed: int, jobs: int = 60) -> Load:
    """Let users submit jobs of very different sizes to equal slaves, one after the other.

    10 to 1 000 tasks, most jobs small; 5 to 200 ms a task. They arrive at random, so that the
    cluster has nine tenths of the work that it can do.
    """
    chance = random.Random(seed)
    slaves = _equal_slaves()
    capacity = sum(slave.workers * slave.speed for slave in slaves)
    now = 0.0
    arriving = []
    for number in range(jobs):
        count = int(10 * 100 ** (chance.random() ** 2))
        typical = 0.005 * 40 ** chance.random()
        tasks = tuple(SimulatedTask(typical * chance.uniform(0.5, 1.5)) for _ in range(count))
        arriving.append(Job(now, tasks, application=f"user-{number % 12}"))
        now += chance.expovariate(1.0) * sum(task.duration for task in tasks) / capacity / 0.9
    return Load(slaves, tuple(arriving))


LOADS: dict[str, Callable[[int], Load]] = {
    "uniform": uniform,
    "heavy-tail": heavy_tail,
    "unequal-slaves": unequal_slaves,
    "data-bound": data_bound,
    "many-users": many_users,
}
