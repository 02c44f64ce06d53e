"""The scheduler core: who holds which lease, and what counts."""

from __future__ import annotations

import pytest

from concurro.errors import ProtocolError
from concurro.ids import Outcome, SystemState
from tests.unit.scheduling.cluster import Cluster, task_class


def test_leases_a_queued_task_to_a_free_slave(cluster):
    cluster.join("north")
    (task,) = cluster.emit(cluster.system())

    cluster.step()

    assert cluster.held["north"] == {task.lease: [task.lease, 1, 0, 0, 1, b"payload", None]}
    assert (task.slave_id, task.attempt, task.system.leased) == ("north", 1, 1)


def test_a_task_waits_until_a_slave_joins(cluster):
    (task,) = cluster.emit(cluster.system())
    cluster.step()
    assert task.lease == 0

    cluster.join("north")
    cluster.step()

    assert task.lease in cluster.held["north"]


def test_never_uses_a_lease_twice(cluster):
    cluster.join("north")
    (task,) = cluster.emit(cluster.system(classes=[task_class(max_retries=3)]))
    seen = set()

    for _ in range(3):
        cluster.step()
        seen.add(task.lease)
        cluster.end(task, Outcome.RAISED)

    assert len(seen) == 3


def test_reports_a_result_with_what_people_ask_about_it(cluster):
    cluster.join("north")
    system = cluster.system()
    (task,) = cluster.emit(system)
    cluster.step()

    cluster.end(task, seconds=0.5)
    cluster.step()

    assert cluster.finished[1] == [[0, int(Outcome.DONE), b"result", None, "north", 1, 500_000_000]]
    assert (system.done, system.leased, system.open, system.open_bytes) == (1, 0, {}, 0)


def test_acknowledges_a_result_only_when_its_system_has_it(cluster):
    cluster.join("north")
    (task,) = cluster.emit(cluster.system())
    cluster.step()
    lease = task.lease

    cluster.end(task)
    commands = cluster.core.take_commands()

    assert commands.leases_of == {1: [("north", lease)]}
    assert commands.settled == {}


def test_a_second_result_of_one_lease_is_dropped_and_counted(cluster):
    cluster.join("north")
    (task,) = cluster.emit(cluster.system())
    cluster.step()
    lease = task.lease
    cluster.end(task)
    cluster.step()

    cluster.core.results("north", [[lease, 0, b"again", None, 1]])
    cluster.step()

    assert cluster.core.stale_results == 1
    assert len(cluster.finished[1]) == 1
    assert cluster.settled["north"] == [lease]


def test_the_result_of_an_older_attempt_does_not_count(cluster):
    cluster.join("north")
    (task,) = cluster.emit(cluster.system(classes=[task_class(max_retries=1)]))
    cluster.step()
    old = task.lease
    cluster.end(task, Outcome.RAISED)
    cluster.step()

    cluster.core.results("north", [[old, 0, b"late", None, 1]])
    cluster.step()

    assert cluster.core.stale_results == 1
    assert cluster.finished[1] == []
    assert task.lease in cluster.held["north"]


def test_the_result_of_another_slaves_lease_does_not_count(cluster):
    cluster.join("north", "south")
    (task,) = cluster.emit(cluster.system())
    cluster.step()
    other = "south" if task.slave_id == "north" else "north"

    cluster.core.results(other, [[task.lease, 0, b"forged", None, 1]])
    cluster.step()

    assert cluster.finished[1] == []
    assert task.lease in cluster.held[task.slave_id]


def test_results_of_a_slave_that_is_gone_are_dropped_and_counted(cluster):
    cluster.join("north")
    (task,) = cluster.emit(cluster.system())
    cluster.step()
    lease = task.lease
    cluster.leave("north")

    cluster.core.results("north", [[lease, 0, b"late", None, 1]])
    cluster.step()

    assert cluster.core.stale_results == 1
    assert cluster.finished[1] == []


@pytest.mark.parametrize(
    ("outcome", "value"),
    [(99, ["ValueError", "wrong"]), (1, b"no failure"), (1, None), (1, ["only a name"]), (0, b"result")],
    ids=["unknown outcome", "bytes", "none", "too short", "no duration"],
)
def test_a_malformed_result_leaves_the_task_with_its_lease(cluster, outcome, value):
    cluster.join("north")
    (task,) = cluster.emit(cluster.system())
    cluster.step()
    lease = task.lease

    with pytest.raises((ProtocolError, ValueError, TypeError)):
        cluster.core.results("north", [[lease, outcome, value, None, None]])

    assert task.lease == lease
    assert cluster.core.slaves["north"].leases == {lease: task}
    assert task.system.leased == 1


