"""Which slave gets a task, and how many are sent ahead."""

from __future__ import annotations

import logging

import pytest

from concurro.ids import Outcome
from concurro.interfaces import ITaskScheduleStrategy, implementer
from concurro.kernel import Component
from concurro.scheduling.depth import PREFETCH_LIMIT, burst_size, decayed_duration, lease_depth
from concurro.scheduling.rated import RatedScheduler
from tests.unit.scheduling.cluster import MICROSECOND, Cluster, task_class


def test_least_loaded_spreads_evenly_over_slaves_of_equal_size(cluster):
    cluster.join("a", "b", "c", workers=4)
    cluster.emit(cluster.system(), 9)

    cluster.step()

    assert cluster.loads() == {"a": 3, "b": 3, "c": 3}


def test_least_loaded_counts_tasks_per_worker(cluster):
    cluster.join("small", workers=2)
    cluster.join("large", workers=6)
    cluster.emit(cluster.system(), 4)

    cluster.step()

    assert cluster.loads() == {"small": 1, "large": 3}


def test_round_robin_takes_the_slaves_in_turn_whatever_their_size():
    cluster = Cluster(strategy="round-robin")
    cluster.join("a", workers=2)
    cluster.join("b", workers=8)
    cluster.join("c", workers=2)
    tasks = cluster.emit(cluster.system(), 6)

    cluster.step()

    assert [task.slave_id for task in tasks] == ["a", "b", "c", "a", "b", "c"]


def test_round_robin_passes_over_a_slave_that_is_full():
    cluster = Cluster(strategy="round-robin")
    cluster.join("a", workers=1)
    cluster.join("b", workers=3)
    tasks = cluster.emit(cluster.system(), 4)

    cluster.step()

    assert [task.slave_id for task in tasks] == ["a", "b", "b", "b"]


@pytest.mark.parametrize("strategy", ["least-loaded", "round-robin"])
def test_a_slave_that_left_is_chosen_no_more(strategy):
    cluster = Cluster(strategy=strategy)
    cluster.join("a", "b", workers=4)
    cluster.emit(cluster.system(), 2)
    cluster.step()

    cluster.leave("a")
    cluster.step()

    assert cluster.loads() == {"b": 2}


@pytest.mark.parametrize("strategy", ["least-loaded", "round-robin"])
def test_a_strategy_keeps_no_trace_of_slaves_that_came_and_went(strategy):
    cluster = Cluster(strategy=strategy)
    for number in range(500):
        cluster.join(f"slave-{number}")
        cluster.step()
        cluster.leave(f"slave-{number}")
    cluster.join("last")
    cluster.emit(cluster.system(), 1)

    cluster.step()

    tables = [value for value in vars(cluster.core.scheduler.strategy).values() if isinstance(value, dict | list)]
    assert cluster.loads() == {"last": 1}
    assert max(len(table) for table in tables) < 100


@pytest.mark.parametrize("why", ["sick", "draining"])
def test_a_slave_that_is_sick_or_leaving_gets_nothing(cluster, why):
    cluster.join("good", "bad")
    sick, draining = ("its workers die", False) if why == "sick" else ("", True)
    cluster.core.slave_changed("bad", 1, sick, {}, draining=draining)
    system = cluster.system()
    cluster.measure(system, MICROSECOND)
    cluster.emit(system, 50)

    cluster.step()

    assert cluster.loads()["bad"] == 0
    assert cluster.loads()["good"] == 50


def test_a_slave_that_recovered_gets_tasks_again(cluster):
    cluster.join("north")
    cluster.core.slave_changed("north", 1, "its workers die", {})
    cluster.emit(cluster.system(), 1)
    cluster.step()
    assert cluster.loads() == {"north": 0}

    cluster.core.slave_changed("north", 1, "", {})
    cluster.step()

    assert cluster.loads() == {"north": 1}


def test_a_slave_that_grows_gets_more_at_once(cluster):
    cluster.join("north")
    cluster.emit(cluster.system(), 5)
    cluster.step()

    cluster.core.slave_changed("north", 4, "", {})
    cluster.step()

    assert cluster.loads() == {"north": 4}


def test_a_task_goes_only_where_its_resources_are(cluster):
    cluster.join("plain", workers=8)
    cluster.join("gpu", workers=8, resources={"gpu": 2.0})
    cluster.emit(cluster.system(classes=[task_class(requires={"gpu": 1.0})]), 5)

    cluster.step()

    assert cluster.loads() == {"plain": 0, "gpu": 2}


