"""Tasks that take too much, and what ends them: lines 9, 14, 18 to 20, 26 and 28 of the failure matrix."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

import pytest

from concurro import Task, WorkerLost
from tests.support.jobs import run_among_others


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


def test_f19_a_worker_that_nobody_of_us_killed_is_probably_out_of_memory(shared_cluster):
    def be_killed():
        held = bytearray(120 << 20)
        os.kill(os.getpid(), signal.SIGKILL)
        return len(held)

    [error] = run_among_others(shared_cluster, Doing(be_killed, max_retries=0))

    assert isinstance(error, WorkerLost)
    assert "killed by SIGKILL; probably out of memory (it held up to 1" in error.message
    assert "MiB; " in error.message


def test_f19_the_kernel_ends_a_worker_rather_than_its_agent(shared_cluster):
    def score(pid):
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text(encoding="ascii"))

    ours = shared_cluster.push_task(Doing(score, "self")).result(10)

    assert ours > score(shared_cluster.master_pid)
