"""Tasks that take more memory than a worker may hold: line 18 of the failure matrix."""

from __future__ import annotations

import os
import time

import pytest

from concurro import LocalCluster, Task, TaskMemoryExceeded
from tests.support.jobs import SHIPPED, leave_trace, read_trace, run_among_others
from tests.support.leftovers import watch_leftovers
from tests.support.waiting import has_ended, wait_until
from tests.system.conftest import SHARED_WORKERS

LIMITED = {**SHIPPED, "slave": {"memory_limit": "150 MiB"}}


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory):
    tmp_path_factory.getbasetemp()
    with watch_leftovers(), LocalCluster(workers=SHARED_WORKERS, config=LIMITED) as cluster:
        yield cluster


class Doing(Task):
    """Calls a function and returns what it gives."""

    def __init__(self, act, *arguments):
        super().__init__("doing")
        self.act = act
        self.arguments = arguments

    def __call__(self):
        return self.act(*self.arguments)


def _hold(folder, size):
    leave_trace(folder, os.getpid())
    held = bytearray(size)
    time.sleep(30)
    return len(held)


def _fork_and_hold(folder, size):
    leave_trace(folder, os.getpid())
    if os.fork() == 0:
        held = bytearray(size)
        time.sleep(30)
        os._exit(len(held) % 2)
    time.sleep(30)


@pytest.mark.parametrize("act", [_hold, _fork_and_hold], ids=["itself", "its_child"])
def test_f18_a_task_beyond_the_memory_limit_is_killed_and_says_what_it_held(shared_cluster, tmp_path, act):
    [error] = run_among_others(shared_cluster, Doing(act, str(tmp_path), 300 << 20))

    assert isinstance(error, TaskMemoryExceeded)
    assert error.type_name == "TaskMemoryExceeded"
    assert "more than the memory limit of 150 MiB per worker" in error.message
    assert error.slave_id == shared_cluster.slaves[0].id
    assert error.task_id.endswith(":10")
    assert error.attempt == 1
    [[pid]] = read_trace(tmp_path)
    wait_until(lambda: has_ended(int(pid)), 30, "the end of the worker")


def test_f18_a_task_below_the_limit_may_share_its_memory_with_children(shared_cluster):
    def share():
        held = bytearray(80 << 20)
        children = []
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                time.sleep(0.5)
                os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        return len(held)

    assert shared_cluster.push_task(Doing(share)).result(30) == 80 << 20
