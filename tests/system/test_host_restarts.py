"""Hosts that are killed or end by themselves, and `submit(restarts=k)`."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from concurro import HostLost, LocalCluster, Task, TaskSystem
from tests.support.jobs import leave_trace, open_gate, read_trace, wait_for_gate
from tests.support.journalled import (
    FREE,
    Steps,
    application,
    executions,
    journalled,
    kill,
    run_until_the_gate,
)
from tests.support.nodes import master_process, slave_process
from tests.support.waiting import wait_until

COUNT = FREE + 3
ONCE_EACH = dict.fromkeys(range(COUNT), 1)


def kill_host(node):
    """Kill the host of the only system; return once another one is there."""
    (system,) = node.status()["systems"]
    os.kill(system["host_pid"], signal.SIGKILL)
    wait_until(lambda: node.status()["systems"][0]["host_pid"] not in (None, system["host_pid"]), 30, "another host")


class Leaver(TaskSystem):
    """Ends its own process at its first finished task."""

    def generate_tasks(self, master):
        yield Large(np.arange(10.0), "")

    def task_finished(self, master, task, result, error):
        os._exit(3)

    def is_complete(self, master):
        return False


class Large(Task):
    """Adds an array; waits at the gate first if there is one."""

    def __init__(self, numbers, folder):
        super().__init__("large")
        self.numbers = numbers
        self.folder = str(folder)

    def __call__(self):
        if self.folder:
            leave_trace(self.folder, self.name)
            wait_for_gate(self.folder)
        return float(self.numbers.sum())


class Arrays(TaskSystem):
    """Adds arrays that are too large for a message."""

    def __init__(self, count, folder):
        super().__init__()
        self.count = count
        self.folder = str(folder)
        self.sums = []

    def generate_tasks(self, master):
        for number in range(self.count):
            yield Large(np.full(100_000, float(number)), self.folder)

    def task_finished(self, master, task, result, error):
        assert error is None, error
        self.sums.append(result)

    def is_complete(self, master):
        return len(self.sums) == self.count

    def gather_result(self, master):
        return sorted(self.sums), None


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "journalled"])
def test_a_system_whose_host_is_killed_goes_on_and_runs_nothing_again(tmp_path, kept):
    masters = journalled(tmp_path) if kept else master_process(tmp_path)
    with masters as (_, url), slave_process(url, workers=3), application(url) as node:
        handle = run_until_the_gate(node, Steps(COUNT, tmp_path, once=True), restarts=2)
        wait_until(lambda: len(executions(tmp_path)) == COUNT, 30, "every task begun")

        kill_host(node)
        kill_host(node)
        open_gate(tmp_path)
        seen, lost = handle.result(60)

    assert (seen, lost) == (list(range(COUNT)), [])
    assert executions(tmp_path) == ONCE_EACH


@pytest.mark.slow
def test_partial_results_come_once_although_the_host_is_killed(tmp_path):
    with master_process(tmp_path) as (_, url), slave_process(url, workers=3), application(url) as node:
        handle = node.submit(Steps(COUNT, tmp_path), restarts=1)
        wait_until(lambda: len(executions(tmp_path)) == COUNT, 30, "every task begun")

        kill_host(node)
        open_gate(tmp_path)
        handle.result(60)

        assert sorted(handle.partial_results()) == list(range(COUNT))


@pytest.mark.slow
def test_the_large_arguments_of_a_killed_host_are_had_from_the_next_one(tmp_path):
    with master_process(tmp_path) as (_, url), application(url) as node:
        with slave_process(url) as slave:
            handle = node.submit(Arrays(6, tmp_path), restarts=1)
            wait_until(lambda: read_trace(tmp_path), 30, "a task begun")
            kill_host(node)
            kill(slave)
        open_gate(tmp_path)
        with slave_process(url):
            sums = handle.result(60)

    assert sums == [100_000.0 * number for number in range(6)]


@pytest.mark.slow
def test_a_host_that_always_ends_fails_its_system_after_as_many_restarts(tmp_path):
    with LocalCluster(workers=1) as cluster:
        handle = cluster.submit(Leaver(), restarts=2)

        with pytest.raises(HostLost) as caught:
            handle.result(60)

    text = str(caught.value)
    assert handle.system_id in text
    assert "Leaver" in text
    assert "exit code 3, in task_finished, while it worked on input" in text
    assert "task_finished of 1 task" in text
    assert "started again 2 times before, as often as it may" in text


@pytest.mark.slow
def test_a_killed_host_and_then_a_killed_master_lose_nothing(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=3), application(url) as node:
        handle = run_until_the_gate(node, Steps(COUNT, tmp_path, once=True), restarts=1)
        wait_until(lambda: len(executions(tmp_path)) == COUNT, 30, "every task begun")
        kill_host(node)

        kill(master)
        with journalled(tmp_path):
            open_gate(tmp_path)
            seen, lost = handle.result(60)

    assert (seen, lost) == (list(range(COUNT)), [])
    assert executions(tmp_path) == ONCE_EACH
