"""A task that is wanted no more unless it has started is cancelled, or runs to its end."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome
from concurro.scheduling.withdrawing import cancel_emitted
from tests.unit.scheduling.cluster import MICROSECOND, Cluster


@pytest.fixture
def cluster():
    cluster = Cluster()
    cluster.join("north")
    return cluster


@pytest.fixture
def system(cluster):
    """Return a system of quick tasks, so that some are sent ahead."""
    system = cluster.system()
    cluster.measure(system, MICROSECOND)
    return system


def outcomes(cluster):
    return {entry[0]: Outcome(entry[1]) for entry in cluster.finished[1]}


def test_a_queued_task_is_forgotten(cluster, system):
    cluster.emit(system, 3)

    cancel_emitted(cluster.core, system, [], [1, 2])
    cluster.step()

    assert outcomes(cluster) == {1: Outcome.CANCELLED, 2: Outcome.CANCELLED}
    assert [entry[3] for entry in cluster.held["north"].values()] == [0]


def test_a_leased_task_is_asked_back_and_forgotten_when_it_comes(cluster, system):
    (task,) = cluster.emit(system)
    cluster.step()

    cancel_emitted(cluster.core, system, [], [0])
    cluster.step()
    assert cluster.recalled["north"] == [task.lease]
    assert outcomes(cluster) == {}
    cluster.give_back("north", [task.lease])
    cluster.step()

    assert outcomes(cluster) == {0: Outcome.CANCELLED}
    assert cluster.held["north"] == {}
    assert (system.leased, system.cancelled, dict(system.open)) == (0, 1, {})


def test_a_task_that_has_started_runs_to_its_end(cluster, system):
    (task,) = cluster.emit(system)
    cluster.step()

    cancel_emitted(cluster.core, system, [], [0])
    cluster.step()
    cluster.core.started("north", [task.lease])
    cluster.end(task)
    cluster.step()

    assert outcomes(cluster) == {0: Outcome.DONE}
    assert cluster.killed["north"] == []


def test_a_task_that_was_asked_back_for_another_slave_is_queued_again(cluster, system):
    (task,) = cluster.emit(system)
    cluster.step()

    cluster.core.take_back([task.lease])
    cluster.give_back("north", [task.lease])
    cluster.step()

    assert outcomes(cluster) == {}
    assert len(cluster.held["north"]) == 1


def test_what_is_cancelled_wherever_it_is_is_killed(cluster, system):
    (task,) = cluster.emit(system)
    cluster.step()
    lease = task.lease

    cancel_emitted(cluster.core, system, [0], [0, 99])
    cluster.step()

    assert cluster.killed["north"] == [lease]
    assert cluster.recalled["north"] == []
    assert outcomes(cluster) == {0: Outcome.CANCELLED}
