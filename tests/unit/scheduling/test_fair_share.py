"""Several systems at once: shares by weight, nobody starves, nobody saves up."""

from __future__ import annotations

import pytest

from tests.unit.scheduling.cluster import MICROSECOND, task_class


def run_for(cluster, turns, seconds, refill=()):
    """Let every leased task end, turn by turn; return leases per system."""
    counts = {}
    for _ in range(turns):
        for system in refill:
            if len(system.open) < 20:
                cluster.emit(system, 20)
        cluster.step(seconds)
        for slave in list(cluster.core.slaves.values()):
            for task in list(slave.leases.values()):
                counts[task.system.number] = counts.get(task.system.number, 0) + 1
                cluster.end(task, seconds=seconds)
    return counts


@pytest.mark.parametrize(("weight", "ratio"), [(1.0, 1.0), (2.0, 2.0), (5.0, 5.0), (0.5, 0.5)])
def test_systems_are_served_by_their_weights(cluster, weight, ratio):
    cluster.join("north", workers=2)
    light, heavy = cluster.system(1), cluster.system(2, weight=weight)

    counts = run_for(cluster, 300, 1.0, refill=[light, heavy])

    assert counts[2] / counts[1] == pytest.approx(ratio, rel=0.1)


def test_shares_are_of_time_not_of_tasks(cluster):
    cluster.join("north", workers=1)
    short, long = cluster.system(1), cluster.system(2)
    cluster.measure(short, 1.0)
    cluster.measure(long, 3.0)
    spent = {1: 0.0, 2: 0.0}

    for _ in range(200):
        for system in (short, long):
            if len(system.open) < 5:
                cluster.emit(system, 5)
        cluster.step(1.0)
        (task,) = cluster.core.slaves["north"].leases.values()
        seconds = 1.0 if task.system is short else 3.0
        spent[task.system.number] += seconds
        cluster.end(task, seconds=seconds)

    assert spent[1] == pytest.approx(spent[2], rel=0.1)


def test_a_system_that_was_idle_cannot_save_up(cluster):
    cluster.join("north", workers=1)
    busy, idle = cluster.system(1), cluster.system(2)
    run_for(cluster, 5, 1.0, refill=[busy, idle])
    cluster.core.cancel_tasks(idle, list(idle.open))
    run_for(cluster, 200, 1.0, refill=[busy])

    counts = run_for(cluster, 40, 1.0, refill=[busy, idle])

    assert counts[1] == pytest.approx(20, abs=2)


def test_a_new_system_does_not_starve_one_that_ran_for_long(cluster):
    cluster.join("north", workers=1)
    old = cluster.system(1)
    for _ in range(200):  # one task at a time: the queue of the old system is empty in between
        (task,) = cluster.emit(old)
        cluster.step(1.0)
        cluster.end(task)
    (running,) = cluster.emit(old)
    cluster.step(1.0)
    new = cluster.system(2)
    cluster.emit(new, 20)
    cluster.end(running)

    counts = run_for(cluster, 40, 1.0, refill=[old, new])

    assert counts[1] == pytest.approx(20, abs=2)


def test_long_tasks_are_not_starved_by_short_ones_sent_ahead(cluster):
    cluster.join("north", workers=2)
    short, long = cluster.system(1), cluster.system(2)
    cluster.measure(short, MICROSECOND)
    cluster.emit(short, 50_000)
    cluster.step()
    cluster.emit(long, 2)

    for _ in range(200):
        cluster.step(0.001)
        held = [task for task in cluster.core.slaves["north"].leases.values() if task.system is short]
        for task in held[:50]:
            cluster.end(task, seconds=MICROSECOND)
        if long.leased:
            break

    assert long.leased > 0
    assert short.open


def test_an_urgent_class_is_not_starved_by_short_tasks_of_its_own_system(cluster):
    cluster.join("north", workers=2)
    system = cluster.system(classes=[task_class(0), task_class(1, priority=9)])
    cluster.measure(system, MICROSECOND)
    cluster.emit(system, 50_000)
    cluster.step()
    (urgent,) = cluster.emit(system, 1, 1)

    for _ in range(200):
        cluster.step(0.001)
        held = [task for task in cluster.core.slaves["north"].leases.values() if task is not urgent]
        for task in held[:50]:
            cluster.end(task, seconds=MICROSECOND)
        if urgent.lease:
            break

    assert urgent.lease


def test_a_task_that_nobody_can_run_does_not_stop_sending_ahead(cluster):
    cluster.join("north", workers=2)
    short, waiting = cluster.system(1), cluster.system(2, classes=[task_class(requires={"gpu": 1.0})])
    cluster.measure(short, MICROSECOND)
    cluster.emit(waiting, 1)
    cluster.emit(short, 5000)

    cluster.step()

    assert short.leased > 1000


def test_a_system_that_ended_leaves_its_share_to_the_others(cluster):
    cluster.join("north", workers=2)
    first, second = cluster.system(1), cluster.system(2)
    run_for(cluster, 20, 1.0, refill=[first, second])
    cluster.end_system(first)

    counts = run_for(cluster, 20, 1.0, refill=[second])

    assert counts == {2: 40}
