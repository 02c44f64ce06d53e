"""Masters with a journal that are killed: what was acknowledged goes on."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter

import pytest

from concurro import ApplicationNode, ITaskSystem, JournalInUseError, MasterNode
from tests.support.jobs import SHIPPED, Traced, leave_trace, open_gate, read_trace, wait_for_gate
from tests.support.nodes import master_process, slave_process
from tests.support.waiting import wait_until

FREE = 50
"""So many tasks of a job run at once; the others wait at the gate."""


class Step(Traced):
    """Says that it ran; its number is its result."""

    def __init__(self, number, folder, *, waits, once):
        super().__init__(str(number), folder)
        self.waits = waits
        self.max_retries = 0 if once else None

    def __call__(self):
        leave_trace(self.folder, self.name, self.attempt)
        if self.waits:
            wait_for_gate(self.folder)
        return int(self.name)


class Steps(ITaskSystem):
    """Publishes the number of each finished task; those after the first ones wait at the gate."""

    def __init__(self, count, folder, *, once=False):
        super().__init__()
        self.count = count
        self.folder = str(folder)
        self.once = once
        self.seen = []
        self.lost = []

    def generate_tasks(self, master):
        for number in range(self.count):
            yield Step(number, self.folder, waits=number >= FREE, once=self.once)

    def task_finished(self, master, task, result, error):
        if error is None:
            self.seen.append(result)
            master.publish(result)
        else:
            self.lost.append((int(task.name), error.type_name, error.message))

    def is_complete(self, master):
        return len(self.seen) + len(self.lost) == self.count

    def gather_result(self, master):
        return (sorted(self.seen), self.lost), None


def journalled(folder):
    """Start a master on the journal of a folder, the same one each time."""
    return master_process(folder, master={"journal": str(folder / "journal")})


def application(url):
    return ApplicationNode(url, config={"application": {**SHIPPED["application"], "connect_timeout": 30.0}})


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)


def executions(folder):
    return Counter(int(line[0]) for line in read_trace(folder))


def run_until_the_gate(node, system):
    """Submit a system and wait until all that runs at once is on disk."""
    handle = node.submit(system)
    published = handle.partial_results()
    assert sorted(itertools.islice(published, FREE)) == list(range(FREE))
    wait_until(lambda: len(executions(system.folder)) > FREE, 20, "a task at the gate")
    return handle


def test_f58_a_killed_master_goes_on_and_runs_no_finished_task_again(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        handle = run_until_the_gate(node, Steps(60, tmp_path))

        kill(master)
        open_gate(tmp_path)
        with journalled(tmp_path):
            seen, lost = handle.result(60)

    runs = executions(tmp_path)
    assert (seen, lost) == (list(range(60)), [])
    assert {number: runs[number] for number in range(FREE)} == dict.fromkeys(range(FREE), 1)


@pytest.mark.parametrize("once", [False, True])
def test_f58_what_slaves_run_when_the_master_is_killed_goes_on_and_is_run_once(tmp_path, once):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=3), application(url) as node:
        handle = run_until_the_gate(node, Steps(FREE + 3, tmp_path, once=once))
        wait_until(lambda: len(executions(tmp_path)) == FREE + 3, 20, "every task begun")

        kill(master)
        with journalled(tmp_path):
            open_gate(tmp_path)
            seen, lost = handle.result(60)

    assert (seen, lost) == (list(range(FREE + 3)), [])
    assert executions(tmp_path) == dict.fromkeys(range(FREE + 3), 1)


@pytest.mark.slow  # the master waits a while for the slave that it had
def test_f58_a_task_that_may_run_once_and_has_no_holder_is_lost_and_says_so(tmp_path):
    with journalled(tmp_path) as (master, url), application(url) as node:
        with slave_process(url, workers=2) as slave:
            handle = run_until_the_gate(node, Steps(60, tmp_path, once=True))
            kill(master)
            kill(slave)
        open_gate(tmp_path)
        with journalled(tmp_path), slave_process(url, workers=2):
            seen, lost = handle.result(60)

    runs = executions(tmp_path)
    assert max(runs.values()) == 1
    assert sorted([*seen, *(number for number, _, _ in lost)]) == list(range(60))
    assert {name for _, name, _ in lost} == {"WorkerLost"}
    assert all("the master was restarted" in message for _, _, message in lost)
    assert set(runs) >= set(seen)


def test_f58_the_result_of_a_detached_system_outlives_the_master(tmp_path):
    open_gate(tmp_path)
    with journalled(tmp_path) as (master, url), slave_process(url):
        with application(url) as node:
            handle = node.submit(Steps(60, tmp_path), detach=True)
            handle.result(30)
        kill(master)

        with journalled(tmp_path), application(url) as node:
            seen, _ = node.attach(handle.system_id).result(30)

    assert seen == list(range(60))
    assert max(executions(tmp_path).values()) == 1


@pytest.mark.slow
def test_f59_a_master_killed_ten_times_has_the_exact_result(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        handle = run_until_the_gate(node, Steps(20_000, tmp_path))
        open_gate(tmp_path)
        kill(master)
        for _ in range(9):
            with journalled(tmp_path) as (again, _):
                before = len(executions(tmp_path))
                wait_until(lambda before=before: len(executions(tmp_path)) > before, 30, "a further task")
                kill(again)
        assert not handle.done()
        with journalled(tmp_path):
            seen, lost = handle.result(60)

    assert (seen, lost) == (list(range(20_000)), [])


def test_f61_a_master_that_was_stopped_goes_on_when_it_is_started_again(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        system_id = run_until_the_gate(node, Steps(60, tmp_path)).system_id
        master.terminate()
        assert master.wait(20) == 0
        open_gate(tmp_path)
        with journalled(tmp_path), application(url) as other:
            seen, lost = other.attach(system_id).result(60)

    assert (seen, lost) == (list(range(60)), [])


def test_f62_a_second_master_on_a_journal_is_refused_naming_the_first(tmp_path):
    with journalled(tmp_path) as (master, _):
        second = MasterNode({"master": {"listen": f"ipc://{tmp_path}/other", "journal": str(tmp_path / "journal")}})

        with pytest.raises(JournalInUseError, match=f"process {master.pid}") as caught:
            second.start()

    assert caught.value.pid == master.pid
