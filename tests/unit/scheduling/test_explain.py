"""Why a task is where it is: one sentence, and true."""

from __future__ import annotations

import pytest

from concurro.ids import MOST_ENDINGS, Outcome
from tests.unit.scheduling.cluster import task_class


def explain(cluster, number=0):
    return cluster.core.scheduler.explain(f"system-1:{number}")


def test_says_that_no_system_has_the_task(cluster):
    assert explain(cluster) == "No running system has a task system-1:0."


def test_says_that_a_task_is_to_come(cluster):
    system = cluster.system()

    assert explain(cluster, 5) == "Task system-1:5 was not emitted yet: so far the system has emitted no task."

    cluster.emit(system, 3)
    assert explain(cluster, 5) == (
        "Task system-1:5 was not emitted yet: so far the system has emitted 3 tasks, numbers 0 to 2."
    )


def test_says_how_a_task_ended(cluster):
    cluster.join("north", workers=3)
    system = cluster.system()
    done, failed, killed, queued = cluster.emit(system, 4)
    cluster.step()

    cluster.end(done)
    cluster.end(failed, Outcome.RAISED)
    cluster.core.cancel_tasks(system, [killed.number, queued.number])

    assert explain(cluster, 0) == "Task system-1:0 is done."
    assert explain(cluster, 1) == "Task system-1:1 failed in attempt 1 on slave north: ValueError: wrong."
    assert explain(cluster, 2) == "Task system-1:2 was cancelled in attempt 1 on slave north."
    assert explain(cluster, 3) == "Task system-1:3 was cancelled."


def test_says_that_how_one_of_many_failed_is_not_kept(cluster):
    cluster.join("north", workers=MOST_ENDINGS + 1)
    system = cluster.system()
    tasks = cluster.emit(system, MOST_ENDINGS + 1)
    cluster.step()

    for task in tasks:
        cluster.end(task, Outcome.RAISED)

    assert explain(cluster, MOST_ENDINGS) == ("Task system-1:100 has ended; the master no longer keeps how.")


def test_refuses_what_is_no_task_id(cluster):
    with pytest.raises(ValueError, match="is not a task id"):
        cluster.core.scheduler.explain("system-1")


def test_says_that_no_slave_is_connected(cluster):
    cluster.emit(cluster.system())

    assert explain(cluster) == "Task system-1:0 waits: no slave is connected."


def test_says_which_slave_has_the_task(cluster):
    cluster.join("north")
    cluster.emit(cluster.system())
    cluster.step()
    cluster.step(2.0)

    assert explain(cluster) == "Task system-1:0 is leased to slave north since 2.0 s."


def test_says_which_attempt_it_is(cluster):
    cluster.join("north")
    (task,) = cluster.emit(cluster.system())
    cluster.step()
    cluster.end(task, Outcome.LOST)
    cluster.step()

    assert (
        explain(cluster)
        == "Task system-1:0 is leased to slave north since 0.0 s, attempt 2; attempt 1 failed: ValueError: wrong."
    )


def test_says_what_no_slave_offers(cluster):
    cluster.join("north", resources={"disk": 1.0})
    cluster.emit(cluster.system(classes=[task_class(requires={"gpu": 2.0})]))

    assert explain(cluster) == "Task system-1:0 waits: no slave offers gpu=2; 1 connected, they offer disk."


def test_says_everything_that_no_slave_offers(cluster):
    cluster.join("north", resources={"disk": 1.0, "gpu": 2.0})
    cluster.emit(cluster.system(classes=[task_class(requires={"disk": 1.0, "gpu": 3.0, "tpu": 1.0})]))

    assert explain(cluster) == (
        "Task system-1:0 waits: no slave offers gpu=3 (the most is 2) nor tpu=1; 1 connected, they offer disk, gpu."
    )


def test_says_what_slaves_offer_but_none_of_them_together(cluster):
    cluster.join("north", resources={"gpu": 1.0})
    cluster.join("south", resources={"disk": 1.0})
    cluster.emit(cluster.system(classes=[task_class(requires={"disk": 1.0, "gpu": 1.0})]))

    assert "no slave offers disk=1, gpu=1 together; 2 connected" in explain(cluster)


def test_says_which_of_several_resources_is_taken(cluster):
    cluster.join("north", workers=4, resources={"gpu": 1.0, "disk": 2.0})
    cluster.emit(cluster.system(classes=[task_class(requires={"gpu": 1.0, "disk": 1.0})]), 2)
    cluster.step()

    assert explain(cluster, 1) == "Task system-1:1 waits: other tasks have taken the gpu=1 that it requires."


def test_says_that_resources_are_taken(cluster):
    cluster.join("north", workers=4, resources={"gpu": 1.0})
    cluster.emit(cluster.system(classes=[task_class(requires={"gpu": 1.0})]), 2)
    cluster.step()

    assert explain(cluster, 1) == "Task system-1:1 waits: other tasks have taken the gpu=1 that it requires."


def test_says_that_the_workers_are_busy_where_the_resource_is_free(cluster):
    cluster.join("north", resources={"gpu": 1.0})
    cluster.emit(cluster.system(1))
    cluster.step()
    cluster.join("south")
    cluster.emit(cluster.system(2, classes=[task_class(requires={"gpu": 1.0})]))
    cluster.step()

    said = cluster.core.scheduler.explain("system-2:0")

    assert said == "Task system-2:0 waits: every worker is busy where gpu=1, which it requires, is free."


