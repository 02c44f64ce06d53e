"""The simulated cluster: real cores, and nothing happens twice, too early or by chance."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from benchmarks import loads
from concurro.testing.simulated_load import Job, Load, SimulatedTask, TaskKind, lower_bound, simulate
from concurro.testing.simulated_slave import SlaveModel

SHORT = 10e-6
LONG = 1.0


def two_slaves():
    """Return two machines of one worker each."""
    return (SlaveModel("north", workers=1), SlaveModel("south", workers=1))


def one_job(*durations):
    """Return a job of tasks of these durations."""
    return Job(0.0, tuple(SimulatedTask(duration) for duration in durations))


CASES = {
    "equal slaves": lambda: loads.uniform(1, tasks=300),
    "few long tasks": lambda: loads.heavy_tail(1, tasks=300),
    "unequal slaves": lambda: loads.unequal_slaves(1, tasks=300),
    "blobs": lambda: loads.data_bound(1, tasks=300, blobs=40),
    "many users": lambda: loads.many_users(1, jobs=6),
    "taken back": lambda: Load(two_slaves(), (one_job(*[SHORT] * 500, LONG, *[SHORT] * 500),)),
    "requirements": lambda: Load(
        (SlaveModel("plain"), SlaveModel("gpu", resources={"gpu": 2.0})),
        (
            Job(
                0.0,
                tuple(SimulatedTask(0.01, kind=number % 3) for number in range(99)),
                kinds=(TaskKind(), TaskKind(priority=1), TaskKind(requires={"gpu": 1.0})),
            ),
        ),
    ),
}


@pytest.fixture(params=CASES)
def load(request):
    return CASES[request.param]()


def test_every_task_ends_once(load):
    report = simulate(load.slaves, load.jobs)

    ended = sorted((run.system, run.task) for run in report.runs if run.done)
    expected = [(job, task) for job, one in enumerate(load.jobs, 1) for task in range(len(one.tasks))]
    assert ended == expected
    assert sorted(job.number for job in report.jobs) == list(range(1, len(load.jobs) + 1))


def test_no_worker_runs_two_tasks_at_once(load):
    report = simulate(load.slaves, load.jobs)

    workers = {}
    for run in report.runs:
        workers.setdefault((run.slave, run.worker), []).append((run.started, run.ended))
    assert len(workers) <= sum(slave.workers for slave in load.slaves)
    assert all(first[1] <= second[0] for spans in workers.values() for first, second in pairwise(sorted(spans)))


def test_no_task_starts_before_its_job_arrived_and_its_lease_was_given(load):
    report = simulate(load.slaves, load.jobs)

    assert all(load.jobs[run.system - 1].arrives <= report.leased[run.lease] < run.started for run in report.runs)


def test_no_makespan_is_below_the_bound(load):
    report = simulate(load.slaves, load.jobs)

    assert report.makespan >= lower_bound(load)


def test_the_same_seed_gives_the_same_trace(load):
    first = simulate(load.slaves, load.jobs, seed=7)
    again = simulate(load.slaves, load.jobs, seed=7)

    assert first == again


def test_another_seed_gives_another_load():
    assert loads.many_users(1) != loads.many_users(2)


def test_a_fast_machine_takes_less_time_for_a_task():
    report = simulate([SlaveModel("fast", workers=1, speed=4.0)], [one_job(1.0)])

    (run,) = report.runs
    assert run.ended - run.started == pytest.approx(0.25)


def test_a_blob_travels_once_to_a_machine_that_keeps_it():
    tasks = tuple(SimulatedTask(0.1, blobs=(("large", 1_000_000),)) for _ in range(20))

    report = simulate([SlaveModel("north", workers=2, rate=1e6)], [Job(0.0, tasks)])

    assert report.moved == 1_000_000
    assert min(run.started for run in report.runs) > 1.0


def test_requirements_that_no_machine_meets_are_an_error_and_no_endless_loop():
    job = Job(0.0, (SimulatedTask(1.0),), kinds=(TaskKind(requires={"gpu": 1.0}),))

    with pytest.raises(RuntimeError, match="open tasks are left"):
        simulate(two_slaves(), [job])


@pytest.mark.parametrize(
    "slaves",
    [two_slaves(), (SlaveModel("north", workers=2),)],
    ids=["two slaves", "two workers"],
)
def test_nothing_waits_behind_a_long_task_while_another_worker_idles(slaves):
    durations = [SHORT] * 500 + [LONG] + [SHORT] * 500

    report = simulate(slaves, [one_job(*durations)])

    long = next(run for run in report.runs if run.task == 500)
    others = [run for run in report.runs if run.task != 500]
    assert max(run.started for run in others) < long.started + 0.1
    assert report.makespan < long.ended + 0.01


def test_long_tasks_among_short_ones_cost_little_more_than_they_take():
    chance = random.Random(3)
    durations = [0.02 if chance.random() < 0.05 else SHORT for _ in range(2_000)]

    report = simulate([SlaveModel("north", workers=1)], [one_job(*durations)])

    assert report.makespan < 1.02 * sum(durations)
