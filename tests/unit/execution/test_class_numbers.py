"""Numbers of classes are their master's: the next one may give them to others, and no task runs as another."""

from __future__ import annotations

from concurro.execution.slave_records import PostChunk
from concurro.execution.task_runner import TaskRunner
from concurro.task import Task
from tests.unit.execution.slave_driver import SlaveDriver, lease, task_class

OTHER = [1, 0, "Another", None, {}, b"other code", [], "another job"]


class One(Task):
    def __call__(self):
        return "one"


class Two(Task):
    def __call__(self):
        return "two"


def announcement(runner, cls):
    """Return a class as a worker gets it, always under the same numbers."""
    code, blobs = runner.packer.dump_task_class(cls)
    return [7, 0, cls.__name__, code, blobs, "job"]


def result_of(runner, task):
    payload, blobs = runner.packer.dump_task(task)
    _, value, parts = runner.run([1, 7, 0, 0, 1, payload, blobs])
    return runner.packer.loads(value, parts)


def test_a_worker_runs_the_class_that_it_was_told_last():
    runner = TaskRunner()
    runner.announce(announcement(runner, One))
    first = result_of(runner, One("task"))

    runner.announce(announcement(runner, Two))

    assert (first, result_of(runner, Two("task"))) == ("one", "two")


def test_a_class_that_is_told_again_is_not_loaded_again():
    runner = TaskRunner()
    runner.announce(announcement(runner, One))
    result_of(runner, One("task"))

    runner.announce(announcement(runner, One))
    result_of(runner, One("task"))

    assert runner.loaded == 1


def posts(commands):
    """Return what is posted: names of announced classes, and leases."""
    return [
        ([code.name for code in one.task_classes], [entry[0] for entry in one.entries])
        for one in commands
        if isinstance(one, PostChunk)
    ]


def test_a_worker_is_told_each_time_that_a_number_stands_for_another_class():
    slave = SlaveDriver(workers=1)
    slave.ready()
    slave.core.classes([task_class()])
    slave.core.leases([lease(1), lease(2)])
    told = posts(slave.step())
    slave.core.hold()
    slave.core.classes([OTHER])
    slave.core.leases([lease(3)])

    for _ in range(2):
        slave.workers[1].claim()
        slave.workers[1].unreported = [[slave.workers[1].running, 0, b"v", None, 10**9]]
        slave.workers[1].running = None
        slave.workers[1].chunks.clear()
        slave.core.worker_results(1, slave.workers[1].unreported, ended=True, now=slave.now)
        told += posts(slave.step())

    assert told == [(["Class0"], [1]), ([], [2]), (["Another"], [3])]
