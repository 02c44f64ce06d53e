"""The life of a task system: rounds, lazy generators, early ends, what callbacks may do."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import CancelledError

import psutil
import pytest

from concurro import (
    HostLost,
    InvalidTaskError,
    NotPicklableError,
    StalledSystemError,
    SystemFailedError,
    Task,
    TaskCancelled,
    TaskSystem,
)
from tests.support.jobs import Square, Traced, Waiting, leave_trace, read_trace
from tests.support.waiting import has_ended, wait_until


class Endless(TaskSystem):
    """Has a thousand million tasks and is content with a hundred."""

    enough = 100

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)
        self.total = 0
        self.done = 0

    def generate_tasks(self, master):
        for n in range(10**9):
            leave_trace(self.folder, "pulled", n)
            yield Square(n)

    def task_finished(self, master, task, result, error):
        self.done += 1
        self.total += result

    def is_complete(self, master):
        return self.done == self.enough

    def gather_result(self, master):
        return self.done, None


def test_f66_a_thousand_million_lazy_tasks_are_pulled_as_they_are_consumed(shared_cluster, tmp_path):
    done = shared_cluster.run(Endless(tmp_path), timeout=20)

    assert done == 100
    pulled = len(read_trace(tmp_path))
    assert 100 <= pulled < 40_000


class Searching(TaskSystem):
    """Completes at its first finished task; the others wait at a gate that nobody opens."""

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)
        self.finished = []

    def generate_tasks(self, master):
        yield Waiting("stuck", self.folder)
        yield Late(self.folder)
        for n in range(100):
            yield Waiting(f"queued-{n}", self.folder)

    def task_finished(self, master, task, result, error):
        self.finished.append(task.name)

    def is_complete(self, master):
        return bool(self.finished)

    def gather_result(self, master):
        return self.finished, None


class Late(Traced):
    """Finishes once the stuck task has begun."""

    def __call__(self):
        while "stuck" not in {line[0] for line in read_trace(self.folder)}:
            time.sleep(0.01)
        return super().__call__()

    def __init__(self, folder):
        super().__init__("found", folder)


def test_an_early_end_cancels_queued_tasks_and_kills_running_ones(shared_cluster, tmp_path):
    handle = shared_cluster.submit(Searching(tmp_path))

    finished = handle.result(30)

    assert finished == ["found"]
    started = {line[0]: int(line[1]) for line in read_trace(tmp_path)}
    assert {"stuck", "found"} <= started.keys()
    assert len(started) <= 4
    wait_until(lambda: has_ended(started["stuck"]), 30, "the end of the worker of the stuck task")
    assert handle.progress.counts["done"] == 1
    assert handle.progress.counts["cancelled"] > 1
    assert handle.progress.counts["queued"] == handle.progress.counts["leased"] == 0


class Rounds(TaskSystem):
    """Three rounds, each made from the results of the one before."""

    def __init__(self):
        super().__init__()
        self.values = [1, 2, 3]
        self.rounds = 0
        self.next = []

    def generate_tasks(self, master):
        self.rounds += 1
        if self.rounds > 1:
            self.values, self.next = sorted(self.next), []
        return [Square(n) for n in self.values]

    def task_finished(self, master, task, result, error):
        self.next.append(result)

    def is_complete(self, master):
        return self.rounds == 3 and len(self.next) == 3

    def gather_result(self, master):
        return sorted(self.next), None


def test_every_round_sees_all_results_of_the_round_before(shared_cluster):
    assert shared_cluster.run(Rounds(), timeout=20) == [1, 2**8, 3**8]


class Stalling(TaskSystem):
    """Never complete, and without tasks from its second round on."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def generate_tasks(self, master):
        first, self.first = self.first, None
        return first

    def task_finished(self, master, task, result, error):
        """Notice nothing."""

    def is_complete(self, master):
        return False

    def gather_result(self, master):
        raise AssertionError


@pytest.mark.parametrize("first", [None, [], [Square(1), Square(2)]])
def test_a_round_without_tasks_ends_the_system(shared_cluster, first):
    with pytest.raises(StalledSystemError, match="Stalling is not complete"):
        shared_cluster.run(Stalling(first), timeout=20)


class AtOnce(TaskSystem):
    """Is complete although it never had a task."""

    def generate_tasks(self, master):
        return ()

    def is_complete(self, master):
        return True

    def gather_result(self, master):
        return "nothing to do", None


def test_a_system_without_tasks_may_be_complete(shared_cluster):
    assert shared_cluster.run(AtOnce(), timeout=20) == "nothing to do"


