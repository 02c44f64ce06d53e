"""What a host pickles of itself, and that another one goes on from it."""

from __future__ import annotations

import os
import threading

import pytest

from concurro.errors import NotPicklableError
from concurro.execution.native_trace import unnamed_file
from concurro.nodes.host_core import HostCore
from concurro.nodes.snapshot import fault_of, owner_of, pickle_state, read_state, write_state
from concurro.task import Task
from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling
from tests.unit.nodes.host_driver import Driver, Job, Number, numbers

N = 7


class Asking(Job):
    """Asks everything that a master tells, and keeps it and its tasks."""

    def init_system(self, master):
        self.master = master
        self.mine = numbers(4)
        self.answers = []

    def generate_tasks(self, master):
        return self.mine

    def task_finished(self, master, task, result, error):
        assert task in self.mine
        assert master is self.master
        self.answers.append([result, master.now(), master.random.random(), [one.id for one in master.slaves]])
        master.publish(result)
        master.push_task(Number(10 + result))


class OnItsMachine(Job):
    """Leaves out of its pickle what `init_system` makes."""

    def init_system(self, master):
        self.cache = threading.Lock()

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "cache"}


class Emptied(OnItsMachine):
    """As that, but has nothing there instead."""

    def __getstate__(self):
        return {**vars(self), "cache": None}


@pytest.fixture
def memory():
    fd = unnamed_file("test")
    yield fd
    os.close(fd)


def thawed(driver, system_id="job"):
    """Return a driver of a new host that begins where one is; its process knows nothing else."""
    payload, blobs = pickle_state(driver.core, driver.packer, owner_of(N))
    packer = Packer(BlobStore(), Travelling())
    for _, digest, _ in blobs or ():
        packer.blobs.put(bytes(driver.packer.blobs.get(digest)), "test")
    state = packer.loads(payload, blobs)
    again = Driver.__new__(Driver)
    again.packer, again.system, again.open, again.outputs = packer, state["system"], dict(driver.open), []
    again.core, again.n = HostCore(1, state["system"], system_id, packer), driver.n
    again.outputs.append(again.core.thaw(driver.n, state))
    return again


def test_a_thawed_host_answers_as_the_one_that_was_frozen():
    driver = Driver(Asking())
    driver.pull(3)
    driver.give([driver.done(0)], view=[["north", "north", 2, 0, 0, 0.0, {}]])
    again = thawed(driver)

    answers = [one.give([one.done(1), one.done(2)], pull=100, wall=1001.0) for one in (driver, again)]

    assert again.outputs[0][:9] == [1, 2, 4, [], [], [], [], None, None]
    assert answers[0] == answers[1]
    assert driver.system.answers == again.system.answers
    assert again.core.published == 3


def test_publications_are_counted_on():
    driver = Driver(Asking())
    driver.pull(2)
    driver.finish(0)
    again = thawed(driver)

    again.finish(1)

    assert (again.core.published, len(again.outputs[-1][6])) == (2, 1)


def test_classes_that_travel_by_value_are_those_of_the_results_that_come_later():
    class Local(Task):
        """Known to its sender alone."""

    tasks = [Local("first"), Local("second")]
    driver = Driver(Job(tasks))
    driver.system.mine = tasks
    ((*_, code, parts),) = driver.pull()[3]
    again = thawed(driver)
    worker = Packer(BlobStore(), Travelling())
    for _, digest, _ in parts:
        worker.blobs.put(bytes(driver.packer.blobs.get(digest)), "test")
    task_class = worker.load_task_class(code, parts)

    again.give([[0, 0, *worker.dumps(task_class("result")), "north", 1, 1000]])

    assert again.system.errors == [None]
    assert type(again.system.results[0]) is type(again.system.mine[1])


def test_nothing_is_tried_while_a_generator_is_open():
    class Lazy(Job):
        def generate_tasks(self, master):
            yield from numbers(3)

    driver = Driver(Lazy())
    driver.pull(1)

    assert "generator" in fault_of(driver.core)
    driver.pull()
    assert fault_of(driver.core) == ""


@pytest.mark.parametrize("kind", [OnItsMachine, Emptied])
def test_a_system_that_loses_attributes_in_its_pickle_is_refused(kind):
    driver = Driver(kind(numbers(1)))

    with pytest.raises(ValueError, match=rf"the system \({kind.__name__}\) has not the same cache any more"):
        pickle_state(driver.core, driver.packer, owner_of(N))


def test_a_system_with_a_set_whose_order_would_change_is_refused():
    driver = Driver(Job(numbers(1)))
    driver.system.waiting = {f"word-{number}" for number in range(2000)}

    with pytest.raises(ValueError, match="a set of 2000 would come back in another order"):
        pickle_state(driver.core, driver.packer, owner_of(N))


def test_a_task_does_not_take_its_master_along():
    class Grasping(Job):
        def generate_tasks(self, master):
            task = Number(1)
            task.master = master
            return [task]

    driver = Driver(Grasping())

    end = driver.pull()[8]

    assert end[0] == "failed"
    assert "task.master" in end[1][1][1]


def test_large_parts_go_through_memory_to_the_store_of_the_host(memory):
    driver = Driver(Job(numbers(1)))
    driver.system.large = b"x" * 200_000

    write_state(driver.core, driver.packer, N, memory)
    driver.packer.blobs.release(owner_of(N))
    packer = Packer(BlobStore(), Travelling())
    fault, payload, blobs = read_state(memory, packer, N)

    assert (fault, len(blobs)) == ("", 1)
    assert packer.loads(payload, blobs)["system"].large == driver.system.large
    packer.blobs.release(owner_of(N))
    assert packer.blobs.cached == packer.blobs.total


def test_what_does_not_pickle_is_told(memory):
    driver = Driver(Job(numbers(1)))
    driver.system.lock = threading.Lock()

    write_state(driver.core, driver.packer, N, memory)

    fault, payload, blobs = read_state(memory, driver.packer, N)
    assert (payload, blobs) == (b"", None)
    assert fault.startswith(NotPicklableError.__name__)
    assert "lock" in fault


def test_a_child_that_ended_before_it_had_written_all_has_no_state(memory):
    driver = Driver(Job(numbers(1)))
    driver.system.large = b"x" * 200_000
    write_state(driver.core, driver.packer, N, memory)
    os.ftruncate(memory, os.fstat(memory).st_size - 1)
    packer = Packer(BlobStore(), Travelling())

    fault, _, blobs = read_state(memory, packer, N)

    assert (fault, blobs) == ("not all of its large parts were written", None)
    assert packer.blobs.digests() == []


def test_a_child_that_wrote_nothing_has_no_state(memory):
    assert read_state(memory, Packer(BlobStore(), Travelling()), N)[0] != ""
