"""What slaves run while their master is killed, and what becomes of it."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from concurro import Task
from tests.support.jobs import Mixture, leave_trace, open_gate, read_trace, wait_for_gate
from tests.support.journalled import FREE, Steps, application, executions, journalled, kill, run_until_the_gate
from tests.support.nodes import slave_process
from tests.support.waiting import wait_until

COUNT = FREE + 3
ONCE_EACH = dict.fromkeys(range(COUNT), 1)

IMPATIENT = """
import concurro.nodes.master
concurro.nodes.master.ADOPT_PATIENCE = 0.3
"""
"""Of a master that soon waits no longer for slaves."""

NO_COMMIT = """
import threading
from concurro.journal.store import JournalStore
from concurro.scheduling.rows import InputApplied
write = JournalStore.apply
def apply(store, rows):
    rows = list(rows)
    if any(isinstance(row, InputApplied) and row.body[3:] and row.body[3] for row in rows):
        threading.Event().wait()
    write(store, rows)
JournalStore.apply = apply
"""
"""Of a master that never gets the result of a task on disk."""


class Poison(Task):
    """Takes its worker with it; from the third attempt on it waits at the gate first."""

    def __init__(self, folder):
        super().__init__("poison")
        self.folder = str(folder)

    def __call__(self):
        leave_trace(self.folder, self.name)
        if len(read_trace(self.folder)) > 2:
            wait_for_gate(self.folder)
        os.kill(os.getpid(), signal.SIGKILL)


def at_the_gate(node, folder, *, once=False):
    """Submit a job and wait until every task of it runs or has ended."""
    handle = run_until_the_gate(node, Steps(COUNT, folder, once=once))
    wait_until(lambda: len(executions(folder)) == COUNT, 30, "every task begun")
    return handle


def slaves(node):
    return node.status()["slaves"]


@pytest.mark.slow
@pytest.mark.parametrize("once", [False, True])
def test_f58_what_slaves_run_goes_on_and_is_run_once(tmp_path, once):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=3), application(url) as node:
        handle = at_the_gate(node, tmp_path, once=once)

        kill(master)
        with journalled(tmp_path):
            open_gate(tmp_path)
            seen, lost = handle.result(60)

    assert (seen, lost) == (list(range(COUNT)), [])
    assert executions(tmp_path) == ONCE_EACH


@pytest.mark.slow
def test_f61_what_slaves_run_goes_on_when_the_master_is_stopped_in_order(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=3), application(url) as node:
        system_id = at_the_gate(node, tmp_path).system_id

        master.terminate()
        assert master.wait(30) == 0
        with journalled(tmp_path), application(url) as other:
            open_gate(tmp_path)
            seen, lost = other.attach(system_id).result(60)

    assert (seen, lost) == (list(range(COUNT)), [])
    assert executions(tmp_path) == ONCE_EACH


@pytest.mark.slow
def test_f59_it_goes_on_although_the_master_is_killed_again_before_any_slave_was_back(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=3) as slave, application(url) as node:
        handle = at_the_gate(node, tmp_path, once=True)
        slave.send_signal(signal.SIGSTOP)
        kill(master)
        with journalled(tmp_path) as (second, _):
            kill(second)
        with journalled(tmp_path):
            slave.send_signal(signal.SIGCONT)
            open_gate(tmp_path)
            seen, lost = handle.result(60)

    assert (seen, lost) == (list(range(COUNT)), [])
    assert executions(tmp_path) == ONCE_EACH


@pytest.mark.slow
def test_f59_it_goes_on_although_the_master_is_killed_again_after_the_slave_was_back(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=3), application(url) as node:
        handle = at_the_gate(node, tmp_path, once=True)
        kill(master)
        with journalled(tmp_path) as (second, _), application(url) as other:
            wait_until(lambda: [slave for slave in slaves(other) if slave["running"] == 3], 30, "its leases are back")
            kill(second)
        with journalled(tmp_path):
            open_gate(tmp_path)
            seen, lost = handle.result(60)

    assert (seen, lost) == (list(range(COUNT)), [])
    assert executions(tmp_path) == ONCE_EACH


@pytest.mark.slow
def test_f58_what_a_slave_ran_that_never_comes_back_is_run_again_elsewhere(tmp_path):
    with journalled(tmp_path) as (master, url), application(url) as node:
        with slave_process(url, workers=3) as slave:
            handle = at_the_gate(node, tmp_path)
            kill(master)
            kill(slave)
        open_gate(tmp_path)
        with journalled(tmp_path, prelude=IMPATIENT), slave_process(url, workers=2):
            seen, lost = handle.result(60)

    assert (seen, lost) == (list(range(COUNT)), [])
    assert executions(tmp_path) == {**ONCE_EACH, **dict.fromkeys(range(FREE, COUNT), 2)}
    assert {line[2] for line in read_trace(tmp_path)} == {"1"}  # nothing was charged


@pytest.mark.slow
def test_f58_a_task_that_may_run_once_and_has_no_holder_is_lost_and_says_so(tmp_path):
    with journalled(tmp_path) as (master, url), application(url) as node:
        with slave_process(url, workers=3) as slave:
            handle = at_the_gate(node, tmp_path, once=True)
            kill(master)
            kill(slave)
        open_gate(tmp_path)
        with journalled(tmp_path, prelude=IMPATIENT), slave_process(url, workers=2):
            seen, lost = handle.result(60)

    assert seen == list(range(FREE))
    assert [(number, name) for number, name, _ in sorted(lost)] == [(n, "WorkerLost") for n in range(FREE, COUNT)]
    assert all("the master was restarted" in message for _, _, message in lost)
    assert executions(tmp_path) == ONCE_EACH


@pytest.mark.slow
@pytest.mark.parametrize("once", [False, True])
def test_f58_the_worker_that_dies_while_there_is_no_master_is_told_of(tmp_path, once):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=3), application(url) as node:
        handle = at_the_gate(node, tmp_path, once=once)
        worker = next(int(pid) for number, pid, _ in read_trace(tmp_path) if int(number) == FREE)

        kill(master)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(worker), 30, "the end of the worker")
        with journalled(tmp_path):
            open_gate(tmp_path)
            seen, lost = handle.result(60)

    if once:
        (failure,) = lost
        assert failure[:2] == (FREE, "WorkerLost")
        assert "SIGKILL" in failure[2]
        assert executions(tmp_path) == ONCE_EACH
    else:
        assert (seen, lost) == (list(range(COUNT)), [])
        assert executions(tmp_path) == {**ONCE_EACH, FREE: 2}


@pytest.mark.slow
def test_f58_the_tasks_of_a_standalone_master_end_with_it_and_are_run_again(tmp_path):
    alone = {"master": {"standalone": True}, "slave": {"workers": 3}}
    with journalled(tmp_path, **alone) as (master, url), application(url) as node:
        handle = at_the_gate(node, tmp_path)
        workers = {int(pid) for _, pid, _ in read_trace(tmp_path)}

        kill(master)
        wait_until(lambda: not any(map(psutil.pid_exists, workers)), 30, "the end of the workers")
        open_gate(tmp_path)
        with journalled(tmp_path, **alone):
            seen, lost = handle.result(60)

    assert (seen, lost) == (list(range(COUNT)), [])
    assert executions(tmp_path) == {**ONCE_EACH, **dict.fromkeys(range(FREE, COUNT), 2)}


@pytest.mark.slow
def test_f58_a_result_is_acknowledged_once_it_is_on_disk_and_not_run_again(tmp_path):
    open_gate(tmp_path)
    with journalled(tmp_path, prelude=NO_COMMIT) as (master, url), slave_process(url), application(url) as node:
        handle = node.submit(Steps(1, tmp_path))
        wait_until(lambda: node.status()["systems"][0]["done"] == 1, 30, "the result at the master")
        # What the slave was told before arrives before what it is told now.
        assert node.push_task(Once()).result(30) == 1
        kill(master)
        with journalled(tmp_path):
            seen, _ = handle.result(60)

    assert seen == [0]
    assert executions(tmp_path) == {0: 1}


@pytest.mark.slow
def test_f31_no_task_takes_more_than_three_workers_although_the_master_is_killed(tmp_path):
    with journalled(tmp_path) as (master, url), application(url) as node:
        with slave_process(url) as slave:
            handle = node.submit(Mixture(Poison(tmp_path)))
            wait_until(lambda: len(read_trace(tmp_path)) == 3, 30, "two crashes, and another attempt")
            kill(master)
            kill(slave)
        open_gate(tmp_path)
        with journalled(tmp_path, prelude=IMPATIENT), slave_process(url):
            (error,) = handle.result(60).errors

    assert error.type_name == "WorkerLost"
    lost_with_its_slave = 1
    assert len(read_trace(tmp_path)) - lost_with_its_slave == 3


@pytest.mark.slow
def test_f58_plain_tasks_that_may_run_once_are_no_part_of_the_journal(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url), application(url) as node:
        assert node.push_task(Once()).result(30) == 1
        kill(master)

        with journalled(tmp_path), application(url) as other:
            assert other.status()["systems"] == []


class Once(Task):
    """May run once."""

    max_retries = 0

    def __init__(self):
        super().__init__("once")

    def __call__(self):
        return 1