class Pushing(TaskSystem):
    """Pushes from callbacks, cancels what it pushed, publishes and reports."""

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)
        self.seen = {}
        self.errors = {}
        self.ids = {}

    def init_system(self, master):
        self.ids["early"] = master.push_task(Traced("early", self.folder))

    def generate_tasks(self, master):
        return [Traced("generated", self.folder)]

    def task_finished(self, master, task, result, error):
        assert task.task_id.startswith(master.system_id + ":")
        if error is None:
            self.seen[task.name] = task.task_id
        else:
            self.errors[task.name] = error
        if task.name == "generated":
            tasks = [Waiting("stuck", self.folder), Traced("pushed", self.folder)]
            self.ids["stuck"], self.ids["pushed"] = master.push_tasks(tasks)
        if task.name == "pushed":
            assert self.ids["pushed"] == task.task_id
            master.cancel_task(self.ids["stuck"])
        master.publish({"name": task.name})
        master.report_progress(len(self.seen), 4, f"after {task.name}")

    def is_complete(self, master):
        return len(self.seen) + len(self.errors) == 4

    def gather_result(self, master):
        return (self.seen, self.errors), None


def test_callbacks_push_cancel_publish_and_report(shared_cluster, tmp_path):
    records = []
    handle = shared_cluster.submit(Pushing(tmp_path))
    handle.watch(records.append)

    published = [value["name"] for value in handle.partial_results()]
    seen, errors = handle.result(30)

    assert seen.keys() == {"early", "generated", "pushed"}
    assert len(set(seen.values())) == 3
    assert errors.keys() == {"stuck"}
    assert isinstance(errors["stuck"], TaskCancelled)
    assert errors["stuck"].type_name == "TaskCancelled"
    assert sorted(published) == ["early", "generated", "pushed", "stuck"]
    assert (handle.progress.done, handle.progress.total) == (3, 4)
    assert handle.progress.message.startswith("after ")
    assert handle.progress.counts["cancelled"] == 1
    assert records
    stuck = [int(line[1]) for line in read_trace(tmp_path) if line[0] == "stuck"]
    wait_until(lambda: all(has_ended(pid) for pid in stuck), 30, "the end of the cancelled task's worker")


class Looking(TaskSystem):
    """Gathers what its master shows."""

    def __init__(self):
        super().__init__()
        self.facts = None

    def generate_tasks(self, master):
        return [Square(1)]

    def task_finished(self, master, task, result, error):
        slave = master.slaves[0]
        self.facts = {
            "system_id": master.system_id,
            "workers": master.num_workers,
            "slave": (slave.id, slave.workers),
            "now": master.now(),
            "random": 0 <= master.random.random() < 1,
            "task": (task.slave_id, task.attempt, task.attempt_duration > 0),
            "pid": os.getpid(),
        }

    def is_complete(self, master):
        return self.facts is not None

    def gather_result(self, master):
        return self.facts, None


def test_a_system_sees_the_cluster_and_runs_in_a_process_of_its_own(shared_cluster):
    slave = shared_cluster.slaves[0]
    system = Looking()

    facts = shared_cluster.run(system, timeout=20)

    assert facts["system_id"] == system.system_id
    assert facts["workers"] == 2
    assert facts["slave"] == (slave.id, 2)
    assert abs(facts["now"] - time.time()) < 30
    assert facts["random"]
    assert facts["task"] == (slave.id, 1, True)
    assert facts["pid"] not in {os.getpid(), shared_cluster.master_pid, *slave.workers}


