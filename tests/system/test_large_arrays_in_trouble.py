"""Large arrays while processes are killed, tasks are copied and taken back, and tasks push tasks."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from concurro import HostLost, LocalCluster, Task, TaskSystem, current_application
from tests.support.doubling import COUNT, Double, Doubling, is_right, segments
from tests.support.jobs import SHIPPED, leave_trace, open_gate, read_trace
from tests.support.journalled import application, executions, journalled, kill
from tests.support.nodes import master_process, slave_process
from tests.support.waiting import wait_until

FREE, ALL = 6, 10


def total(array):
    return float(array.sum())


def published(handle, count):
    """Wait for so many partial results."""
    numbers = handle.partial_results()
    return sorted(next(numbers) for _ in range(count))


def host_of(node):
    """Return the host of the only task system; None while there is none."""
    return next((one["host_pid"] for one in node.status()["systems"] if one["host_pid"]), None)


def run_until_half(node, folder, **options):
    """Submit a job; return once the first tasks are done and the next ones begun."""
    handle = node.submit(Doubling(ALL, FREE, folder), **options)
    assert published(handle, FREE) == list(range(FREE))
    wait_until(lambda: len(executions(folder)) > FREE, 30, "a task at the gate")
    return handle


@pytest.mark.slow
def test_a_host_killed_with_large_arrays_has_them_again_in_the_next_one(tmp_path):
    with master_process(tmp_path) as (_, url), slave_process(url, workers=2), application(url) as node:
        handle = run_until_half(node, tmp_path, restarts=1)
        first = host_of(node)
        assert segments(first) >= FREE

        os.kill(first, signal.SIGKILL)
        wait_until(lambda: host_of(node) not in (None, first), 30, "another host")
        open_gate(tmp_path)

        assert is_right(handle.result(60), ALL)
    assert max(executions(tmp_path).values()) == 1


@pytest.mark.slow
def test_the_pages_of_a_host_that_was_killed_go_with_its_system(tmp_path):
    with master_process(tmp_path) as (master, url), slave_process(url, workers=2) as slave, application(url) as node:
        handle = run_until_half(node, tmp_path)

        os.kill(host_of(node), signal.SIGKILL)

        assert isinstance(handle.exception(30), HostLost)
        executor = node.executor()
        assert executor.submit(total, np.ones(COUNT)).result(30) == COUNT
        pids = [master.pid, slave.pid, *node.status()["slaves"][0]["worker_pids"]]
        wait_until(lambda: max(map(segments, pids)) <= 2, 30, "the pages to go")


@pytest.mark.slow
def test_a_killed_master_has_the_large_results_from_its_journal(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        handle = run_until_half(node, tmp_path)

        kill(master)
        with journalled(tmp_path):
            open_gate(tmp_path)
            gathered = handle.result(60)

    assert is_right(gathered, ALL)
    runs = executions(tmp_path)
    assert {number: runs[number] for number in range(FREE)} == dict.fromkeys(range(FREE), 1)


@pytest.mark.slow
def test_the_large_result_of_a_detached_system_outlives_the_master(tmp_path):
    open_gate(tmp_path)
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2):
        with application(url) as node:
            handle = node.submit(Doubling(ALL, FREE, tmp_path), detach=True)
            handle.result(30)
        kill(master)

        with journalled(tmp_path), application(url) as node:
            gathered = node.attach(handle.system_id).result(30)

    assert is_right(gathered, ALL)


class HangsOnce(Double):
    """Hangs where it runs first."""

    def __call__(self):
        leave_trace(self.folder, self.name, os.getpid())
        if self.waits and len([line for line in read_trace(self.folder) if line[0] == self.name]) == 1:
            time.sleep(300)
        return self.array * 2


class Copied(Doubling):
    """Its last task hangs, but its copy does not."""

    speculate = True

    def generate_tasks(self, master):
        return [HangsOnce(number, self.folder, waits=number == self.count - 1) for number in range(self.count)]


@pytest.mark.slow
def test_the_copy_of_a_straggler_has_the_same_large_array(tmp_path):
    with LocalCluster(workers=1, slaves=2, config=SHIPPED) as cluster:
        assert is_right(cluster.run(Copied(ALL, ALL, tmp_path), timeout=60), ALL)

        runs = executions(tmp_path)
        assert runs.pop(ALL - 1) == 2
        assert set(runs.values()) == {1}
        pids = [cluster.master_pid, *(slave.pid for slave in cluster.slaves)]
        wait_until(lambda: max(map(segments, pids)) <= 2, 30, "the pages to go")


@pytest.mark.slow
def test_tasks_with_large_arrays_that_were_sent_ahead_run_elsewhere(tmp_path):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        executor = cluster.executor()
        assert executor.submit(total, np.ones(COUNT)).result(30) == COUNT
        stuck = cluster.push_task(Double(0, str(tmp_path), waits=True))
        wait_until(lambda: read_trace(tmp_path), 30, "the task at the gate")
        futures = [cluster.push_task(Double(number, str(tmp_path), waits=False)) for number in range(1, 20)]

        cluster.add_slave(1)
        results = [future.result(30) for future in futures]
        assert not stuck.done()
        open_gate(tmp_path)

        for number, result in enumerate([stuck.result(30), *results]):
            assert np.all(result == 2 * number)
    assert set(executions(tmp_path).values()) == {1}


def doubled_by_another(array):
    """Let another task double an array, and add what came back here."""
    application = current_application()
    with application.executor() as executor:
        result = executor.submit(np.multiply, array, 2).result()
    again = application.run(Scaling(array, 3))
    return float(result.sum()), again


class Scaling(TaskSystem):
    """Scales one array in a few tasks."""

    def __init__(self, array, count):
        super().__init__()
        self.array = array
        self.count = count
        self.sums = []

    def generate_tasks(self, master):
        return (Scale(self.array, number) for number in range(self.count))

    def task_finished(self, master, task, result, error):
        assert error is None, error
        self.sums.append(float(result.sum()))

    def is_complete(self, master):
        return len(self.sums) == self.count

    def gather_result(self, master):
        return sorted(self.sums), None


class Scale(Task):
    """Scales an array."""

    def __init__(self, array, factor):
        super().__init__(f"scale-{factor}")
        self.array = array
        self.factor = factor

    def __call__(self):
        return self.array * self.factor


@pytest.mark.slow
def test_tasks_push_and_run_what_has_their_large_arrays():
    with LocalCluster(workers=2, config=SHIPPED) as cluster:
        executor = cluster.executor()
        futures = [executor.submit(doubled_by_another, np.full(COUNT, float(number))) for number in range(6)]

        for number, future in enumerate(futures):
            size = COUNT * number
            assert future.result(60) == (2 * size, [0, size, 2 * size])
        del futures, future
        assert executor.submit(total, np.ones(COUNT)).result(30) == COUNT
        pids = [cluster.master_pid, *cluster.slaves[0].workers]
        wait_until(lambda: max(map(segments, pids)) <= 4, 30, "the pages to go")
