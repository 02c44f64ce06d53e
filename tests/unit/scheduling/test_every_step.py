"""Master and host killed after every single step: the result is that of an uninterrupted run."""

from __future__ import annotations

import itertools
import threading
import zlib

import pytest

from concurro.scheduling.snapshots import SnapshotCourse
from concurro.system import TaskSystem
from concurro.task import Task
from tests.support.stepwise import CRASHING, World

FEW = 17
"""Of so many steps one is tried in the quick suite."""


class Number(Task):
    """Returns its number."""

    def __init__(self, number, name=""):
        super().__init__(name or f"number-{number}")
        self.number = number

    def __call__(self):
        return self.number


class NumberOnce(Number):
    """May run once."""

    max_retries = 0


class Awkward(TaskSystem):
    """Adds numbers; publishes each of them."""

    task_class = Number

    def __init__(self):
        super().__init__()
        self.seen = []
        self.lost = []

    def task_finished(self, master, task, result, error):
        if error is None:
            self.seen.append(result)
            master.publish(result)
        else:
            self.lost.append((task.number, error.type_name))

    def gather_result(self, master):
        return (sorted(self.seen), sorted(self.lost)), None


class ReadsItself(Awkward):
    """Emits as many tasks as it has seen, and ten at least, from a generator that reads `self`."""

    def generate_tasks(self, master):
        number = 0
        while number < 10 + min(len(self.seen), 4):
            yield self.task_class(number)
            number += 1

    def is_complete(self, master):
        return len(self.seen) + len(self.lost) >= 10


class Once(ReadsItself):
    """As that, with tasks that may run once."""

    task_class = NumberOnce

    def generate_tasks(self, master):
        return (NumberOnce(number) for number in range(10))


class HoldsALock(Awkward):
    """Its iterator does not pickle, nor does it itself once it runs."""

    def init_system(self, master):
        self.lock = threading.Lock()

    def generate_tasks(self, master):
        with self.lock:
            yield from map(Number, range(8))

    def is_complete(self, master):
        return len(self.seen) == 8


class SetsOfStrings(Awkward):
    """Emits its tasks in the order of a set."""

    def generate_tasks(self, master):
        words = {f"word-{number}" for number in range(8)}
        return (Number(int(word[5:]), word) for word in words)

    def is_complete(self, master):
        return len(self.seen) == 8


class Rounds(Awkward):
    """Asks time, chance and the cluster; pushes from callbacks, cancels, and goes round by round."""

    def __init__(self):
        super().__init__()
        self.rounds = 0

    def generate_tasks(self, master):
        self.rounds += 1
        chance = master.random.randrange(1000)
        first = 10 * self.rounds
        yield Number(first, f"{chance}-{master.now():.3f}-{master.num_workers}")
        spare = Number(first + 9)
        master.cancel_task(master.push_task(spare))

    def task_finished(self, master, task, result, error):
        super().task_finished(master, task, result, error)
        if error is None and result % 10 == 0:
            master.push_tasks([Number(result + extra) for extra in (1, 2)])

    def is_complete(self, master):
        return len(self.seen) >= 9

    def gather_result(self, master):
        return (sorted(self.seen), sorted({number for number, name in self.lost if name == "TaskCancelled"})), None


class Crashes(Awkward):
    """Some of its tasks take a worker with them, once."""

    def generate_tasks(self, master):
        return (Number(number, f"{number} {CRASHING if number % 3 == 0 else ''}") for number in range(6))

    def is_complete(self, master):
        return len(self.seen) == 6


class Picklable(Awkward):
    """Pulls from a list, so that it can be frozen at any moment; holds its master and its tasks."""

    def init_system(self, master):
        self.master = master
        self.tasks = {}

    def generate_tasks(self, master):
        return [Number(number) for number in range(12)]

    def task_finished(self, master, task, result, error):
        super().task_finished(self.master, task, result, error)
        if result is not None and result < 4:
            spare = Number(100 + result)
            number = self.master.push_task(spare)
            self.tasks[number] = spare
            if result % 2:
                self.master.cancel_task(number)
        if task.task_id in self.tasks:
            assert self.tasks.pop(task.task_id) is task

    def is_complete(self, master):
        return len(self.seen) + len(self.lost) == 16


class Frontier(Awkward):
    """Its tasks tell the order of a set of strings, which no pickle keeps."""

    def init_system(self, master):
        self.frontier = {f"word-{number}" for number in range(4000)}

    def generate_tasks(self, master):
        order = zlib.crc32("".join(self.frontier).encode())
        return [Number(len(self.seen) + more, f"{order}") for more in range(3)]

    def is_complete(self, master):
        return len(self.seen) == 12


NAMES = itertools.count()


class Unsteady(Awkward):
    """Names its tasks differently each time it is asked."""

    def generate_tasks(self, master):
        return [Number(len(self.seen) + more, f"number-{next(NAMES)}") for more in range(3)]

    def is_complete(self, master):
        return len(self.seen) == 12


SYSTEMS = [ReadsItself, Once, HoldsALock, SetsOfStrings, Rounds, Crashes]


