"""What a slave is told on which every task waits: whether anything runs elsewhere."""

from __future__ import annotations

import pytest

from concurro.scheduling.life import HOST_PATIENCE, awaits_host
from tests.unit.scheduling.cluster import Cluster
from tests.unit.scheduling.system_driver import Master


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


def test_a_host_at_work_may_be_what_is_waited_for_and_what_it_decided_too(cluster):
    let_wait(cluster, "north")
    cluster.core.slaves["south"].leases.clear()

    assert [cluster.core.stands_still("north", decided=decided) for decided in (False, False, True, True)] == [
        *[False] * 3,
        True,
    ]


def test_a_host_is_at_work_from_its_submission_until_it_has_answered_everything():
    master = Master()
    master.submit()
    life = master.table.find("job")
    submitted = awaits_host(life, master.now)
    master.table.host_started(life.record.number, 4711, master.now, 1e9)
    starts = awaits_host(life, master.now)
    master.out(0)
    master.pass_time()
    generates = awaits_host(life, master.now)

    master.out(life.flow.number, tasks=[[0, b"p"]], classes=[[0, "T", 0, None, None, {}, b"", None]], exhausted=True)
    master.pass_time()

    assert (submitted, starts, generates) == (True, True, True)
    assert not awaits_host(life, master.now)


def test_a_host_that_answers_nothing_for_long_may_itself_wait_for_tasks():
    master = Master()
    life = master.start()
    master.pass_time()
    before = awaits_host(life, master.now)

    master.pass_time(HOST_PATIENCE + 1)

    assert before
    assert not awaits_host(life, master.now)