def test_a_returned_lease_is_leased_again_and_not_charged(cluster):
    cluster.join("north")
    (task,) = cluster.emit(cluster.system(classes=[task_class(max_retries=0)]))
    cluster.step()

    for _ in range(20):
        cluster.give_back("north", [task.lease])
        cluster.step()

    assert task.attempt == 1
    assert (task.crashes, task.slave_losses) == (0, 0)
    assert task.lease in cluster.held["north"]


def test_returning_a_lease_that_is_not_held_changes_nothing(cluster):
    cluster.join("north")
    (task,) = cluster.emit(cluster.system())
    cluster.step()

    cluster.core.returned("north", [task.lease + 1])
    cluster.step()

    assert cluster.loads() == {"north": 1}
    assert task.attempt == 1


def test_tasks_of_a_lost_slave_run_elsewhere_at_once(cluster):
    cluster.join("north")
    system = cluster.system()
    tasks = cluster.emit(system, 1)
    cluster.step()
    cluster.join("south")

    cluster.leave("north")
    cluster.step()

    assert [task.slave_id for task in tasks] == ["south"]
    assert [(task.slave_losses, task.crashes) for task in tasks] == [(1, 0)]


def test_tasks_that_come_back_keep_their_order_before_the_others(cluster):
    cluster.join("north", workers=3)
    tasks = cluster.emit(cluster.system(), 6)
    cluster.step()

    cluster.leave("north")
    cluster.join("south")
    order = []
    for _ in range(6):
        cluster.step()
        (task,) = cluster.core.slaves["south"].leases.values()
        order.append(task.number)
        cluster.end(task)

    assert order == [task.number for task in tasks]


def test_cancelling_a_queued_task_reports_it_once_and_never_leases_it(cluster):
    system = cluster.system()
    first, second = cluster.emit(system, 2)

    cluster.core.cancel_tasks(system, [first.number, first.number])
    cluster.join("north", workers=2)
    cluster.step()

    assert [(entry[0], entry[1], entry[2][0]) for entry in cluster.finished[1]] == [
        (0, int(Outcome.CANCELLED), "TaskCancelled")
    ]
    assert list(cluster.held["north"]) == [second.lease]
    assert (system.cancelled, list(system.open)) == (1, [1])


def test_cancelling_a_leased_task_kills_it_and_frees_its_slave(cluster):
    cluster.join("north")
    system = cluster.system()
    first, second = cluster.emit(system, 2)
    cluster.step()
    lease = first.lease

    cluster.core.cancel_tasks(system, [first.number])
    cluster.step()

    assert cluster.killed["north"] == [lease]
    assert [entry[:2] for entry in cluster.finished[1]] == [[0, int(Outcome.CANCELLED)]]
    assert list(cluster.held["north"]) == [second.lease]
    assert system.leased == 1


def test_cancelling_what_is_not_open_is_ignored(cluster):
    system = cluster.system()

    cluster.core.cancel_tasks(system, [7])
    cluster.step()

    assert cluster.finished[1] == []


def test_the_result_of_a_cancelled_task_does_not_count(cluster):
    cluster.join("north")
    system = cluster.system()
    (task,) = cluster.emit(system)
    cluster.step()
    lease = task.lease
    cluster.core.cancel_tasks(system, [0])
    cluster.step()

    cluster.core.results("north", [[lease, 0, b"late", None, 1]])
    cluster.step()

    assert cluster.core.stale_results == 1
    assert len(cluster.finished[1]) == 1
    assert cluster.settled["north"] == [lease]


def test_the_end_of_a_system_kills_and_forgets_and_reports_nothing(cluster):
    cluster.join("north")
    system = cluster.system()
    running, _ = cluster.emit(system, 2)
    cluster.step()
    lease = running.lease

    cluster.end_system(system)
    cluster.step()

    assert cluster.killed["north"] == [lease]
    assert cluster.forgotten["north"] == [1]
    assert cluster.finished[1] == []
    assert (system.open, system.open_bytes, system.leased, system.cancelled) == ({}, 0, 0, 2)
    assert system.state is SystemState.COMPLETE
    assert cluster.core.systems == {}


def test_results_that_nobody_took_are_settled_when_their_system_ends(cluster):
    cluster.join("north")
    system = cluster.system()
    (task,) = cluster.emit(system)
    cluster.step()
    lease = task.lease
    cluster.end(task)

    cluster.end_system(system)
    cluster.hear()

    assert cluster.settled["north"] == [lease]
    assert cluster.finished[1] == []


def test_leases_that_were_not_sent_yet_end_with_their_system(cluster):
    cluster.join("north")
    system = cluster.system()
    cluster.emit(system, 1)
    cluster.core.tick(cluster.now)

    cluster.end_system(system)
    cluster.hear()

    assert cluster.held["north"] == {}
    assert cluster.classes["north"] == []