def test_a_task_that_nobody_can_run_does_not_hold_up_the_others(cluster):
    cluster.join("north", workers=2)
    system = cluster.system(classes=[task_class(0, requires={"gpu": 1.0}, priority=5), task_class(1)])
    cluster.emit(system, 1, 0)
    cluster.emit(system, 2, 1)

    cluster.step()

    assert [entry[2] for entry in cluster.held["north"].values()] == [1, 1]


def test_tasks_of_a_class_never_measured_are_not_sent_ahead(cluster):
    cluster.join("north", workers=2)
    cluster.emit(cluster.system(), 100)

    cluster.step()

    assert cluster.loads() == {"north": 2}


def test_tasks_of_seconds_are_not_sent_ahead(cluster):
    cluster.join("north", workers=2)
    system = cluster.system()
    cluster.measure(system, 1.0)
    cluster.emit(system, 100)

    cluster.step()

    assert cluster.loads() == {"north": 2}


def test_tasks_of_microseconds_are_sent_ahead_by_the_thousand(cluster):
    cluster.join("north", workers=2)
    system = cluster.system()
    cluster.measure(system, MICROSECOND)
    cluster.emit(system, 10_000)

    cluster.step()

    assert cluster.loads() == {"north": 2 * (1 + PREFETCH_LIMIT)}


def test_a_slave_that_holds_enough_ahead_does_not_hide_one_with_room():
    cluster = Cluster(strategy="round-robin")
    cluster.join("a", "b")
    system = cluster.system()
    cluster.measure(system, 0.005)
    cluster.emit(system, 100)

    cluster.step()

    assert cluster.loads() == {"a": 6, "b": 6}


def test_tasks_with_resources_are_not_sent_ahead(cluster):
    cluster.join("north", workers=2, resources={"disk": 100.0})
    system = cluster.system(classes=[task_class(requires={"disk": 1.0})])
    cluster.measure(system, MICROSECOND)
    cluster.emit(system, 50)

    cluster.step()

    assert cluster.loads() == {"north": 2}


def test_the_duration_of_a_class_is_learned_from_its_results(cluster):
    cluster.join("north")
    system = cluster.system()
    (task,) = cluster.emit(system, 1)
    cluster.step()
    cluster.end(task, seconds=MICROSECOND)
    cluster.emit(system, 100)

    cluster.step()

    assert cluster.loads()["north"] == 100


def test_one_long_task_stops_sending_ahead_at_once(cluster):
    cluster.join("north")
    system = cluster.system()
    cluster.measure(system, MICROSECOND)
    (task,) = cluster.emit(system, 1)
    cluster.step()
    cluster.end(task, seconds=3.0)
    cluster.emit(system, 100)

    cluster.step()

    assert cluster.loads()["north"] == 1


@pytest.mark.parametrize(
    ("workers", "duration", "depth"),
    [(3, None, 3), (1, 60.0, 1), (2, 0.05, 2), (1, 0.025, 2), (1, 0.0, 1025), (2, 1e-9, 2050), (1, 0.005, 6)],
)
def test_the_depth_follows_the_duration(workers, duration, depth):
    assert lease_depth(workers, duration) == depth


@pytest.mark.parametrize(("duration", "size"), [(None, 1), (0.0, 256), (1e-3, 2), (5.0, 1), (2e-5, 100)])
def test_a_burst_is_about_a_millisecond_of_work_for_each_worker(duration, size):
    assert burst_size(duration, workers=2) == pytest.approx(size, abs=1)


def test_an_estimate_rises_at_once_and_falls_slowly():
    assert decayed_duration(None, 2.0) == 2.0
    assert decayed_duration(1.0, 5.0) == 5.0
    assert 3.0 < decayed_duration(5.0, 0.0) < 5.0


def test_higher_priorities_of_a_system_go_first(cluster):
    system = cluster.system(classes=[task_class(0), task_class(1, priority=5), task_class(2, priority=-1)])
    cluster.emit(system, 1, 2)
    cluster.emit(system, 2, 0)
    cluster.emit(system, 2, 1)
    cluster.join("north", workers=5)

    cluster.step()

    assert [entry[2] for entry in cluster.held["north"].values()] == [1, 1, 0, 0, 2]


def test_equal_priorities_of_a_system_go_in_the_order_of_emission(cluster):
    system = cluster.system(classes=[task_class(0), task_class(1)])
    for number in (0, 1, 1, 0, 1):
        cluster.emit(system, 1, number)
    cluster.join("north", workers=5)

    cluster.step()

    assert [entry[3] for entry in cluster.held["north"].values()] == [0, 1, 2, 3, 4]