def check(world, undisturbed, kind, *, tasks_go_on):
    """Compare a run with an uninterrupted one.

    A task runs again only where nobody could know of it: its emission was not on disk.
    """
    seen, lost = world.outcome[1][0]
    expected, expected_lost = undisturbed.outcome[1][0]
    once = kind is Once
    assert world.outcome[0] == undisturbed.outcome[0] == "complete"
    assert sorted([*seen, *(number for number, _ in lost)] if once else seen) == expected
    assert once or lost == expected_lost
    assert {*world.published.values()} == {*seen}
    assert len(world.published) == len(seen)
    again = {task: count for task, count in world.ran.items() if count > undisturbed.ran[task]}
    assert not again if tasks_go_on or once else all(task >= world.known for task in again), (again, world.known)
    assert not (once and [number for number, _ in lost if world.ran[number]])


def undisturbed(kind, **options):
    return World(kind, **options).run()


def test_the_steps_are_those_of_the_protocol():
    world = undisturbed(Once)

    rows = [name for name in world.steps if name.startswith("commit")]
    assert rows[0] == "commit of SystemAccepted"
    assert rows[-1] == "commit of SystemEnded"
    assert {"commit of InputApplied", "commit of AttemptIntended, AttemptIntended"} <= set(rows)
    for name in ("host gets START", "host's OUT 0 arrives", "host gets IN 1", "slave gets leases", "a result arrives"):
        assert name in world.steps
    for name in ("application gets SUBMITTED", "application gets EVENT", "application gets ENDED"):
        assert name in world.steps
    assert world.steps.index("commit of SystemAccepted") < world.steps.index("application gets SUBMITTED")


def kill_masters(kind, steps):
    whole = undisturbed(kind)
    for step in steps(len(whole.steps)):
        world = World(kind).run(kill_master_after=step)
        check(world, whole, kind, tasks_go_on=False)


def kill_hosts(kind, steps, *, journalled):
    whole = undisturbed(kind, journalled=journalled)
    for step in steps(len(whole.steps)):
        world = World(kind, journalled=journalled, restarts=1).run(kill_host_after=step)
        check(world, whole, kind, tasks_go_on=True)


def some(count):
    return range(1, count, FEW)


def every(count):
    return range(1, count)


@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_master_may_be_killed_at_any_step(kind):
    kill_masters(kind, some)


@pytest.mark.parametrize("journalled", [False, True], ids=["in memory", "journalled"])
@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_host_may_be_killed_at_any_step(kind, journalled):
    kill_hosts(kind, some, journalled=journalled)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_master_is_killed_at_every_step(kind):
    kill_masters(kind, every)


@pytest.mark.slow
@pytest.mark.parametrize("journalled", [False, True], ids=["in memory", "journalled"])
@pytest.mark.parametrize("kind", SYSTEMS)
def test_a_host_is_killed_at_every_step(kind, journalled):
    kill_hosts(kind, every, journalled=journalled)


@pytest.fixture
def often(monkeypatch):
    """Let a snapshot be taken whenever it can be."""
    monkeypatch.setattr("concurro.scheduling.history.ROW_BYTES", 1024)
    monkeypatch.setattr(SnapshotCourse, "is_due", lambda course, now: course.entries > 0)


FROZEN = [Picklable, Once, Rounds, Crashes, HoldsALock, Frontier]


@pytest.mark.parametrize("kind", FROZEN)
def test_a_master_may_be_killed_at_any_step_around_snapshots(often, kind):
    kill_masters(kind, some)


@pytest.mark.parametrize("journalled", [False, True], ids=["in memory", "journalled"])
@pytest.mark.parametrize("kind", FROZEN)
def test_a_host_may_be_killed_at_any_step_around_snapshots(often, kind, journalled):
    kill_hosts(kind, some, journalled=journalled)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FROZEN)
def test_a_master_is_killed_at_every_step_around_snapshots(often, kind):
    kill_masters(kind, every)


@pytest.mark.slow
@pytest.mark.parametrize("journalled", [False, True], ids=["in memory", "journalled"])
@pytest.mark.parametrize("kind", FROZEN)
def test_a_host_is_killed_at_every_step_around_snapshots(often, kind, journalled):
    kill_hosts(kind, every, journalled=journalled)


@pytest.mark.parametrize("journalled", [False, True], ids=["in memory", "journalled"])
def test_hosts_begin_with_snapshots(often, journalled):
    whole = undisturbed(Picklable, journalled=journalled, restarts=1)

    world = World(Picklable, journalled=journalled, restarts=1).run(kill_host_after=len(whole.steps) - 10)

    assert world.thawed == 1


def check_unsteady(world):
    """What is final in a snapshot is not run again, whatever the system does after it."""
    assert world.outcome == ("complete", ((list(range(12)), []), None))
    assert all(world.ran[task] == 1 for task in world.safe)
    return world


def test_a_system_that_differs_is_run_again_from_its_snapshot_after_any_step_of_a_master(often):
    steps = len(undisturbed(Unsteady).steps)

    worlds = [check_unsteady(World(Unsteady).run(kill_master_after=step)) for step in every(steps)]

    assert max(len(world.safe) for world in worlds) >= 9
    assert max(world.ran.total() for world in worlds) > 12


@pytest.mark.slow
@pytest.mark.parametrize("journalled", [False, True], ids=["in memory", "journalled"])
def test_a_system_that_differs_is_run_again_from_its_snapshot_after_any_step_of_a_host(often, journalled):
    options = {"journalled": journalled, "restarts": 1}
    steps = len(undisturbed(Unsteady, **options).steps)

    worlds = [check_unsteady(World(Unsteady, **options).run(kill_host_after=step)) for step in every(steps)]

    assert max(len(world.safe) for world in worlds) >= 9
    assert max(world.ran.total() for world in worlds) > 12