def test_a_slave_hears_of_a_class_once_before_its_first_lease(cluster):
    cluster.join("north", "south")
    system = cluster.system(classes=[task_class(0), task_class(1)])

    for number in (0, 0, 0, 1, 1, 1):
        (task,) = cluster.emit(system, 1, number)
        cluster.step()
        cluster.end(task)

    announced = cluster.classes["north"] + cluster.classes["south"]
    assert set(announced) == {(1, 0), (1, 1)}
    assert all(cluster.classes[name].count(key) <= 1 for name in cluster.classes for key in announced)


def test_a_system_that_ended_is_forgotten_only_where_it_was_known(cluster):
    cluster.join("north")
    first = cluster.system(1)
    cluster.emit(first, 1)
    cluster.step()
    cluster.join("south")

    cluster.end_system(first)
    cluster.step()

    assert cluster.forgotten == {"north": [1], "south": []}


def test_a_class_is_announced_again_to_a_slave_that_joins_again(cluster):
    cluster.join("north")
    system = cluster.system()
    (task,) = cluster.emit(system)
    cluster.step()
    cluster.leave("north")

    cluster.join("north-2")
    cluster.step()

    assert cluster.classes["north-2"] == [(1, 0)]
    assert task.lease in cluster.held["north-2"]


@pytest.mark.parametrize("outcome", list(Outcome), ids=lambda outcome: outcome.name)
def test_resources_are_given_back_however_an_attempt_ends(outcome):
    cluster = Cluster()
    cluster.join("north", workers=4, resources={"gpu": 2.0})
    system = cluster.system(classes=[task_class(requires={"gpu": 2.0})])
    (task,) = cluster.emit(system)
    cluster.step()
    assert cluster.core.slaves["north"].free == {"gpu": 0.0}

    cluster.end(task, outcome)

    assert cluster.core.slaves["north"].free == {"gpu": 2.0}


@pytest.mark.parametrize("way", ["returned", "cancelled", "system ended"])
def test_resources_are_given_back_when_a_lease_is_taken(cluster, way):
    cluster.join("north", workers=4, resources={"gpu": 2.0})
    system = cluster.system(classes=[task_class(requires={"gpu": 0.5})])
    task, *_ = cluster.emit(system, 6)
    cluster.step()
    assert cluster.core.slaves["north"].free == {"gpu": 0.0}

    if way == "returned":
        cluster.give_back("north", [task.lease])
    elif way == "cancelled":
        cluster.core.cancel_tasks(system, [task.number])
    else:
        cluster.end_system(system)

    assert cluster.core.slaves["north"].free == {"gpu": 2.0 if way == "system ended" else 0.5}


def test_never_leases_more_than_the_resources_of_a_slave(cluster):
    cluster.join("north", workers=8, resources={"gpu": 3.0})
    cluster.emit(cluster.system(classes=[task_class(requires={"gpu": 2.0})]), 4)

    cluster.step()

    assert cluster.loads() == {"north": 1}
    assert cluster.core.slaves["north"].free == {"gpu": 1.0}


def test_a_slave_that_offers_other_resources_keeps_what_is_taken(cluster):
    cluster.join("north", workers=4, resources={"gpu": 1.0})
    cluster.emit(cluster.system(classes=[task_class(requires={"gpu": 1.0})]), 4)
    cluster.step()

    cluster.core.slave_changed("north", 4, "", {"gpu": 3.0})
    cluster.step()

    assert cluster.loads() == {"north": 3}
    assert cluster.core.slaves["north"].free == {"gpu": 0.0}


def test_refuses_tasks_of_a_class_that_was_never_announced(cluster):
    system = cluster.system()

    with pytest.raises(ProtocolError, match="class 7"):
        cluster.core.emit(system, 0, [[0, b"payload"], [7, b"payload"]])

    assert (system.open, system.open_bytes) == ({}, 0)


def test_refuses_a_task_under_the_number_of_an_open_one(cluster):
    system = cluster.system()
    (task,) = cluster.emit(system)

    with pytest.raises(ProtocolError, match="number"):
        cluster.core.emit(system, 0, [[0, b"other"]])

    assert system.open == {0: task}
    assert system.open_bytes == len(b"payload")


def test_the_mean_duration_of_a_class_is_measured(cluster):
    cluster.join("north")
    system = cluster.system()

    for seconds in (1.0, 2.0):
        (task,) = cluster.emit(system)
        cluster.step(1.0)
        assert task.leased_at == cluster.now
        cluster.end(task, seconds=seconds)

    assert system.classes[0].mean == pytest.approx(1.1)


def test_a_warning_is_handed_out_once(cluster):
    system = cluster.system()

    cluster.core.warn(system, "nobody can run it")

    assert cluster.core.pending
    assert cluster.core.take_commands().warnings == [(1, "nobody can run it")]
    assert not cluster.core.pending
