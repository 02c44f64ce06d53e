"""What a task may do to its worker, and what the user sees of it: lines 1 to 25 of the failure matrix."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from concurro import (
    HostLost,
    LocalCluster,
    NotPicklableError,
    ResultNotPicklable,
    Task,
    TaskTimeout,
    WorkerLost,
)
from concurro.errors import RemoteTraceback
from tests.support.jobs import (
    SHIPPED,
    Mixture,
    Square,
    leave_trace,
    read_trace,
    run_among_others,
)
from tests.support.waiting import has_ended, wait_until


class TwoPartError(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class ReducesBadlyError(Exception):
    """Its `__reduce__` does what it is told."""

    def __init__(self, act):
        super().__init__("an error with a bad __reduce__")
        self.act = act

    def __reduce__(self):
        return self.act()


def _refuse():
    message = "no pickle"
    raise RuntimeError(message)


def _exit_when_dumped():
    sys.exit(0)


def _exit_when_loaded():
    return sys.exit, (0,)


class Failing(Task):
    """Raises what a function gives."""

    def __init__(self, make_error, name="failing"):
        super().__init__(name)
        self.make_error = make_error

    def __call__(self):
        raise self.make_error()


class Doing(Task):
    """Calls a function and returns what it gives."""

    def __init__(self, act, *arguments, name="doing", **fields):
        super().__init__(name, **fields)
        self.act = act
        self.arguments = arguments

    def __call__(self):
        return self.act(*self.arguments)


@pytest.mark.slow
def test_f01_a_task_that_raises_tells_all_about_it(shared_cluster):
    [error] = run_among_others(shared_cluster, Failing(lambda: ValueError("no 7 today")))

    assert (error.type_name, error.message) == ("ValueError", "no 7 today")
    assert "Traceback (most recent call last)" in error.traceback
    assert "raise self.make_error()" in error.traceback
    assert error.slave_id == shared_cluster.slaves[0].id
    assert error.attempt == 1
    assert error.task_id.endswith(":10")
    assert isinstance(error.cause, ValueError)


def test_f01_the_future_of_a_task_raises_the_original_with_the_remote_traceback(shared_cluster):
    future = shared_cluster.push_task(Failing(lambda: KeyError("lost")))

    with pytest.raises(KeyError, match="lost") as caught:
        future.result(30)

    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "raise self.make_error()" in str(caught.value.__cause__)


def test_f01_a_raised_exception_is_tried_again_as_often_as_the_task_says(shared_cluster, tmp_path):
    def trace_and_fail():
        leave_trace(tmp_path, os.getpid())
        message = "again"
        raise OSError(message)

    [error] = run_among_others(shared_cluster, Doing(trace_and_fail, max_retries=2))

    assert error.attempt == 3
    assert len(read_trace(tmp_path)) == 3


def _fail_to_load(*_):
    message = "not here"
    raise LookupError(message)


class LoadsBadly:
    """Pickles, and does what it is told when it is loaded."""

    def __init__(self, act, argument):
        self.act = act
        self.argument = argument

    def __reduce__(self):
        return self.act, (self.argument,)


@pytest.mark.slow
@pytest.mark.parametrize(("act", "type_name"), [(_fail_to_load, "LookupError"), (sys.exit, "SystemExit")])
def test_f05_a_result_that_does_not_unpickle_in_the_host_is_that_tasks_error(shared_cluster, act, type_name):
    [error] = run_among_others(shared_cluster, Doing(lambda: LoadsBadly(act, 3)))

    assert error.type_name == type_name
    assert "could not be rebuilt" in error.message


@pytest.mark.slow
def test_f05_a_result_that_kills_the_host_ends_that_system_only(shared_cluster):
    other = shared_cluster.submit(Mixture(*(Doing(time.sleep, 0.01, name=f"nap-{n}") for n in range(40))))

    with pytest.raises(HostLost, match="exit code 3, in the loading of a result"):
        shared_cluster.run(Mixture(Doing(lambda: LoadsBadly(os._exit, 3))), timeout=20)

    assert len(other.result(30).results) == 40


def _recurse(n):
    return _recurse(n + 1) + 1


def _nested(depth):
    nest = []
    for _ in range(depth):
        nest = [nest]
    return nest


def _import_missing():
    import module_that_is_not_there  # type: ignore[import-not-found]

    return module_that_is_not_there


@pytest.fixture(scope="module")
def errors(shared_cluster):
    """Run many bad tasks among good ones, in one system; give the error of each by its name."""
    workers = shared_cluster.slaves[0].workers
    bad = [
        Failing(lambda: TwoPartError("here", "there"), "does-not-unpickle"),
        Failing(lambda: ReducesBadlyError(_refuse), "reduce-raises"),
        Failing(lambda: ReducesBadlyError(_exit_when_dumped), "reduce-exits"),
        Failing(lambda: ReducesBadlyError(_exit_when_loaded), "exits-when-loaded"),
        Doing(lambda: {"parts": [1, threading.Lock()]}, name="lock"),
        Doing(_recurse, 0, name="recursion"),
        Doing(_nested, 100_000, name="nested"),
        Doing(sys.exit, 0, name="exit-zero"),
        Failing(KeyboardInterrupt, "interrupt"),
        Doing(_import_missing, name="missing-import"),
    ]
    found = run_among_others(shared_cluster, *bad)
    numbers = {int(error.task_id.rpartition(":")[2]): error for error in found}
    assert shared_cluster.slaves[0].workers == workers, "a worker died of an exception"
    return {task.name: numbers[10 + index] for index, task in enumerate(bad)}


def test_f02_an_exception_that_does_not_unpickle_arrives_as_text(errors):
    error = errors["does-not-unpickle"]

    assert error.type_name == "TwoPartError"
    assert error.message.startswith("here and there (TwoPartError cannot be rebuilt: TypeError: ")
    assert "raise self.make_error()" in error.traceback
    assert error.cause is None


@pytest.mark.parametrize("name", ["reduce-raises", "reduce-exits", "exits-when-loaded"])
def test_f03_an_exception_whose_reduce_raises_or_exits_arrives_as_text(errors, name):
    error = errors[name]

    assert error.type_name == "ReducesBadlyError"
    assert error.message.startswith("an error with a bad __reduce__ (ReducesBadlyError cannot ")
    assert "raise self.make_error()" in error.traceback
    assert error.cause is None


def test_f04_a_result_that_does_not_pickle_is_named_with_its_path(errors):
    error = errors["lock"]

    assert isinstance(error, ResultNotPicklable)
    assert error.type_name == "ResultNotPicklable"
    assert "_thread.lock" in error.message
    assert "result['parts'][1]" in error.message


def test_f06_infinite_recursion_is_an_error_like_others(errors):
    assert errors["recursion"].type_name == "RecursionError"
    assert "_recurse" in errors["recursion"].traceback


def test_f06_a_result_nested_too_deep_does_not_pickle(errors):
    error = errors["nested"]

    assert isinstance(error, ResultNotPicklable)
    assert "recursion" in error.message.lower()


def test_f07_exit_zero_is_a_failure(errors):
    assert (errors["exit-zero"].type_name, errors["exit-zero"].message) == ("SystemExit", "0")


def test_f08_a_keyboard_interrupt_is_a_failure_of_its_task(errors):
    assert errors["interrupt"].type_name == "KeyboardInterrupt"


def test_f25_a_missing_import_names_module_slave_and_ship(errors):
    error = errors["missing-import"]

    assert error.type_name == "ModuleNotFoundError"
    assert "'module_that_is_not_there'" in error.message
    assert error.slave_id in error.message
    assert "ship" in error.message


def test_f08_ctrl_c_in_the_middle_of_a_worker_does_not_end_it(shared_cluster):
    workers = shared_cluster.slaves[0].workers

    def interrupt_itself():
        os.kill(os.getpid(), signal.SIGINT)
        return "alive"

    result = shared_cluster.push_task(Doing(interrupt_itself)).result(30)

    assert result == "alive"
    assert shared_cluster.slaves[0].workers == workers


def _segfault():
    ctypes.string_at(0)


def _exit_silently():
    os._exit(0)


def _kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_f09_a_segfault_takes_three_workers_and_is_lost_then(shared_cluster, tmp_path):
    assert_lost_after_three_workers(shared_cluster, tmp_path, _segfault, "SIGSEGV")


def test_f10_a_silent_exit_takes_three_workers_and_is_no_success(shared_cluster, tmp_path):
    assert_lost_after_three_workers(shared_cluster, tmp_path, _exit_silently, "exit code 0")


@pytest.mark.slow
def test_f11_a_task_that_kills_itself_takes_three_workers_and_is_lost_then(shared_cluster, tmp_path):
    assert_lost_after_three_workers(shared_cluster, tmp_path, _kill_itself, "SIGKILL")


def assert_lost_after_three_workers(shared_cluster, tmp_path, act, named):
    """Prove that three workers die of a task, nothing else is charged, and they are all replaced."""
    before = set(shared_cluster.slaves[0].workers)

    def trace_and_end():
        leave_trace(tmp_path, os.getpid())
        act()

    [error] = run_among_others(shared_cluster, Doing(trace_and_end))

    assert isinstance(error, WorkerLost)
    assert error.type_name == "WorkerLost"
    assert named in error.message
    assert error.attempt == 3
    victims = {int(line[0]) for line in read_trace(tmp_path)}
    assert len(victims) == 3
    assert all(has_ended(pid) for pid in victims)
    wait_until(lambda: len(shared_cluster.slaves[0].workers) == len(before), 30, "the worker to be back")


def test_f09_without_retries_a_segfault_happens_once(shared_cluster, tmp_path):
    def trace_and_end():
        leave_trace(tmp_path, os.getpid())
        _segfault()

    [error] = run_among_others(shared_cluster, Doing(trace_and_end, max_retries=0))

    assert isinstance(error, WorkerLost)
    assert error.attempt == 1
    assert len(read_trace(tmp_path)) == 1


@pytest.mark.slow
def test_f13_an_infinite_loop_ends_at_its_timeout(shared_cluster, tmp_path):
    def loop():
        leave_trace(tmp_path, os.getpid())
        while True:
            pass

    began = time.monotonic()
    [error] = run_among_others(shared_cluster, Doing(loop, timeout=0.3))

    assert isinstance(error, TaskTimeout)
    assert error.type_name == "TaskTimeout"
    assert "0.3 s" in error.message
    assert time.monotonic() - began < 60
    [[pid]] = read_trace(tmp_path)
    assert has_ended(int(pid))


@pytest.mark.slow
def test_f16_threads_that_a_task_leaves_disturb_nobody(shared_cluster):
    def leave_thread():
        threading.Thread(target=threading.Event().wait, args=(30,), name="left").start()
        return threading.active_count()

    tasks = [Doing(leave_thread, name=f"leave-{n}") for n in range(4)]
    errors = run_among_others(shared_cluster, *tasks)

    assert errors == []


def test_f17_a_task_may_use_multiprocessing(shared_cluster, tmp_path):
    def use_pool():
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pids = {pool.apply(os.getpid) for _ in range(4)}
            leave_trace(tmp_path, *pids)
            return pool.map(abs, range(-10, 0))

    result = shared_cluster.push_task(Doing(use_pool)).result(30)

    assert result == list(range(10, 0, -1))
    [pids] = read_trace(tmp_path)
    wait_until(lambda: all(has_ended(int(pid)) for pid in pids), 30, "the end of the pool's processes")


def test_f17_a_process_that_a_task_forgets_ends_with_the_attempt(shared_cluster, tmp_path):
    def forget_process():
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=False)
        process.start()
        leave_trace(tmp_path, process.pid)
        return "done"

    result = shared_cluster.push_task(Doing(forget_process)).result(30)

    assert result == "done"
    [[pid]] = read_trace(tmp_path)
    wait_until(lambda: has_ended(int(pid)), 30, "the end of the forgotten process")


def test_f21_an_argument_too_large_is_refused_with_sizes(shared_cluster, monkeypatch):
    monkeypatch.setattr(shared_cluster._application._packer, "_limit", 1_000_000)

    with pytest.raises(NotPicklableError, match=r"too large to travel: 8000\d\d\d B, the limit is 1000000 B"):
        shared_cluster.push_task(Doing(len, np.zeros(1_000_000)))


def test_f22_floods_of_prints_block_nobody(shared_cluster):
    def flood():
        for _ in range(200):
            print("x" * 50_000)
            print("y" * 50_000, file=sys.stderr)
        os.write(1, b"z" * 1_000_000)
        return "dry"

    result = shared_cluster.push_task(Doing(flood)).result(30)

    assert result == "dry"


def test_f23_a_task_that_closes_descriptors_loses_its_own_worker_at_most(shared_cluster):
    def close_all():
        os.closerange(0, 65_536)

    errors = run_among_others(shared_cluster, Doing(close_all, max_retries=0))

    assert all(isinstance(error, WorkerLost) for error in errors)


def test_f23_closed_standard_descriptors_do_not_hurt(shared_cluster):
    def close_standard():
        for fd in range(3):
            os.close(fd)
        return "quiet"

    result = shared_cluster.push_task(Doing(close_standard)).result(30)

    assert result == "quiet"


class Surroundings(Mixture):
    """First tasks that change their process, then tasks that look around."""

    def __init__(self, change, look):
        super().__init__(*(Doing(change, name=f"change-{n}") for n in range(4)))
        self.look = look
        self.round = 0

    def generate_tasks(self, master):
        self.round += 1
        if self.round == 2:
            self.tasks = (*self.tasks, *(Doing(self.look, name=f"look-{n}") for n in range(8)))
            return self.tasks[4:]
        return self.tasks

    def is_complete(self, master):
        return self.round == 2 and super().is_complete(master)


def _change_process():
    os.chdir("/")
    os.environ["CHANGED"] = "yes"
    os.umask(0o077)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _look_around():
    mask = os.umask(0o022)
    os.umask(mask)
    return str(Path.cwd()), os.environ.get("CHANGED"), mask, str(signal.getsignal(signal.SIGUSR1))


def test_f24_a_changed_process_is_not_seen_by_the_next_task(shared_cluster):
    before = shared_cluster.push_task(Doing(_look_around)).result(30)

    report = shared_cluster.run(Surroundings(_change_process, _look_around), timeout=20)

    assert report.errors == []
    seen = {report.results[f"look-{n}"] for n in range(8)}
    assert seen == {before}


@pytest.mark.slow
def test_f25_a_module_missing_on_one_slave_fails_the_tasks_there_and_says_so(tmp_path: Path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "only_on_one.py").write_text(
        "from concurro import Task\n"
        "class Installed(Task):\n"
        "    def __call__(self):\n"
        "        import time\n"
        "        time.sleep(0.02)\n"
        "        return self.slave_id\n"
    )
    with LocalCluster(workers=1, slaves=1, config=SHIPPED) as cluster:
        poor = cluster.slaves[0].id
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        rich = cluster.add_slave(1)
        monkeypatch.syspath_prepend(str(folder))
        from only_on_one import Installed  # type: ignore[import-not-found]

        futures = cluster.push_tasks(Installed(f"installed-{n}") for n in range(20))
        outcomes = [future.exception(30) or future.result() for future in futures]
        square = cluster.push_task(Square(7)).result(30)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    sys.modules.pop("only_on_one", None)

    assert set(outcomes) - set(failures) == {rich}
    assert failures
    assert all(isinstance(failure, ImportError) for failure in failures)
    assert all("'only_on_one'" in str(failure) and poor in str(failure) for failure in failures)
    assert square == 49