def test_a_cancelled_task_that_is_queued_is_passed_over(cluster):
    system = cluster.system()
    tasks = cluster.emit(system, 5)
    cluster.core.cancel_tasks(system, [0, 2])
    cluster.join("north", workers=5)

    cluster.step()

    assert [task.number for task in tasks if task.lease] == [1, 3, 4]


@implementer(ITaskScheduleStrategy)
class Stubborn(Component):
    """Chooses what it was told, whoever may be chosen."""

    name = "stubborn"
    choice = None

    def setup(self, scheduler, master):
        """Remember nothing."""

    def rate(self, slave):
        """Like all alike."""
        return 0.0

    def get_next_slave(self, task=None, slaves=None):
        """Return the one choice."""
        return self.choice


def stubborn_cluster(choice):
    """Return a cluster whose strategy makes one choice only."""
    scheduler = RatedScheduler()
    strategy = Stubborn()
    strategy.choice = choice
    vars(scheduler)["strategy"] = strategy
    return Cluster(scheduler)


@pytest.mark.parametrize("choice", ["nobody", "sick", 7])
def test_a_strategy_that_chooses_a_wrong_slave_does_no_harm(choice, caplog):
    cluster = stubborn_cluster(choice)
    cluster.join("north", "sick")
    cluster.core.slave_changed("sick", 1, "its workers die", {})
    (task,) = cluster.emit(cluster.system())

    with caplog.at_level(logging.WARNING):
        cluster.step()
    cluster.core.scheduler.strategy.choice = "north"
    cluster.step()

    assert task.slave_id == "north"
    assert repr(choice) in caplog.text


def test_a_strategy_that_chooses_nobody_lets_the_task_wait():
    cluster = stubborn_cluster(None)
    cluster.join("north")
    (task,) = cluster.emit(cluster.system())

    cluster.step()

    assert task.lease == 0
    assert list(task.system.open) == [0]


def test_a_strategy_is_asked_to_rate_a_slave_whose_state_changed(cluster):
    cluster.join("a", "b", workers=2)
    tasks = cluster.emit(cluster.system(), 3)
    cluster.step()
    assert sorted(slave.rating for slave in cluster.core.slaves.values()) == [0.5, 1.0]

    for task in tasks:
        cluster.end(task, Outcome.DONE)
    cluster.step()

    assert [slave.rating for slave in cluster.core.slaves.values()] == [0.0, 0.0]


def priorities(count, **fields):
    return [task_class(number, name="Search", priority=number, **fields) for number in range(count)]


def test_classes_that_differ_in_priority_alone_are_one_to_a_slave(cluster):
    cluster.join("north", workers=4)
    system = cluster.system(classes=priorities(3))
    for number in range(3):
        cluster.emit(system, number=number)

    cluster.step()

    assert cluster.classes["north"] == [(1, 0)]
    assert {entry[2] for entry in cluster.held["north"].values()} == {0}


def test_what_one_priority_took_is_known_of_all(cluster):
    cluster.join("north", workers=1)
    system = cluster.system(classes=priorities(50))
    (first,) = cluster.emit(system, number=49)
    cluster.step()

    cluster.end(first, seconds=MICROSECOND)
    for number in range(40):
        cluster.emit(system, number=number)
    cluster.step()

    assert system.classes[0].duration == pytest.approx(MICROSECOND)
    assert cluster.loads() == {"north": 40}  # sent ahead, by priority
    assert [entry[3] for _, entry in sorted(cluster.held["north"].items())] == list(range(40, 0, -1))


@pytest.mark.parametrize("fields", [{"timeout": 2.0}, {"requires": {"gpu": 1.0}}, {"name": "Other"}], ids=str)
def test_classes_that_differ_in_what_a_slave_must_know_are_different_there(cluster, fields):
    cluster.join("north", workers=4, resources={"gpu": 1.0})
    other = {"name": "Search", **fields}
    system = cluster.system(classes=[task_class(0, name="Search"), task_class(1, **other)])
    cluster.emit(system, number=0)
    cluster.emit(system, number=1)

    cluster.step()

    assert sorted(cluster.classes["north"]) == [(1, 0), (1, 1)]


def test_a_slave_that_joins_later_is_told_of_the_class_as_the_others_were(cluster):
    cluster.join("north", workers=1)
    system = cluster.system(classes=priorities(2))
    cluster.emit(system, number=0)
    cluster.step()
    cluster.join("south", workers=1)
    cluster.emit(system, number=1)

    cluster.step()

    assert cluster.classes == {"north": [(1, 0)], "south": [(1, 0)]}
