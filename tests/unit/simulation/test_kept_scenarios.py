"""Scenarios in which something was wrong once; as small as they could be made.

They stand here whole: what a seed draws may change.
"""

from __future__ import annotations

import pytest

from concurro.scheduling import speculation
from concurro.scheduling.core import SchedulerCore
from concurro.testing.simulated_run import Run
from concurro.testing.simulated_scenario import Fault, JobPlan, Mode, Scenario, SlavePlan
from concurro.testing.simulated_work import TaskPlan

A_LATE_STRAGGLER = Scenario(
    seed=161,
    mode=Mode.LIVENESS,
    ordered=True,
    journalled=False,
    slaves=(SlavePlan(4),),
    jobs=(
        JobPlan(
            0.0,
            ((TaskPlan(2.0, "poison"), TaskPlan(2.2), *[TaskPlan(0.1)] * 2),),
            speculate=True,
        ),
        JobPlan(0.0, ((TaskPlan(6.0),),)),  # crashes are counted when the master has settled them
    ),
    faults=(),
    calm_at=0.0,
)
"""A task that took two workers with it is a straggler in its third attempt: a copy would take a fourth."""

TWO_MASTERS_HEAR_OF_A_CRASH = Scenario(
    seed=405,
    mode=Mode.LIVENESS,
    ordered=False,
    journalled=True,
    slaves=(SlavePlan(3, 2.0),),
    jobs=(
        JobPlan(
            0.3337580210951234,
            (
                (
                    TaskPlan(0.3, max_retries=0),
                    TaskPlan(0.01, max_retries=0),
                    TaskPlan(3.0, max_retries=2, requires=(("disk", 1.0),), pushes=2),
                ),
            ),
            enough=1,
            detach=True,
            restarts=3,
        ),
        JobPlan(
            0.06097102359755047,
            (
                (
                    TaskPlan(8.0, "raises", max_retries=0, priority=5, requires=(("disk", 1.0),)),
                    TaskPlan(3.0, "poison", requires=(("disk", 1.0),)),
                ),
                (TaskPlan(3.0, "large"), TaskPlan(1.0, pushes=2)),
            ),
            detach=True,
        ),
    ),
    faults=(
        Fault(2.244317495679355, "stop_master", 5, 14.287981220906396, 3),
        Fault(8.291658236328438, "kill_master", 0, 0.8804756293184206, 1),
    ),
    calm_at=15.358442000187797,
    turn_cost=0.0001,
    delay=0.02,
    sync=0.2,
    strategy="round-robin",
)
"""A master hears of a crash, writes it down, and is killed before it says so; the next one hears of it again."""


def copy_anything(monkeypatch):
    """Switch off what keeps a task that crashed from a copy."""
    begin = speculation.Speculation.__init__
    monkeypatch.setattr(speculation.Speculation, "__init__", lambda self, *parts: begin(self, *parts[:-1], 1000))


def count_again(monkeypatch):
    """Switch off what knows that a crash counts already."""
    adopt = SchedulerCore.adopt

    def forget(self, task, slave_id, lease, attempt, *, counted=False):
        adopt(self, task, slave_id, lease, attempt)

    monkeypatch.setattr(SchedulerCore, "adopt", forget)


@pytest.mark.parametrize(
    ("scenario", "switch_off", "wrong"),
    [
        (A_LATE_STRAGGLER, copy_anything, "took 4 workers with it"),
        (TWO_MASTERS_HEAR_OF_A_CRASH, count_again, "it was lost 2 times only"),
    ],
    ids=["a late straggler", "two masters hear of a crash"],
)
def test_a_fault_that_was_found_is_found_without_its_mend_and_not_with_it(monkeypatch, scenario, switch_off, wrong):
    mended = Run(scenario).verdict()
    switch_off(monkeypatch)
    broken = Run(scenario).verdict()

    assert mended.faults == ()
    assert wrong in broken.faults[0]
