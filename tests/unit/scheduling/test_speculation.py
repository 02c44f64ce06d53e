"""Straggler copies: the first result wins, the other attempt is fenced and killed."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome
from concurro.records import TaskClass
from concurro.scheduling.speculation import SPECULATE_AFTER, is_straggler
from tests.unit.scheduling.cluster import Cluster, task_class


def measured(cluster, system, seconds=0.1, count=3):
    """Let attempts of the class be measured."""
    for task in cluster.emit(system, count):
        cluster.step()
        cluster.end(task, seconds=seconds)


def straggling(*, speculate=True, max_retries=None, slaves=("north", "south"), workers=1, copy=True, **facts):
    """Return a cluster and a task that runs for too long, with its copy."""
    cluster = Cluster()
    cluster.join(*slaves, workers=workers, resources=facts.pop("resources", None))
    classes = [task_class(max_retries=max_retries, **facts)]
    system = cluster.system(classes=classes, speculate=speculate)
    measured(cluster, system)
    (task,) = cluster.emit(system)
    cluster.step()
    cluster.step(SPECULATE_AFTER + 0.1)
    assert (task.copy is not None) is copy
    return cluster, task


@pytest.mark.parametrize(
    ("elapsed", "mean", "count", "max_retries", "straggles"),
    [
        (0.4, 0.01, 9, None, False),
        (0.6, 0.01, 9, None, True),
        (0.6, 0.01, 2, None, False),
        (1.9, 1.0, 9, None, False),
        (2.1, 1.0, 9, None, True),
        (2.1, 1.0, 9, 0, False),
        (2.1, 1.0, 9, 1, True),
        (9.0, None, 0, None, False),
    ],
)
def test_the_rule(elapsed, mean, count, max_retries, straggles):
    known = TaskClass(0, "Square", max_retries=max_retries)
    known.mean, known.measured = mean, count

    assert is_straggler(elapsed, known) is straggles


def test_a_straggler_is_copied_to_another_slave():
    cluster, task = straggling()

    assert {task.slave_id, task.copy.slave_id} == {"north", "south"}
    assert cluster.held[task.copy.slave_id][task.copy.lease][4] == task.attempt + 1
    assert task.system.leased == 1


def test_a_straggler_is_copied_although_nothing_else_happens():
    cluster = Cluster()
    cluster.join("north", "south")
    system = cluster.system(speculate=True)
    measured(cluster, system)
    (task,) = cluster.emit(system)
    cluster.step()

    for _ in range(4):
        assert cluster.core.wake_at is not None
        cluster.step(cluster.core.wake_at - cluster.now + 1e-6)
        if task.copy:
            break

    assert task.copy is not None
    assert cluster.now - task.leased_at < SPECULATE_AFTER + 0.2


@pytest.mark.parametrize("why", ["not asked for", "at most once", "no free worker", "queued tasks"])
def test_nothing_is_copied(why):
    speculate, max_retries = why != "not asked for", 0 if why == "at most once" else None
    if why in ("not asked for", "at most once"):
        straggling(speculate=speculate, max_retries=max_retries, copy=False)
        return
    cluster = Cluster()
    cluster.join("north")
    system = cluster.system(speculate=True)
    measured(cluster, system)
    (task, *_) = cluster.emit(system, 1 if why == "no free worker" else 5)
    cluster.step()

    cluster.step(5.0)

    assert task.copy is None


def test_the_same_slave_may_run_the_copy_when_there_is_no_other():
    _, task = straggling(slaves=("north",), workers=2)

    assert task.copy.slave_id == task.slave_id == "north"


def test_copies_are_few():
    cluster = Cluster()
    cluster.join("north", workers=20)
    cluster.join("south", workers=20)
    system = cluster.system(speculate=True)
    measured(cluster, system)
    cluster.emit(system, 20)
    cluster.step()

    for _ in range(10):
        cluster.step(1.0)

    assert sum(1 for task in system.open.values() if task.copy) == 2


def test_the_result_of_the_copy_wins_and_the_other_is_killed():
    cluster, task = straggling()
    first_slave, first_lease, copy = task.slave_id, task.lease, task.copy

    cluster.end_copy(task)
    cluster.step()

    number, outcome, value, _, slave_id, attempt, _ = cluster.finished[1][-1]
    assert (number, outcome, value, slave_id, attempt) == (3, 0, b"of the copy", copy.slave_id, 2)
    assert cluster.killed[first_slave] == [first_lease]
    assert task.system.leased == 0
    assert all(not slave.leases for slave in cluster.core.slaves.values())


def test_the_result_of_the_first_attempt_wins_and_the_copy_is_killed():
    cluster, task = straggling()
    copy = task.copy

    cluster.end(task)
    cluster.step()

    assert cluster.finished[1][-1][4:6] == [task.slave_id, 1]
    assert cluster.killed[copy.slave_id] == [copy.lease]


def test_the_later_result_is_stale_and_settled():
    cluster, task = straggling()
    first_slave, first_lease = task.slave_id, task.lease
    cluster.end_copy(task)
    cluster.step()

    cluster.core.results(first_slave, [[first_lease, 0, b"late", None, 1]])
    cluster.step()

    assert cluster.core.stale_results == 1
    assert len(cluster.finished[1]) == 4
    assert cluster.settled[first_slave] == [first_lease]


@pytest.mark.parametrize("which", ["first", "copy"])
@pytest.mark.parametrize("how", ["worker", "slave", "parts"])
def test_when_one_of_two_is_lost_the_other_goes_on(which, how):
    cluster, task = straggling()
    copy = task.copy
    left = (copy.slave_id, copy.lease) if which == "first" else (task.slave_id, task.lease)
    lost = task.slave_id if which == "first" else copy.slave_id
    end = cluster.end if which == "first" else cluster.end_copy

    if how == "slave":
        cluster.leave(lost)
    else:
        end(task, Outcome.LOST if how == "worker" else Outcome.SLAVE_LOST)
    cluster.step()

    assert (task.slave_id, task.lease, task.copy) == (*left, None)
    assert (task.crashes, task.slave_losses) == ((1, 0) if how == "worker" else (0, 1))
    assert task.system.leased == 1
    cluster.end(task)
    cluster.step()
    assert [entry[0] for entry in cluster.finished[1]] == [0, 1, 2, 3]


@pytest.mark.parametrize("which", ["first", "copy"])
def test_when_one_raises_that_is_the_result(which):
    cluster, task = straggling()
    end = cluster.end if which == "first" else cluster.end_copy
    other = task.copy if which == "first" else None
    killed = (other.slave_id, other.lease) if other else (task.slave_id, task.lease)

    end(task, Outcome.RAISED)
    cluster.step()

    assert cluster.finished[1][-1][:2] == [3, int(Outcome.RAISED)]
    assert cluster.killed[killed[0]] == [killed[1]]


def test_when_one_raises_the_task_is_tried_again_as_often_as_it_may():
    cluster, task = straggling(max_retries=2)

    cluster.end_copy(task, Outcome.RAISED)
    cluster.step()

    assert len(cluster.finished[1]) == 3
    assert (task.attempt, task.copy, task.system.leased) == (3, None, 1)
    assert sum(cluster.loads().values()) == 1


def test_a_copy_that_was_handed_back_is_gone():
    cluster, task = straggling()
    copy = task.copy

    cluster.give_back(copy.slave_id, [copy.lease])

    assert task.copy is None
    assert (task.attempt, task.system.leased) == (1, 1)


def test_when_the_first_attempt_is_handed_back_the_copy_is_the_attempt():
    cluster, task = straggling()
    copy = task.copy

    cluster.give_back(task.slave_id, [task.lease])
    cluster.step()

    assert (task.lease, task.slave_id, task.copy) == (copy.lease, copy.slave_id, None)
    assert sum(cluster.loads().values()) == 1


@pytest.mark.parametrize("how", ["cancelled", "ended", "finished"])
def test_both_attempts_are_killed_when_nobody_wants_them(how):
    cluster, task = straggling()
    leases = {task.lease, task.copy.lease}

    if how == "cancelled":
        cluster.core.cancel_tasks(task.system, [task.number])
    elif how == "ended":
        cluster.end_system(task.system)
    else:
        cluster.core.finish(task, None)
    cluster.hear()

    assert {lease for killed in cluster.killed.values() for lease in killed} == leases
    assert task.system.leased == 0
    assert all(not slave.leases for slave in cluster.core.slaves.values())


def test_a_slave_that_had_both_attempts_takes_both_with_it():
    cluster, task = straggling(slaves=("north",), workers=2)

    cluster.leave("north")
    cluster.join("south")
    cluster.step()

    assert task.slave_id == "south"
    assert task.system.leased == 1


def test_resources_are_given_back_by_both():
    cluster, task = straggling(requires={"gpu": 1.0}, resources={"gpu": 1.0})
    assert [slave.free["gpu"] for slave in cluster.core.slaves.values()] == [0.0, 0.0]

    cluster.end(task)

    assert [slave.free["gpu"] for slave in cluster.core.slaves.values()] == [1.0, 1.0]


def test_a_task_is_copied_once_only():
    cluster, task = straggling()
    cluster.end_copy(task, Outcome.LOST)

    for _ in range(5):
        cluster.step(5.0)

    assert task.copy is None
    assert task.lease


@pytest.mark.parametrize("amount", [1.0, 9.0], ids=["taken", "offered by nobody"])
def test_tasks_that_waited_aside_and_were_cancelled_keep_no_straggler_from_its_copy(amount):
    cluster = Cluster()
    cluster.join("north", resources={"gpu": 1.0})
    classes = [task_class(0), task_class(1, requires={"gpu": 1.0}), task_class(2, requires={"gpu": amount})]
    system = cluster.system(classes=classes, speculate=True)
    cluster.emit(system, 1, 1)
    cluster.step()
    cluster.join("south", "west")
    measured(cluster, system)
    (waits,) = cluster.emit(system, 1, 2)
    (runs,) = cluster.emit(system)
    cluster.step()
    assert runs.lease
    assert not waits.lease

    cluster.core.cancel_tasks(system, [waits.number])
    cluster.step(SPECULATE_AFTER + 0.1)

    assert runs.copy is not None


def test_no_straggler_is_copied_while_tasks_of_its_system_are_queued():
    cluster = Cluster()
    cluster.join("north", "south")
    system = cluster.system(classes=[task_class(0), task_class(1, requires={"gpu": 1.0})], speculate=True)
    measured(cluster, system)
    (runs,) = cluster.emit(system)
    cluster.emit(system, 1, 1)
    cluster.step()

    cluster.step(SPECULATE_AFTER + 0.1)

    assert runs.copy is None


def test_a_task_that_waits_for_others_is_no_straggler():
    cluster = Cluster()
    cluster.join("north", "south")
    system = cluster.system(speculate=True)
    measured(cluster, system)
    (runs,) = cluster.emit(system)
    cluster.step()
    cluster.core.waits(runs.slave_id, runs.lease, "task system-2:0")

    cluster.step(SPECULATE_AFTER + 0.1)

    assert runs.copy is None
    cluster.core.waits(runs.slave_id, runs.lease, "")
    cluster.step(0.1)
    assert runs.copy is not None
