"""Tasks that take too much, and what ends them: lines 9, 13 to 15, 19, 20, 26 and 28 of the failure matrix."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from concurro import Task, TaskSystem, TaskTimeout, WorkerLost
from tests.support.jobs import leave_trace, read_trace, run_among_others
from tests.support.waiting import has_ended, wait_until


class Doing(Task):
    """Calls a function and returns what it gives."""

    def __init__(self, act, *arguments, name="doing", **fields):
        super().__init__(name, **fields)
        self.act = act
        self.arguments = arguments

    def __call__(self):
        return self.act(*self.arguments)


@pytest.mark.parametrize(
    ("act", "named"),
    [
        (lambda: ctypes.string_at(0), "SIGSEGV"),
        (os.abort, "SIGABRT"),
        (lambda: os.kill(os.getpid(), signal.SIGBUS), "SIGBUS"),
        (lambda: os.kill(os.getpid(), signal.SIGFPE), "SIGFPE"),
    ],
    ids=["segfault", "abort", "bus", "arithmetic"],
)
def test_f09_a_death_in_native_code_shows_where_it_was(shared_cluster, act, named):
    def deep():
        act()

    [error] = run_among_others(shared_cluster, Doing(deep, max_retries=0))

    assert isinstance(error, WorkerLost)
    assert named in error.message
    assert error.traceback.startswith("Fatal Python error: ")
    assert "test_failures_limits.py" in error.traceback
    assert " in deep" in error.traceback
    assert "task_runner.py" not in error.traceback
    assert error.traceback in str(error)


def test_f09_a_stack_that_overflows_in_native_code_shows_where_it_was(shared_cluster):
    def overflow():
        import sys

        def deeper(depth):
            return sorted([0, 1], key=lambda _: deeper(depth + 1))

        sys.setrecursionlimit(10**9)
        deeper(0)

    [error] = run_among_others(shared_cluster, Doing(overflow, max_retries=0))

    assert "SIGSEGV" in error.message
    assert " in deeper" in error.traceback


def test_f09_a_task_that_uses_the_fault_handler_itself_changes_nothing_for_the_next(shared_cluster):
    def disable():
        import faulthandler

        faulthandler.disable()
        return "disabled"

    def crash():
        ctypes.string_at(0)

    tasks = [Doing(disable, name=f"disable-{n}") for n in range(4)]
    [error] = run_among_others(shared_cluster, *tasks, Doing(crash, max_retries=0))

    assert "Segmentation fault" in error.traceback


def test_f09_the_crash_of_a_child_is_not_taken_for_that_of_its_worker(shared_cluster):
    def crash_in_a_child():
        pid = os.fork()
        if pid == 0:
            ctypes.string_at(0)
        os.waitpid(pid, 0)
        os.kill(os.getpid(), signal.SIGKILL)

    [error] = run_among_others(shared_cluster, Doing(crash_in_a_child, max_retries=0))

    assert "SIGKILL" in error.message
    assert error.traceback == ""


def test_f19_a_worker_that_nobody_of_us_killed_is_told_with_figures_and_without_blame(shared_cluster):
    def be_killed():
        held = bytearray(120 << 20)
        os.kill(os.getpid(), signal.SIGKILL)
        return len(held)

    [error] = run_among_others(shared_cluster, Doing(be_killed, max_retries=0))

    assert isinstance(error, WorkerLost)
    assert "killed by SIGKILL; by whom is not known (it held up to 1" in error.message
    assert "MiB; " in error.message


def test_f19_the_kernel_ends_a_worker_rather_than_its_agent(shared_cluster):
    def score(pid):
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text(encoding="ascii"))

    ours = shared_cluster.push_task(Doing(score, "self")).result(30)

    assert ours > score(shared_cluster.master_pid)


def _hold_the_interpreter():
    ctypes.PyDLL(None).usleep(60_000_000)


def _search_for_ever():
    re.match(r"(a+)+b", "a" * 60)


@pytest.mark.slow
@pytest.mark.parametrize("act", [_hold_the_interpreter, _search_for_ever], ids=["c_function", "regular_expression"])
def test_f14_an_endless_call_into_c_ends_at_its_timeout(shared_cluster, act):
    began = time.monotonic()

    [error] = run_among_others(shared_cluster, Doing(act, timeout=0.3))

    assert isinstance(error, TaskTimeout)
    assert "0.3 s" in error.message
    assert time.monotonic() - began < 50  # it would take a minute


class CleansSlowly(Task):
    """Returns at once, and then never ends to clean up."""

    timeout = 0.3

    def __call__(self):
        return "result"

    def clean_up(self):
        time.sleep(60)


@pytest.mark.slow
def test_f13_the_timeout_includes_the_cleaning_up(shared_cluster):
    [error] = run_among_others(shared_cluster, CleansSlowly("cleans-slowly"))

    assert isinstance(error, TaskTimeout)


class LoadsSlowly:
    """Takes a second to arrive, as a module does that a class imports."""

    def __reduce__(self):
        return time.sleep, (1.0,)


class NeedsWhatLoadsSlowly(Task):
    """Its class takes longer to load than the task may run."""

    timeout = 0.4
    part = LoadsSlowly()

    def __call__(self):
        return "in time"


@pytest.mark.slow
def test_f13_a_timeout_does_not_count_while_a_class_is_loaded(shared_cluster):
    assert shared_cluster.push_task(NeedsWhatLoadsSlowly("needs")).result(30) == "in time"


def _leave(folder, how):
    pid = os.fork()
    if pid == 0:
        if how in ("session", "double"):
            os.setsid()
        if how == "double" and os.fork():
            os._exit(0)
        leave_trace(folder, os.getpid())
        if how == "answers":
            return "second result"
        time.sleep(60)
        os._exit(0)
    while not read_trace(folder):
        time.sleep(0.005)
    return "first result"


@pytest.mark.parametrize("how", ["plain", "session", "double", "answers"])
def test_f15_a_child_that_lives_on_ends_with_its_attempt_and_gives_no_result(shared_cluster, tmp_path, how):
    futures = [shared_cluster.push_task(Doing(_leave, str(tmp_path), how))]
    futures += shared_cluster.push_tasks(Doing(os.getpid, name=f"later-{n}") for n in range(10))

    results = [future.result(30) for future in futures]

    assert results[0] == "first result"
    [[pid]] = read_trace(tmp_path)
    wait_until(lambda: has_ended(int(pid)), 30, "the end of the child")


@pytest.mark.slow
def test_f15_the_children_of_an_attempt_that_times_out_end_with_it(shared_cluster, tmp_path):
    def leave_and_hang(folder):
        _leave(folder, "double")
        time.sleep(60)

    [error] = run_among_others(shared_cluster, Doing(leave_and_hang, str(tmp_path), timeout=0.5))

    assert isinstance(error, TaskTimeout)
    [[pid]] = read_trace(tmp_path)
    wait_until(lambda: has_ended(int(pid)), 30, "the end of the child")


class TakesLargeResult(TaskSystem):
    """Looks at a large result beside the master."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.seen = None

    def generate_tasks(self, master):
        return [Doing(bytes, self.size, name="large")]

    def task_finished(self, master, task, result, error):
        self.seen = len(result) if error is None else str(error)

    def is_complete(self, master):
        return self.seen is not None

    def gather_result(self, master):
        return self.seen, None


