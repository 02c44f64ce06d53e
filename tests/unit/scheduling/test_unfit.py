"""A task that nobody can run is told to its application, once."""

from __future__ import annotations

from concurro.scheduling.unfit import WARN_AFTER
from tests.unit.scheduling.cluster import task_class


def waiting(cluster, count=1):
    """Let tasks wait for a resource that the one slave does not offer."""
    cluster.join("north", resources={"disk": 1.0})
    system = cluster.system(classes=[task_class(name="Render", requires={"gpu": 2.0})])
    cluster.emit(system, count)
    cluster.step()
    return system


def test_it_is_said_after_a_while_although_nothing_happens(cluster):
    waiting(cluster)
    assert cluster.core.wake_at == cluster.now + WARN_AFTER

    cluster.step(WARN_AFTER)

    assert cluster.warnings == [
        (1, "task system-1:0 (Render) waits: no slave offers gpu=2; 1 connected, they offer disk")
    ]


def test_it_is_said_while_every_worker_is_busy(cluster):
    cluster.join("north", resources={"disk": 1.0})
    system = cluster.system(classes=[task_class(0, requires={"disk": 1.0}), task_class(1, requires={"gpu": 1.0})])
    cluster.emit(system, 2, 0)
    cluster.step()
    cluster.emit(system, 1, 1)
    cluster.step()

    cluster.step(WARN_AFTER)

    assert [text.partition(" waits")[0] for _, text in cluster.warnings] == ["task system-1:2 (Class1)"]


def test_it_is_said_of_tasks_that_wait_for_a_worker_when_the_slave_they_need_leaves(cluster):
    cluster.join("north", resources={"disk": 1.0})
    cluster.join("south", resources={"gpu": 1.0})
    system = cluster.system(classes=[task_class(0, requires={"disk": 1.0}), task_class(1, requires={"gpu": 1.0})])
    cluster.emit(system, 2, 0)
    cluster.emit(system, 2, 1)
    cluster.step()
    cluster.leave("south")
    cluster.step()

    cluster.step(WARN_AFTER)

    assert [text.partition(" and")[0] for _, text in cluster.warnings] == ["task system-1:2 (Class1)"]


def test_it_is_said_once_for_all_tasks_of_a_class(cluster):
    waiting(cluster, 3)

    for _ in range(5):
        cluster.step(WARN_AFTER)

    assert [text.partition(":")[0] for _, text in cluster.warnings] == ["task system-1"]
    assert "and 2 more wait: no slave offers" in cluster.warnings[0][1]


def test_it_is_said_again_when_the_task_could_run_meanwhile(cluster):
    waiting(cluster, 3)
    cluster.step(WARN_AFTER)
    cluster.join("south", resources={"gpu": 2.0})
    cluster.step()
    cluster.leave("south")
    cluster.step()

    cluster.step(WARN_AFTER)

    assert len(cluster.warnings) == 2


def test_nothing_is_said_of_a_task_that_runs_in_time(cluster):
    waiting(cluster)
    cluster.join("south", resources={"gpu": 2.0})
    cluster.step()

    cluster.step(WARN_AFTER)

    assert cluster.warnings == []


def test_nothing_is_said_of_tasks_that_were_cancelled(cluster):
    system = waiting(cluster)
    cluster.core.cancel_tasks(system, [0])

    cluster.step(WARN_AFTER)

    assert cluster.warnings == []
    assert cluster.core.wake_at is None


def test_nothing_is_said_of_a_system_that_ended(cluster):
    system = waiting(cluster)
    cluster.end_system(system)

    cluster.step(WARN_AFTER)

    assert cluster.warnings == []


def test_it_is_said_of_a_task_that_came_after_others_of_its_class_were_cancelled(cluster):
    system = waiting(cluster)
    cluster.core.cancel_tasks(system, [0])
    cluster.step(WARN_AFTER)
    cluster.emit(system)
    cluster.step()

    cluster.step(WARN_AFTER)

    assert [text.partition(" (")[0] for _, text in cluster.warnings] == ["task system-1:1"]