def test_says_that_every_slave_is_sick_and_why(cluster):
    cluster.join("north")
    cluster.core.slave_changed("north", 1, "its workers die at once", {})
    cluster.emit(cluster.system())

    assert explain(cluster) == "Task system-1:0 waits: every slave is sick: north (its workers die at once)."


def test_says_that_slaves_are_leaving(cluster):
    cluster.join("north", "south")
    cluster.core.slave_changed("north", 1, "its workers die", {})
    cluster.core.slave_changed("south", 1, "", {}, draining=True)
    cluster.emit(cluster.system())

    assert explain(cluster) == (
        "Task system-1:0 waits: every slave is sick or leaving: north (its workers die), south (it is leaving)."
    )


def test_says_that_the_only_slave_with_the_resource_is_sick(cluster):
    cluster.join("plain")
    cluster.join("north", resources={"gpu": 1.0})
    cluster.core.slave_changed("north", 1, "its workers die", {"gpu": 1.0})
    cluster.emit(cluster.system(classes=[task_class(requires={"gpu": 1.0})]))

    assert explain(cluster) == (
        "Task system-1:0 waits: every slave that offers what it requires is sick: north (its workers die)."
    )


def test_counts_the_tasks_before_it_without_the_cancelled_ones(cluster):
    cluster.join("north")
    system = cluster.system(classes=[task_class(0), task_class(1, priority=3)])
    cluster.emit(system, 5, 0)
    cluster.step()
    cluster.emit(system, 2, 1)
    cluster.core.cancel_tasks(system, [1, 5])

    assert explain(cluster, 4) == (
        "Task system-1:4 is queued: every worker is busy, "
        "and 1 of higher priority and 2 older of the tasks of its system are before it."
    )


def test_says_that_a_task_is_queued_again(cluster):
    cluster.join("north")
    system = cluster.system(classes=[task_class(max_retries=3)])
    first, _ = cluster.emit(system, 2)
    cluster.step()

    cluster.end(first, Outcome.RAISED)

    assert explain(cluster) == (
        "Task system-1:0 is queued again after attempt 1: a worker is free, "
        "and none of the tasks of its system are before it; attempt 1 failed: ValueError: wrong."
    )
    assert explain(cluster, 1) == (
        "Task system-1:1 is queued: a worker is free, and 1 older of the tasks of its system is before it."
    )


def test_says_that_a_task_was_sent_ahead_and_is_asked_back(cluster):
    cluster.join("north")
    system = cluster.system()
    cluster.measure(system, 1e-6)
    cluster.emit(system, 20)
    cluster.step()
    sent = explain(cluster, 19)
    cluster.join("south")
    cluster.step()

    cluster.step(1.0)

    assert sent == "Task system-1:19 was sent ahead to slave north 0.0 s ago, behind what its workers have."
    assert explain(cluster, 19) == (
        "Task system-1:19 was sent ahead to slave north 1.0 s ago, behind what its workers have, "
        "and is asked back for a worker that is free."
    )


def test_says_that_a_copy_runs(cluster):
    cluster.join("north", "south")
    (task,) = cluster.emit(cluster.system())
    cluster.step()
    cluster.now += 3.0
    cluster.core.begin(cluster.now)
    other = "south" if task.slave_id == "north" else "north"

    cluster.core.lease_copy(task, other)

    assert explain(cluster) == (
        f"Task system-1:0 is leased to slave {task.slave_id} since 3.0 s, "
        f"with a copy, attempt 2, on slave {other} since 0.0 s."
    )


def test_names_the_system_that_is_served_first(cluster):
    cluster.join("north")
    greedy, modest = cluster.system(1), cluster.system(2)
    cluster.emit(greedy, 3)
    cluster.step()
    cluster.end(greedy.open[0], seconds=5.0)
    cluster.step()
    cluster.emit(modest, 2)
    cluster.step()

    assert explain(cluster, 2).endswith(
        "before it; system system-2 (Sum) is served first, as it got less for the weight."
    )


def test_says_for_whom_a_slave_is_kept(cluster):
    cluster.join("north", workers=4, resources={"gpu": 2.0})
    system = cluster.system(classes=[task_class(0, requires={"gpu": 1.0}), task_class(1, requires={"gpu": 2.0})])
    cluster.emit(system, 2, 0)
    cluster.step()
    cluster.emit(system, 1, 1)
    for _ in range(30):
        cluster.emit(system, 1, 0)
        cluster.step(0.3)
        if "kept" in explain(cluster, 2):
            break
        cluster.end(next(iter(cluster.core.slaves["north"].leases.values())), seconds=0.6)
    cluster.step()
    waiting = max(system.open)

    assert explain(cluster, 2) == (
        "Task system-1:2 waits: other tasks have taken the gpu=2 that it requires; slave north is kept for it."
    )
    assert explain(cluster, waiting) == (
        f"Task system-1:{waiting} waits: "
        "slave north is kept for task system-1:2, which requires more and waits for longer."
    )
