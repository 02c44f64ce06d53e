"""Resources: fractions, who waits for what, and who may not be overtaken for ever."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurro.ids import Outcome
from concurro.records import TaskRecord
from concurro.scheduling.parking import RESERVE_AFTER
from concurro.scheduling.resources import covers, give, take
from tests.unit.scheduling.cluster import Cluster, task_class


@pytest.mark.parametrize(("amount", "count"), [(0.1, 10), (1 / 3, 3), (1 / 7, 7), (0.25, 4), (0.3, 3)])
def test_fractions_fill_a_slave_exactly(cluster, amount, count):
    cluster.join("north", workers=20, resources={"gpu": 1.0})
    cluster.emit(cluster.system(classes=[task_class(requires={"gpu": amount})]), 20)

    cluster.step()

    assert cluster.loads() == {"north": count}


@given(st.lists(st.sampled_from([0.1, 1 / 3, 0.7, 1 / 7, 2.0]), max_size=200), st.randoms(use_true_random=False))
def test_what_is_free_does_not_drift(amounts, random):
    free = {"gpu": 5.0}
    taken = []

    for amount in amounts:
        if taken and random.random() < 0.5:
            give(free, taken.pop(random.randrange(len(taken))))
        elif covers(free, {"gpu": amount}):
            take(free, {"gpu": amount})
            taken.append({"gpu": amount})
    for requires in taken:
        give(free, requires)

    assert free == {"gpu": 5.0}


def test_a_task_that_waits_for_a_resource_runs_when_it_is_free(cluster):
    cluster.join("plain", workers=4)
    cluster.join("north", workers=4, resources={"gpu": 1.0})
    first, second = cluster.emit(cluster.system(classes=[task_class(requires={"gpu": 1.0})]), 2)
    cluster.step()
    assert not second.lease

    cluster.end(first)
    cluster.step()

    assert second.slave_id == "north"


def test_a_task_that_nobody_could_run_runs_on_a_slave_that_joins(cluster):
    cluster.join("plain")
    (task,) = cluster.emit(cluster.system(classes=[task_class(requires={"gpu": 2.0})]))
    cluster.step()

    cluster.join("small", resources={"gpu": 1.0})
    cluster.step()
    assert not task.lease
    cluster.core.slave_changed("small", 1, "", {"gpu": 2.0})
    cluster.step()

    assert task.slave_id == "small"


def test_a_task_waits_again_when_the_only_slave_that_offers_its_resource_left(cluster):
    cluster.join("north", resources={"gpu": 1.0})
    first, second = cluster.emit(cluster.system(classes=[task_class(requires={"gpu": 1.0})]), 2)
    cluster.step()
    cluster.leave("north")
    cluster.step()

    cluster.join("south", resources={"gpu": 1.0})
    cluster.step()

    assert [bool(first.lease), bool(second.lease)] == [True, False]


def test_smaller_tasks_use_what_a_large_one_cannot(cluster):
    cluster.join("north", workers=4, resources={"gpu": 2.0})
    system = cluster.system(classes=[task_class(0, requires={"gpu": 1.0}), task_class(1, requires={"gpu": 2.0})])
    cluster.emit(system, 1, 0)
    cluster.step()
    cluster.emit(system, 1, 1)
    (small,) = cluster.emit(system, 1, 0)

    cluster.step()

    assert small.lease


@pytest.mark.parametrize("same_system", [True, False])
def test_a_large_task_is_not_overtaken_for_ever(cluster, same_system):
    cluster.join("north", workers=4, resources={"gpu": 2.0})
    cluster.join("south", workers=4, resources={"gpu": 1.0})
    classes = [task_class(0, requires={"gpu": 1.0}), task_class(1, requires={"gpu": 2.0})]
    system = cluster.system(1, classes=classes)
    other = system if same_system else cluster.system(2, classes=classes)
    cluster.emit(other, 3, 0)
    cluster.step()
    (large,) = cluster.emit(system, 1, 1)
    waited = 0.0

    while not large.lease and waited < 60:
        cluster.emit(other, 4, 0)
        cluster.step(0.3)
        waited += 0.3
        leases = [task for slave in cluster.core.slaves.values() for task in slave.leases.values()]
        oldest = min((task for task in leases if task is not large), key=lambda task: task.lease, default=None)
        if oldest is not None:
            cluster.end(oldest, seconds=0.9)

    assert large.slave_id == "north"
    assert RESERVE_AFTER < waited < 10


def test_nothing_is_reserved_for_a_task_that_was_cancelled(cluster):
    cluster.join("north", workers=4, resources={"gpu": 2.0})
    system = cluster.system(classes=[task_class(0, requires={"gpu": 1.0}), task_class(1, requires={"gpu": 2.0})])
    cluster.emit(system, 2, 0)
    cluster.step()
    (large,) = cluster.emit(system, 1, 1)
    for _ in range(20):
        cluster.emit(system, 1, 0)
        cluster.step(0.3)
        if cluster.core.slaves["north"].leases:
            cluster.end(next(iter(cluster.core.slaves["north"].leases.values())), seconds=0.6)
        if cluster.core.scheduler._placing.parking.reserved:
            break
    assert cluster.core.scheduler._placing.parking.reserved

    cluster.core.cancel_tasks(system, [large.number])
    for _ in range(3):
        cluster.step(0.3)

    assert cluster.loads() == {"north": 2}


def test_nothing_is_reserved_for_a_task_of_a_system_that_ended(cluster):
    cluster.join("north", workers=4, resources={"gpu": 2.0})
    ended, other = (
        cluster.system(number, classes=[task_class(0, requires={"gpu": 1.0}), task_class(1, requires={"gpu": 2.0})])
        for number in (1, 2)
    )
    cluster.emit(other, 2, 0)
    cluster.step()
    cluster.emit(ended, 1, 1)
    for _ in range(30):
        cluster.emit(other, 1, 0)
        cluster.step(0.3)
        if cluster.core.slaves["north"].leases:
            cluster.end(next(iter(cluster.core.slaves["north"].leases.values())), seconds=0.6)
        if cluster.core.scheduler._placing.parking.reserved:
            break
    assert cluster.core.scheduler._placing.parking.reserved

    cluster.end_system(ended)
    for _ in range(2):
        cluster.step(0.3)

    assert cluster.loads() == {"north": 2}


def test_a_slave_where_a_task_waits_for_a_worker_gets_nothing_ahead(cluster):
    cluster.join("north", workers=1, resources={"gpu": 1.0})
    short, needy = cluster.system(1), cluster.system(2, classes=[task_class(requires={"gpu": 1.0})])
    cluster.measure(short, 1e-4)
    cluster.emit(short, 5000)
    cluster.step()
    (task,) = cluster.emit(needy)

    for _ in range(200):
        cluster.step(0.001)
        held = list(cluster.core.slaves["north"].leases.values())
        if task.lease:
            break
        for one in held[:10]:
            cluster.end(one, seconds=1e-4)

    assert task.lease
    assert short.open


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_many_different_needs_are_all_served(data):
    cluster = Cluster()
    amounts = data.draw(st.lists(st.sampled_from([0.1, 0.3, 0.5, 1.0, 1.7, 2.0]), min_size=1, max_size=20))
    names = data.draw(st.lists(st.sampled_from(["gpu", "disk"]), min_size=len(amounts), max_size=len(amounts)))
    cluster.join("a", "b", workers=2, resources={"gpu": 2.0, "disk": 2.0})
    classes = [
        task_class(number, requires={name: amount})
        for number, (name, amount) in enumerate(zip(names, amounts, strict=True))
    ]
    system = cluster.system(classes=classes)
    for number in range(len(classes)):
        cluster.emit(system, 2, number)

    for _ in range(200):
        cluster.step(0.3)
        for slave in cluster.core.slaves.values():
            assert slave.free == pytest.approx(
                {
                    name: total - sum(task.requires.get(name, 0.0) for task in slave.leases.values())
                    for name, total in slave.resources.items()
                }
            )
        leases = [task for slave in cluster.core.slaves.values() for task in slave.leases.values()]
        if leases:
            cluster.end(min(leases, key=lambda task: task.lease), Outcome.DONE, 0.3)

    assert not system.open


def test_tasks_that_waited_for_a_resource_are_let_go_with_their_system(cluster):
    cluster.join("north", resources={"gpu": 1.0})
    system = cluster.system(4711, classes=[task_class(requires={"gpu": 1.0})])
    cluster.emit(system, 10)
    cluster.step()

    cluster.end_system(system)
    cluster.step()

    gc.collect()
    assert [one for one in gc.get_objects() if isinstance(one, TaskRecord) and one.system is system] == []