@pytest.mark.parametrize(
    "size", [pytest.param(100 << 20, id="100_MiB"), pytest.param(1 << 30, id="1_GiB", marks=pytest.mark.slow)]
)
def test_f20_a_large_result_arrives_and_others_go_on_meanwhile(shared_cluster, size):
    handle = shared_cluster.submit(TakesLargeResult(size))
    slowest = 0.0
    while not handle.done():
        began = time.monotonic()
        assert shared_cluster.push_task(Doing(abs, -1, name="small")).result(30) == 1
        slowest = max(slowest, time.monotonic() - began)

    assert handle.result(60) == size
    assert slowest < 5
    assert shared_cluster.slaves[0].workers
    # The master holds no second copy: what it relays it reads from one.
    assert psutil.Process(shared_cluster.master_pid).memory_info().rss < 3 * size + (200 << 20)


@pytest.mark.slow
def test_f26_an_import_of_long_duration_is_no_death(shared_cluster, tmp_path):
    def import_for_long():
        import sys

        sys.path.insert(0, str(tmp_path))
        try:
            import takes_long
        finally:
            sys.path.remove(str(tmp_path))
        return takes_long.VALUE

    (tmp_path / "takes_long.py").write_text("import time\ntime.sleep(12)\nVALUE = 3\n")
    slave, workers = shared_cluster.slaves[0].id, shared_cluster.slaves[0].workers

    result = shared_cluster.push_task(Doing(import_for_long)).result(40)

    assert result == 3
    assert shared_cluster.slaves[0].id == slave
    assert shared_cluster.slaves[0].workers == workers


class DoesNothing(Task):
    """Nothing at all."""

    def __call__(self):
        return None


class Many(TaskSystem):
    """Very many tasks that do nothing."""

    def __init__(self, count):
        super().__init__()
        self.count = count
        self.done = 0

    def generate_tasks(self, master):
        return (DoesNothing("nothing") for _ in range(self.count))

    def task_finished(self, master, task, result, error):
        self.done += error is None

    def is_complete(self, master):
        return self.done == self.count

    def gather_result(self, master):
        return self.done, None


@pytest.mark.slow
def test_f28_a_million_tasks_that_do_nothing_leave_memory_flat(shared_cluster):
    def tree():
        master = psutil.Process(shared_cluster.master_pid)
        return [master, *master.children(recursive=True)]

    assert shared_cluster.run(Many(50_000), timeout=120) == 50_000
    handle = shared_cluster.submit(Many(1_000_000))
    wait_until(lambda: handle.progress.counts.get("done", 0) > 200_000, 120, "a fifth of the tasks")
    before = {process.pid: process.memory_info().rss for process in tree()}

    assert handle.result(400) == 1_000_000

    after = {process.pid: process.memory_info().rss for process in tree()}
    for pid in before.keys() & after.keys():
        assert after[pid] - before[pid] < 40 << 20
