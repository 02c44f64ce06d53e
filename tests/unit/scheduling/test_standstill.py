"""What a slave is told on which every task waits: whether anything runs elsewhere."""

from __future__ import annotations

import pytest

from tests.unit.scheduling.cluster import Cluster


@pytest.fixture
def cluster():
    """Give two slaves, each with one task of one system."""
    cluster = Cluster()
    cluster.join("north", "south")
    cluster.emit(cluster.system(), 2)
    cluster.step()
    return cluster


def let_wait(cluster, slave_id, what="task x:1"):
    for lease in cluster.core.slaves[slave_id].leases:
        cluster.core.waits(slave_id, lease, what)


def test_a_task_of_another_slave_may_be_what_is_waited_for(cluster):
    let_wait(cluster, "north")

    assert [cluster.core.stands_still("north") for _ in range(3)] == [False] * 3


def test_nothing_runs_when_every_task_elsewhere_waits_too_and_did_when_it_was_asked_before(cluster):
    let_wait(cluster, "north")
    let_wait(cluster, "south")

    assert [cluster.core.stands_still("north") for _ in range(2)] == [False, True]


def test_what_has_just_ended_may_let_somebody_go_on(cluster):
    let_wait(cluster, "south")
    before = cluster.core.stands_still("north")

    cluster.core.slaves["south"].finished += 1

    assert [before, *(cluster.core.stands_still("north") for _ in range(2))] == [False, False, True]


def test_the_only_slave_with_tasks_knows_by_itself_that_nothing_runs(cluster):
    let_wait(cluster, "north")
    cluster.core.slaves["south"].leases.clear()

    assert cluster.core.stands_still("north")


def test_a_task_that_goes_on_runs_again(cluster):
    let_wait(cluster, "south")
    cluster.core.stands_still("north")
    let_wait(cluster, "south", "")

    assert not cluster.core.stands_still("north")
