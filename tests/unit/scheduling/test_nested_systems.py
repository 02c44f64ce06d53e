"""Systems that tasks and callbacks submit: whose they are, and how they end."""

from __future__ import annotations

from concurro.ids import SystemState
from concurro.scheduling.commands import StopHost
from tests.unit.scheduling.cluster import task_class
from tests.unit.scheduling.system_driver import ALICE, BOB, Master

INNER = ("application", 3)


def nested(**options):
    """Return a master with Alice's system, and one that a task of hers submitted."""
    master = Master()
    master.table.peer_joined(ALICE, "alice")
    outer = master.start()
    master.table.peer_joined(INNER, "a task", outer.record)
    inner = master.start(INNER, "inner", **options)
    return master, outer, inner


def test_a_nested_system_belongs_to_the_same_application():
    _, outer, inner = nested()

    assert inner.record.application == outer.record.application == "alice"
    assert (outer.record.depth, inner.record.depth) == (0, 1)


def test_so_does_one_that_is_nested_deeper():
    master, _, inner = nested()
    master.table.peer_joined(BOB, "another task", inner.record)

    deeper = master.start(BOB, "deeper")

    assert deeper.record.application == "alice"
    assert deeper.record.depth == 2


def test_what_a_task_waits_for_is_leased_before_more_of_its_kind():
    master, outer, inner = nested()
    master.out(1, number=outer.record.number, classes=[task_class()], tasks=[[0, b"outer"]] * 3)
    master.out(1, number=inner.record.number, classes=[task_class()], tasks=[[0, b"inner"]] * 2)

    master.join(workers=2)
    master.core.tick(master.now)

    leases = list(master.core.slaves["north"].leases.values())
    assert [task.system for task in leases[:2]] == [inner.record, inner.record]


def test_a_nested_system_ends_at_once_with_who_submitted_it():
    master, _, inner = nested()

    master.table.peer_left(INNER, master.now)

    assert inner.record.state is SystemState.CANCELLED
    assert master.take(StopHost) == [StopHost(inner.record.number)]


def test_the_implicit_system_of_a_task_ends_at_once_too():
    master, _, _ = nested()
    master.table.open(INNER, 5, "tasks", "tasks", master.now)

    master.table.peer_left(INNER, master.now)

    assert master.table.find("tasks") is None


def test_a_detached_one_goes_on_and_can_be_attached_to():
    master, _, inner = nested(detach=True)

    master.table.peer_left(INNER, master.now)
    master.pass_time(1000.0)

    assert inner.record.state is SystemState.RUNNING
    master.table.attach(BOB, 9, "inner", master.now)
    assert BOB in inner.followers


def test_what_nested_tasks_print_goes_to_who_follows_the_outer_system():
    master, outer, inner = nested()
    master.table.open(INNER, 5, "tasks", "tasks", master.now)
    plain = master.table.find("tasks")

    assert master.table.listeners(inner.record.number) == master.table.listeners(outer.record.number) == (ALICE,)
    assert master.table.listeners(plain.record.number) == (ALICE,)


def test_the_outer_system_does_not_end_with_what_it_submitted():
    master, outer, _ = nested()

    master.table.peer_left(INNER, master.now)

    assert outer.record.state is SystemState.RUNNING
