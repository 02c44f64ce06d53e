"""A simulated cluster without faults: real nodes, virtual time."""

from __future__ import annotations

import pytest

from concurro.testing.simulated_run import Run
from concurro.testing.simulated_scenario import JobPlan, Mode, Scenario, SlavePlan
from concurro.testing.simulated_work import TaskPlan

TEN = (TaskPlan(1.0),) * 10


def quiet(job, *, ordered=False, journalled=False):
    """Return two slaves and one job; nothing goes wrong."""
    slaves = (SlavePlan(2), SlavePlan(1))
    return Scenario(1, Mode.LIVENESS, ordered, journalled, slaves, (job,), (), calm_at=0.0)


@pytest.mark.parametrize("ordered", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("journalled", [False, True], ids=["no journal", "journal"])
def test_a_job_ends_as_soon_as_its_tasks_allow(ordered, journalled):
    job = JobPlan(0.0, (TEN,), publishes=True)

    verdict = Run(quiet(job, ordered=ordered, journalled=journalled)).verdict()

    assert verdict.faults == ()
    assert verdict.outcomes == ("complete",)
    assert 4.0 < verdict.seconds < 4.2


def test_every_task_runs_once_when_nothing_goes_wrong():
    run = Run(quiet(JobPlan(0.0, (TEN, TEN))))

    run.verdict()

    assert sorted(execution.number for execution in run.cluster.witness.executions) == list(range(20))


def test_a_task_that_kills_its_worker_runs_three_times():
    run = Run(quiet(JobPlan(0.0, ((TaskPlan(0.1, "poison"), TaskPlan(0.1)),))))

    verdict = run.verdict()

    assert verdict.faults == ()
    assert [execution.end for execution in run.cluster.witness.executions if execution.number == 0] == ["crashed"] * 3


def test_large_results_travel_as_blobs():
    verdict = Run(quiet(JobPlan(0.0, ((TaskPlan(0.1, "large"),) * 3,)))).verdict()

    assert (verdict.faults, verdict.outcomes) == ((), ("complete",))


def test_tasks_that_an_application_pushes_end_as_they_must():
    slaves = (SlavePlan(2), SlavePlan(1))
    plans = (TaskPlan(1.0), TaskPlan(0.1, "raises"), TaskPlan(0.1, "poison"), TaskPlan(0.2, "large"))
    run = Run(
        Scenario(
            1,
            Mode.LIVENESS,
            ordered=False,
            journalled=False,
            slaves=slaves,
            jobs=(),
            faults=(),
            calm_at=0.0,
            pushed=plans,
        )
    )

    verdict = run.verdict()

    ends = [type(future.exception()).__name__ for future in run._pushed.futures]
    assert verdict.faults == ()
    assert ends == ["NoneType", "SimulatedFailureError", "WorkerLost", "NoneType"]
