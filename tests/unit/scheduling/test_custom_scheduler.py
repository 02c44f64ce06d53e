"""A scheduler that a user wrote works through its interfaces alone."""

from __future__ import annotations

import pytest

from concurro.errors import ProtocolError
from concurro.ids import Failure, Outcome
from concurro.interfaces import ITaskScheduler, implementer
from concurro.kernel import Component
from tests.unit.scheduling.cluster import Cluster, task_class


@implementer(ITaskScheduler)
class FirstComeFirstServed(Component):
    """Leases tasks in order, to the first slave with a free worker; tries nothing twice."""

    name = "first-come"

    def setup(self, master):
        """Start with an empty queue."""
        self.master = master
        self.queue = []

    def rate_slaves(self):
        """Rate nobody."""

    def start_system(self, task_system):
        """Need nothing of it."""

    def push_tasks(self, tasks):
        """Queue them."""
        self.queue.extend(tasks)

    def push_task(self, task):
        """Queue it."""
        self.queue.append(task)

    def handle_task(self, task):
        """Queue back what had not started."""
        if task.outcome is None:
            self.queue.insert(0, task)
        else:
            self.master.finish(task, task.failure or Failure("WorkerLost", "it is not tried again"))

    def task_pushed(self, slave_id):
        """Need nothing of it."""

    _tasked_pushed = task_pushed

    def task_finished(self, task, result, error):
        """Need nothing of it."""

    def slave_joined(self, slave):
        """Need nothing of it."""

    def slave_left(self, slave_id, reason):
        """Need nothing of it."""

    def cancel(self, task_id):
        """Forget it."""
        self.queue = [task for task in self.queue if task.id != task_id]

    def explain(self, task_id):
        """Say what it knows."""
        return f"{len(self.queue)} tasks wait for a free worker."

    def tick(self, now):
        """Lease in order."""
        for slave in self.master.slaves.values():
            while self.queue and len(slave.leases) < slave.workers:
                task = self.queue.pop(0)
                if not task.system.state.ended:
                    self.master.lease(task, slave.id)


def test_a_users_scheduler_runs_tasks_in_its_own_order():
    cluster = Cluster(FirstComeFirstServed())
    cluster.join("north")
    system = cluster.system(classes=[task_class(0), task_class(1, priority=9)])
    tasks = [*cluster.emit(system, 2, 0), *cluster.emit(system, 2, 1)]

    for task in tasks:
        cluster.step()
        assert task.lease in cluster.held["north"]
        cluster.end(task)
    cluster.step()

    assert [entry[0] for entry in cluster.finished[1]] == [0, 1, 2, 3]
    assert all(entry[1] == Outcome.DONE for entry in cluster.finished[1])


def test_a_users_scheduler_decides_what_is_tried_again():
    cluster = Cluster(FirstComeFirstServed())
    cluster.join("north")
    system = cluster.system(classes=[task_class(max_retries=9)])
    failing, returned = cluster.emit(system, 2)
    cluster.step()

    cluster.end(failing, Outcome.RAISED)
    cluster.step()
    cluster.give_back("north", [returned.lease])
    cluster.step()

    assert [entry[:2] for entry in cluster.finished[1]] == [[0, int(Outcome.RAISED)]]
    assert returned.attempt == 1
    assert list(cluster.held["north"]) == [returned.lease]


def test_a_users_scheduler_may_end_a_task_that_was_never_leased():
    cluster = Cluster(FirstComeFirstServed())
    system = cluster.system()
    (task,) = cluster.emit(system)
    cluster.core.scheduler.queue.clear()

    cluster.core.finish(task, Failure("TooManyTasks", "nobody wants it"))
    cluster.hear()

    assert cluster.finished[1] == [
        [0, int(Outcome.RAISED), ["TooManyTasks", "nobody wants it", "", None], None, None, 0, 0]
    ]
    assert (system.failed, system.open) == (1, {})


def test_a_users_scheduler_that_ends_a_leased_task_takes_its_lease():
    cluster = Cluster(FirstComeFirstServed())
    cluster.join("north")
    system = cluster.system()
    (task,) = cluster.emit(system)
    cluster.step()
    lease = task.lease

    cluster.core.finish(task, Failure("TooSlow", "another way was faster"))
    cluster.hear()

    assert cluster.killed["north"] == [lease]
    assert cluster.core.slaves["north"].leases == {}
    assert (system.leased, system.open) == (0, {})


def test_a_users_scheduler_loses_slaves_and_cancels_as_rated_does():
    cluster = Cluster(FirstComeFirstServed())
    cluster.join("north")
    system = cluster.system()
    lost, cancelled, _ = cluster.emit(system, 3)
    cluster.step()

    cluster.leave("north")
    cluster.core.cancel_tasks(system, [cancelled.number])
    cluster.join("south")
    cluster.step()

    assert [entry[:2] for entry in cluster.finished[1]] == [
        [lost.number, int(Outcome.SLAVE_LOST)],
        [cancelled.number, int(Outcome.CANCELLED)],
    ]
    assert [entry[3] for entry in cluster.held["south"].values()] == [2]


def test_a_core_asks_a_users_scheduler_for_no_more_than_its_interface():
    cluster = Cluster(FirstComeFirstServed())

    assert cluster.core.wake_at is None
    assert cluster.core.scheduler.explain("system-1:0") == "0 tasks wait for a free worker."


def test_a_task_that_has_ended_stays_as_it_ended():
    cluster = Cluster(FirstComeFirstServed())
    cluster.join("north")
    (task,) = cluster.emit(cluster.system())
    cluster.step()
    cluster.end(task)

    cluster.core.finish(task, Failure("TooSlow", "another way was faster"))
    cluster.hear()

    assert [entry[:3] for entry in cluster.finished[1]] == [[0, int(Outcome.DONE), b"result"]]


def _is_done(cluster, count):
    cluster.join("north", workers=count)
    tasks = cluster.emit(cluster.system(), count)
    cluster.step()
    cluster.core.results("north", [[task.lease, 0, b"result", None, 1000] for task in tasks])
    return tasks


def test_a_scheduler_that_takes_many_is_told_of_what_is_done_at_once():
    told = []

    class Counting(FirstComeFirstServed):
        def tasks_done(self, tasks):
            told.append(list(tasks))

    assert [_is_done(Cluster(Counting()), 3)] == told


def test_a_method_for_each_task_counts_more_than_one_for_many_that_was_inherited():
    told = []

    class Counting(FirstComeFirstServed):
        def tasks_done(self, tasks):
            raise AssertionError

    class Particular(Counting):
        def task_finished(self, task, result, error):
            told.append((task, result, error))

    tasks = _is_done(Cluster(Particular()), 2)

    assert told == [(task, b"result", None) for task in tasks]


def test_what_is_done_before_an_entry_that_is_nonsense_counts():
    cluster = Cluster(FirstComeFirstServed())
    cluster.join("north", workers=2)
    system = cluster.system()
    done, other = cluster.emit(system, 2)
    cluster.step()

    with pytest.raises(ProtocolError, match="neither that the task is done nor how it failed"):
        cluster.core.results("north", [[done.lease, 0, b"result", None, 1000], [other.lease, 99, b"", None, 0]])

    assert (system.done, list(system.open), cluster.core.slaves["north"].finished) == (1, [1], 1)
