"""Whom `throughput` expects to be done first, and when it would rather wait."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome
from concurro.scheduling.patience import MOST_WAITING
from concurro.scheduling.throughput import Throughput
from tests.unit.scheduling.cluster import Cluster
from tests.unit.scheduling.strategy_driver import Field


@pytest.fixture
def field():
    return Field(Throughput())


def test_prefers_the_slave_that_ran_this_class_fastest(field):
    field.join("slow", durations={"Square": 4.0})
    field.join("fast", durations={"Square": 1.0})

    assert field.choose(field.task()) == "fast"


def test_knows_a_fast_slave_by_other_classes_of_tasks(field):
    (slow,) = field.join("slow", durations={"Cube": 8.0, "Root": 0.4})
    field.join("fast", durations={"Cube": 2.0, "Root": 0.1})
    slow.finished += 1
    field.rate("slow")

    chosen = field.choose(field.task(field.task_class(1, "Square", mean=1.0)))

    assert chosen == "fast"
    assert field.strategy.slowness("slow") > 1.0 > field.strategy.slowness("fast")


def test_a_class_that_only_one_slave_ran_says_nothing_about_its_speed(field):
    field.join("long", durations={"Long": 1000.0})
    field.join("short", durations={"Short": 0.001})

    assert field.strategy.slowness("long") == field.strategy.slowness("short") == 1.0


def test_a_slave_that_was_never_measured_goes_first_but_with_one_task(field):
    field.join("fast", workers=2, durations={"Square": 1.0})
    field.join("new", workers=2)

    first = field.choose(field.task())
    field.hold("new", 1)

    assert first == "new"
    assert field.choose(field.task()) == "fast"


def test_counts_what_a_slave_holds_and_its_workers(field):
    square = field.task_class(0, "Square", mean=0.01)
    field.join("fast", workers=1, durations={"Square": 0.010})
    field.join("wide", workers=4, durations={"Square": 0.015})

    for _ in range(110):
        field.hold(field.choose(field.task(square)), 1, square)

    held = {slave.id: len(slave.leases) for slave in field.host.slaves.values()}
    assert held == {"fast": pytest.approx(30, abs=2), "wide": pytest.approx(80, abs=2)}


def test_spreads_over_slaves_of_about_equal_speed(field):
    names = ["a", "b", "c", "d"]
    for name, duration in zip(names, (1.0, 1.01, 0.99, 1.02), strict=True):
        field.join(name, workers=2, durations={"Square": duration})

    for _ in names:
        field.hold(field.choose(field.task()), 1)

    assert [len(slave.leases) for slave in field.host.slaves.values()] == [1, 1, 1, 1]


def test_measures_again_as_a_slave_gets_slower(field):
    (aging,) = field.join("aging", durations={"Square": 1.0})
    field.join("steady", durations={"Square": 2.0})
    aging.durations["Square"] = 8.0
    aging.finished += 1
    field.rate("aging")

    assert field.choose(field.task()) == "steady"


def test_forgets_the_speed_of_a_slave_that_left_and_came_back(field):
    field.join("other", durations={"Square": 2.0})
    field.join("north", durations={"Square": 1.0})
    field.leave("north")

    field.join("north")

    assert field.strategy.slowness("north") == 1.0


def late_in_a_job(field, queued=1, mean=1.0):
    """Let a fast slave be busy, a slow one free; return a task that is queued."""
    square = field.task_class(0, "Square", mean=mean)
    field.join("fast", durations={"Square": mean})
    field.join("slow", durations={"Square": mean * 10})
    field.rate("fast")
    field.hold("fast", 1, square)
    tasks = [field.task(square) for _ in range(queued)]
    return tasks[0]


def test_the_last_task_waits_for_a_fast_slave_that_is_busy(field):
    task = late_in_a_job(field)

    assert field.choose(task, {"slow": None}) is None


def test_does_not_wait_while_the_fast_one_has_enough_to_do(field):
    task = late_in_a_job(field, queued=30)

    assert field.choose(task, {"slow": None}) == "slow"


def test_does_not_wait_when_it_was_told_not_to(field):
    field.strategy.wait = False
    task = late_in_a_job(field)

    assert field.choose(task, {"slow": None}) == "slow"


def test_waits_for_nobody_who_is_idle_as_he_may_not_be_chosen_for_another_reason(field):
    task = late_in_a_job(field)
    field.host.slaves["fast"].leases.clear()
    field.rate("fast")

    assert field.choose(task, {"slow": None}) == "slow"


@pytest.mark.parametrize("why", ["sick", "draining", "resources"])
def test_waits_for_nobody_who_could_never_take_it(field, why):
    task = late_in_a_job(field)
    fast = field.host.slaves["fast"]
    if why == "resources":
        task.task_class.requires = {"gpu": 1.0}
    else:
        setattr(fast, why, "its workers die" if why == "sick" else True)

    assert field.choose(task, {"slow": None}) == "slow"


def test_does_not_wait_for_a_class_that_was_never_measured(field):
    late_in_a_job(field)

    task = field.task(field.task_class(7, "Unknown"))

    assert field.choose(task, {"slow": None}) == "slow"


def test_does_not_wait_for_tasks_of_milliseconds(field):
    task = late_in_a_job(field, mean=0.001)

    assert field.choose(task, {"slow": None}) == "slow"


def test_does_not_wait_for_a_fast_slave_whose_task_takes_longer_and_longer(field):
    task = late_in_a_job(field)
    field.host.time = 500.0

    assert field.choose(task, {"slow": None}) == "slow"


def test_waits_no_longer_than_it_would_have_run_and_says_when_to_ask_again(field):
    task = late_in_a_job(field)
    assert field.choose(task, {"slow": None}) is None
    wake_at = field.strategy.wake_at

    answers = []
    for second in range(1, 13):
        field.host.time = float(second)
        field.host.slaves["fast"].leases.clear()
        field.hold("fast", 1)  # somebody else is always there first
        for other in [other for other in field.system.open.values() if other is not task and not other.lease]:
            del field.system.open[other.number]
        answers.append(field.choose(task, {"slow": None}))
        field.system.leased = len(field.system.open) - 1

    assert wake_at == 10.0
    assert answers == [None] * 9 + ["slow"] * 3
    assert field.strategy.wake_at is None


def test_remembers_only_so_many_that_wait(field):
    late_in_a_job(field)
    square = field.system.classes[0]
    field.host.slaves["slow"].durations["Square"] = 1e9

    waited = sum(field.choose(field.task(square), {"slow": None}) is None for _ in range(MOST_WAITING + 50))

    assert waited == MOST_WAITING


def test_who_was_placed_makes_room_for_others_to_wait(field):
    late_in_a_job(field)
    square = field.system.classes[0]
    field.host.slaves["slow"].durations["Square"] = 1e9
    for _ in range(MOST_WAITING + 50):
        task = field.task(square)
        assert field.choose(task, {"slow": None}) is None
        field.host.lease(task, "slow")
        field.host.end_lease(task, Outcome.DONE)
        del field.system.open[task.number]
        field.system.open[-task.number - 1] = task  # keeps the numbers of later tasks apart
        task.system.leased += 1


def run_on_two_slaves(strategy, count, slow=10.0):
    """Let a slave of one second per task and a slow one work; return cluster and makespan [s]."""
    cluster = Cluster(strategy=strategy)
    cluster.join("slow", "fast")
    seconds = {"slow": slow, "fast": 1.0}
    system = cluster.system()
    cluster.emit(system, count)
    started = cluster.now
    cluster.step()
    while system.open:
        running = [task for task in system.open.values() if task.lease]
        ends = {task.leased_at + seconds[task.slave_id]: task for task in running}
        wake_at = cluster.core.wake_at
        moment = min([*ends, *([] if wake_at is None else [wake_at])])
        if moment in ends:
            cluster.now = moment
            cluster.core.begin(moment)
            cluster.end(ends[moment], seconds=seconds[ends[moment].slave_id])
        cluster.step(moment - cluster.now)
    return cluster, cluster.now - started


def test_a_job_ends_earlier_than_with_least_loaded_on_slaves_of_unequal_speed():
    _, least_loaded = run_on_two_slaves("least-loaded", 15)
    cluster, throughput = run_on_two_slaves("throughput", 15)

    assert throughput < least_loaded
    assert cluster.core.slaves["fast"].finished == 14


def test_a_scheduler_asks_again_when_a_task_has_waited_long_enough():
    cluster = Cluster(strategy="throughput")
    cluster.join("slow", "fast")
    system = cluster.system()
    one, other = cluster.emit(system, 2)
    cluster.step()
    tasks = {one.slave_id: one, other.slave_id: other}
    cluster.end(tasks["slow"], seconds=10.0)
    cluster.end(tasks["fast"], seconds=1.0)
    first, second = cluster.emit(system, 2)
    cluster.step()
    waiting = second if first.slave_id == "fast" else first
    assert cluster.loads() == {"slow": 0, "fast": 1}

    cluster.step(cluster.core.wake_at - cluster.now)

    assert waiting.slave_id == "slow"
