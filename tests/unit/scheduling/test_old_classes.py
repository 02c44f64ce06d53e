"""Classes of which an application has no tasks any more are forgotten, and no others."""

from __future__ import annotations

from concurro.ids import SystemState
from concurro.scheduling.old_classes import forget_classes
from tests.unit.scheduling.cluster import task_class


def start(cluster, *priorities):
    return cluster.system(
        1, classes=[task_class(number, "Same", priority=one) for number, one in enumerate(priorities)]
    )


def forget(cluster, system, numbers):
    forget_classes(cluster.core.scheduler, system, numbers)


def queues(cluster, system):
    return set(cluster.core.scheduler._placing.queue.systems[system.number].by_class)


def end_all(cluster):
    for slave in list(cluster.core.slaves.values()):
        for task in list(slave.leases.values()):
            cluster.end(task, seconds=1.0)


def test_classes_without_tasks_go_and_so_do_their_queues(cluster):
    cluster.join("north", workers=3)
    system = start(cluster, 0, 1, 2)
    for number in range(3):
        cluster.emit(system, 1, number)
    cluster.step()
    end_all(cluster)

    forget(cluster, system, [0, 1])

    assert set(system.classes) == {2}
    assert queues(cluster, system) <= {2}


def test_a_class_that_open_tasks_have_stays(cluster):
    cluster.join("north", workers=1)
    system = start(cluster, 0, 1)
    leased, waiting = *cluster.emit(system, 1, 0), *cluster.emit(system, 1, 1)
    cluster.step()
    assert leased.lease or waiting.lease

    forget(cluster, system, [0, 1])
    cluster.step()
    end_all(cluster)
    cluster.step()
    end_all(cluster)

    assert set(system.classes) == {0, 1}
    assert not system.open


def test_the_next_class_that_is_the_same_to_a_slave_is_known_there(cluster):
    cluster.join("north", workers=1)
    system = start(cluster, 0, 1)
    cluster.emit(system, 1, 0)
    cluster.step()
    end_all(cluster)

    forget(cluster, system, [0])
    cluster.emit(system, 1, 1)
    cluster.step()

    assert cluster.classes["north"] == [(1, 0)]
    assert len(cluster.held["north"]) == 1


def test_a_slave_that_knows_forgotten_classes_only_is_told_of_the_end_of_their_system(cluster):
    cluster.join("north", workers=1)
    system = start(cluster, 0)
    cluster.emit(system, 1, 0)
    cluster.step()
    end_all(cluster)
    forget(cluster, system, [0])
    assert system.kinds == {}

    cluster.core.end_system(system, SystemState.CANCELLED)
    cluster.hear()

    assert cluster.forgotten["north"] == [1]


def test_the_share_of_a_system_is_counted_on_after_its_classes_went(cluster):
    cluster.join("north", workers=1)
    system, other = start(cluster, 0, 1, 2), cluster.system(2)
    for number in range(2):
        cluster.emit(system, 1, number)
    for _ in range(3):
        cluster.step(1.0)
        end_all(cluster)

    forget(cluster, system, [0, 1])
    cluster.emit(system, 3, 2)
    cluster.emit(other, 3)
    for _ in range(10):
        cluster.step(1.0)
        end_all(cluster)

    assert (system.done, other.done) == (5, 3)
    assert cluster.core.scheduler._placing.queue.systems[1].backlog == 0