class Ending(TaskSystem):
    """Ends with an error of its own."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def generate_tasks(self, master):
        return [Square(2)]

    def task_finished(self, master, task, result, error):
        self.finished = True

    def is_complete(self, master):
        return True

    def gather_result(self, master):
        return "a result", self.error


def test_an_exception_from_gather_result_is_raised_as_it_is(shared_cluster):
    with pytest.raises(ZeroDivisionError, match="mine"):
        shared_cluster.run(Ending(ZeroDivisionError("mine")), timeout=20)


def test_another_error_from_gather_result_is_wrapped(shared_cluster):
    with pytest.raises(SystemFailedError) as caught:
        shared_cluster.run(Ending({"code": 7}), timeout=20)

    assert caught.value.error == {"code": 7}


class NoTask(TaskSystem):
    def generate_tasks(self, master):
        return ["not a task"]


class BadTask(Task):
    def __init__(self):
        super().__init__("bad")
        self.options = {"plain": 1, "own": threading.Lock()}


class Unpicklable(NoTask):
    def generate_tasks(self, master):
        return [BadTask()]


def test_what_is_no_task_ends_its_system_with_a_clear_error(shared_cluster):
    with pytest.raises(InvalidTaskError, match="str"):
        shared_cluster.run(NoTask(), timeout=20)


def test_a_task_that_cannot_travel_names_the_culprit_and_its_path(shared_cluster):
    with pytest.raises(NotPicklableError, match=r"task\.options\['own'\]") as caught:
        shared_cluster.run(Unpicklable(), timeout=20)

    assert "_thread.lock" in str(caught.value)
    assert caught.value.path == "task.options['own']"


CALLBACKS = ["init_system", "generate_tasks", "task_finished", "is_complete", "gather_result", "finished", "iterator"]


class RaisingIn(Ending):
    """Raises in one of its callbacks."""

    def __init__(self, callback):
        super().__init__(None)
        self.callback = callback

    def _maybe_raise(self, callback):
        if callback == self.callback:
            message = f"raised in {callback}"
            raise ArithmeticError(message)

    def init_system(self, master):
        self._maybe_raise("init_system")

    def generate_tasks(self, master):
        self._maybe_raise("generate_tasks")
        return self._tasks()

    def _tasks(self):
        yield Raiser(self.callback)
        self._maybe_raise("iterator")

    def task_finished(self, master, task, result, error):
        self._maybe_raise("task_finished")

    def is_complete(self, master):
        self._maybe_raise("is_complete")
        return self.callback != "iterator"

    def gather_result(self, master):
        self._maybe_raise("gather_result")
        return "a result", None


class Raiser(Square):
    def __init__(self, callback):
        super().__init__(3)
        self.callback = callback

    def finished(self, result, error):
        if self.callback == "finished":
            message = "raised in finished"
            raise ArithmeticError(message)


@pytest.mark.parametrize("callback", CALLBACKS)
def test_f64_a_callback_that_raises_ends_its_system_with_that_error(shared_cluster, callback):
    with pytest.raises(ArithmeticError, match=f"raised in {callback}") as caught:
        shared_cluster.run(RaisingIn(callback), timeout=20)

    assert "ArithmeticError: raised in" in str(caught.value.__cause__)


@pytest.mark.parametrize("progress", [(10**30,), (1, 2, "half\ud800way")])
def test_progress_that_cannot_be_sent_is_its_callbacks_error(shared_cluster, progress):
    with pytest.raises(ValueError, match="report_progress") as caught:
        shared_cluster.run(Reporting(lambda master: master.report_progress(*progress)), timeout=20)

    assert "in task_finished" in str(caught.value.__cause__)


def test_what_cannot_be_packed_fails_its_system_and_not_its_host(shared_cluster):
    def spoil(master):
        master._core.progress = [10**30, None, ""]

    with pytest.raises(SystemFailedError, match="what the system said cannot be packed"):
        shared_cluster.run(Reporting(spoil), timeout=20)


class Reporting(Ending):
    """Does something with its master after its task."""

    def __init__(self, step):
        super().__init__(None)
        self.step = step

    def task_finished(self, master, task, result, error):
        self.step(master)


def test_f64_other_systems_do_not_notice_a_callback_that_raises(shared_cluster, tmp_path):
    other = shared_cluster.submit(Rounds())

    with pytest.raises(ArithmeticError):
        shared_cluster.run(RaisingIn("task_finished"), timeout=20)

    assert other.result(30) == [1, 2**8, 3**8]


class Looping(Ending):
    """Never comes back from a callback."""

    def __init__(self, folder):
        super().__init__(None)
        self.folder = str(folder)

    def task_finished(self, master, task, result, error):
        leave_trace(self.folder, "looping", os.getpid())
        while True:
            pass


@pytest.mark.slow
def test_f65_a_callback_that_loops_can_be_cancelled_and_disturbs_nobody(shared_cluster, tmp_path):
    handle = shared_cluster.submit(Looping(tmp_path))
    [[_, host]] = wait_until(lambda: read_trace(tmp_path), 30, "the loop")

    rounds = shared_cluster.run(Rounds(), timeout=20)
    began = time.monotonic()
    handle.cancel()
    with pytest.raises(CancelledError):
        handle.result(30)

    assert rounds == [1, 2**8, 3**8]
    assert time.monotonic() - began < 30
    wait_until(lambda: has_ended(int(host)), 30, "the end of the host")


@pytest.mark.slow
def test_a_host_that_is_killed_fails_its_system_only(shared_cluster, tmp_path):
    handle = shared_cluster.submit(Looping(tmp_path))
    [[_, host]] = wait_until(lambda: read_trace(tmp_path), 30, "the loop")
    other = shared_cluster.submit(Rounds())
    wait_until(lambda: "now in task_finished (host process" in handle.explain(), 30, "the callback to be named")

    psutil.Process(int(host)).kill()

    with pytest.raises(HostLost, match="SIGKILL, in task_finished"):
        handle.result(30)
    assert other.result(30) == [1, 2**8, 3**8]
