"""The jobs of a soak: what they call right is right, and they notice what is not."""

from __future__ import annotations

import random

import pytest

from concurro.testing.soak import jobs, menu
from concurro.testing.soak.jobs import Once
from concurro.testing.soak.menu import Job, fault_of_once, make_job
from concurro.testing.soak.tasks import leave_trace
from tests.support.serial import run_serially

QUIET = [
    *(jobs.SoakSystem, jobs.Squares, jobs.NoOps, jobs.Tree, jobs.Rounds, jobs.Draws, jobs.Strings),
    *(jobs.Picky, jobs.Refusing, jobs.Printing),
]
"""Systems that also run in one process, where no task ends it or has to be ended."""


@pytest.mark.parametrize("kind", QUIET)
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_system_gives_what_it_expects_in_any_order(kind, shuffle):
    system = kind(9)

    result, error = run_serially(system, shuffle=shuffle)

    assert error is None
    assert result == system.expected


def test_large_contents_come_back_whole():
    system = jobs.Large(5, 3, 100_000)

    result, _ = run_serially(system)

    assert result == system.expected


def test_every_kind_comes_up_and_the_same_seed_gives_the_same_jobs():
    first, again = ([make_job(random.Random(seed), "/folder", 1).name for seed in range(300)] for _ in range(2))

    assert {name.partition("(")[0] for name in first} == {kind.__name__ for kind in menu._KINDS}
    assert first == again


@pytest.fixture
def once(tmp_path):
    job = Job(Once(3, str(tmp_path / "trace")), path=str(tmp_path / "trace"))
    for number in range(3):
        leave_trace(job.path, number)
    return job


def test_tasks_that_ran_once_are_in_order_whether_anybody_knows_or_not(once):
    assert fault_of_once(once, ([0, 2], [1])) == ""


def test_a_task_that_ran_twice_is_noticed(once):
    leave_trace(once.path, 1)

    assert fault_of_once(once, ([0, 1, 2], [])) == "ran more than once (task: times): {1: 2}"


@pytest.mark.parametrize("outcome", [([0, 1], []), ([0, 1, 2], [2]), ([0, 1, 1], [2])])
def test_a_task_that_ended_never_or_twice_is_noticed(once, outcome):
    assert "are not all 3 tasks" in fault_of_once(once, outcome)


def test_a_task_that_is_done_and_never_ran_is_noticed(once):
    once.system.count = 4

    assert "left no line" in fault_of_once(once, ([0, 1, 2, 3], []))
