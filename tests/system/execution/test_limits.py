"""What ends a worker from outside, in a pool whose limits the tests set."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from concurro import TaskMemoryExceeded, TaskTimeout, WorkerLost
from concurro.execution import worker_watch
from concurro.execution.process_pool import ProcessPool
from tests.support.waiting import has_ended, wait_until
from tests.system.execution import tasks
from tests.system.execution.conftest import Pool

MIB = 1 << 20


@pytest.fixture
def limited(leaves_nothing_behind, monkeypatch):
    monkeypatch.setattr(ProcessPool, "memory_limit", 100 * MIB)
    pool = Pool(1)
    yield pool
    pool.manager.stop()


def test_f18_a_pool_alone_keeps_its_memory_limit(limited):
    _, error = limited.run(tasks.hold_memory, 200 * MIB, 30)

    assert isinstance(error, TaskMemoryExceeded)
    assert "more than the memory limit of 100 MiB per worker" in error.message
    assert limited.run(tasks.square, 3) == (9, None)


def test_f18_who_runs_after_a_task_that_left_much_behind_is_not_blamed(limited, monkeypatch):
    monkeypatch.setattr(worker_watch, "LOOK_PERIOD", 60)  # so that only the worker itself looks

    left, error = limited.run(tasks.leave_memory, 200 * MIB)
    after, later_error = limited.run(tasks.process_id)

    assert (error, later_error) == (None, None)
    assert left != after


def test_f18_an_idle_worker_that_holds_too_much_is_replaced(limited):
    idle = limited.worker()
    limited.push(tasks.grow_afterwards, 200 * MIB)

    limited.take()

    wait_until(lambda: has_ended(idle), 30, "the end of the worker")
    assert limited.run(tasks.square, 3) == (9, None)


def test_f32_a_worker_that_is_stopped_is_given_up_and_its_task_runs_elsewhere(pool, monkeypatch, tmp_path):
    monkeypatch.setattr(worker_watch, "STATE_PERIOD", 0.05)
    monkeypatch.setattr(worker_watch, "STOPPED_LIMIT", 0.3)

    result, error = pool.run(tasks.stop_itself_once, str(tmp_path / "stopped"))

    assert (result, error) == ("went on", None)
    assert has_ended(int((tmp_path / "stopped").read_text()))


def test_f32_a_task_that_stops_its_worker_always_is_lost_and_says_so(pool, monkeypatch):
    monkeypatch.setattr(worker_watch, "STATE_PERIOD", 0.05)
    monkeypatch.setattr(worker_watch, "STOPPED_LIMIT", 0.2)

    _, error = pool.run(tasks.kill_itself, signal.SIGSTOP, max_retries=0)

    assert isinstance(error, WorkerLost)
    assert "since it was stopped for 0.2 s" in error.message
    assert "out of memory" not in error.message


def test_f32_a_worker_that_is_continued_in_time_is_left_alone(pool, monkeypatch, tmp_path):
    monkeypatch.setattr(worker_watch, "STATE_PERIOD", 0.02)
    pool.push(tasks.wait_for, str(tmp_path / "go"))
    pid = pool.wait_for_workers(1)[0]
    wait_until(lambda: pool.manager._agent.core.is_busy(1), 30, "the task to be posted")

    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: pool.manager._agent._watch._stopped, 30, "the agent to notice")
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not pool.manager._agent._watch._stopped, 30, "the agent to notice")
    Path(tmp_path / "go").touch()
    _, error = pool.take()

    assert error is None
    assert pool.manager.worker_pids() == [pid]


def test_f32_with_a_timeout_a_stopped_worker_is_a_timeout(pool):
    _, error = pool.run(tasks.kill_itself, signal.SIGSTOP, timeout=0.3)

    assert isinstance(error, TaskTimeout)
    assert pool.run(tasks.square, 3) == (9, None)
