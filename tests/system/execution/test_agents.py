"""What a master can ask of an agent, whoever runs its tasks."""

from __future__ import annotations

import os
import signal
from functools import partial

import psutil
import pytest

from concurro.errors import ProtocolError
from concurro.execution.agent import SlaveAgent
from concurro.execution.inline import InlineTasks
from concurro.execution.managed import ManagedAgent
from concurro.execution.thread_pool import ThreadPool
from concurro.ids import Outcome
from concurro.wire.messages import Kind
from tests.support.waiting import wait_until
from tests.system.execution import tasks
from tests.system.execution.agent_driver import AgentDriver


def native(loop, send):
    return SlaveAgent(loop, send=send, workers=1, name="slave-1")


def managed(manager, loop, send):
    return ManagedAgent(loop, send=send, manager=manager(), workers=1, name="slave-1")


MAKERS = {
    "process-pool": native,
    "thread-pool": partial(managed, ThreadPool),
    "inline": partial(managed, InlineTasks),
}


@pytest.fixture(params=MAKERS)
def driver(request, leaves_nothing_behind):
    driver = AgentDriver(MAKERS[request.param])
    yield driver
    driver.close()


@pytest.fixture
def waiting_driver(driver):
    if isinstance(getattr(driver.agent, "_manager", None), InlineTasks):
        pytest.skip("an inline task holds the loop")
    return driver


def wait_for_start(driver, path):
    driver.turn_until(path.with_suffix(".started").exists, "the task to start")


def test_runs_a_leased_task(driver):
    lease = driver.lease(tasks.square, 3)

    assert driver.result(lease) == (Outcome.DONE, 9)


def test_fetches_the_large_parts_of_a_task_and_serves_those_of_its_result(driver):
    value = os.urandom(3_000_000)

    lease = driver.lease(tasks.echo, value)

    assert driver.result(lease) == (Outcome.DONE, value)


@pytest.mark.slow
def test_lets_the_blobs_go_when_the_result_is_acknowledged(driver):
    lease = driver.lease(tasks.echo, os.urandom(1_000_000))
    driver.result(lease)
    before = driver.agent.blobs.total - driver.agent.blobs.cached

    driver.tell(Kind.RESULT_ACK, [[lease]])
    driver.turn_until(lambda: driver.agent.blobs.total == driver.agent.blobs.cached, "the blobs to be cache")

    assert before >= 1_000_000


def test_reports_what_a_task_raises(driver):
    lease = driver.lease(tasks.import_what_is_not_there)

    outcome, failure = driver.result(lease)

    assert outcome == Outcome.RAISED
    assert failure[0] == "ModuleNotFoundError"


def test_a_keyboard_interrupt_is_the_task_s_failure_where_a_node_takes_the_signal(driver):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        outcome, failure = driver.result(driver.lease(tasks.interrupt))
    finally:
        signal.signal(signal.SIGINT, before)

    assert (outcome, failure[0]) == (Outcome.RAISED, "KeyboardInterrupt")


def test_reports_a_result_that_does_not_pickle(driver):
    outcome, failure = driver.result(driver.lease(tasks.return_a_lock))

    assert outcome == Outcome.NOT_PICKLABLE
    assert "result['parts'][1].lock" in failure[1]


def test_says_that_a_recalled_task_has_started_and_returns_the_others(waiting_driver, tmp_path):
    running = waiting_driver.lease(tasks.wait_for, str(tmp_path / "go"))
    queued = waiting_driver.lease(tasks.square, 3)
    wait_for_start(waiting_driver, tmp_path / "go")

    waiting_driver.tell(Kind.RECALL, [[running, queued]])
    waiting_driver.turn_until(lambda: waiting_driver.returned and waiting_driver.started, "both answers")
    (tmp_path / "go").touch()

    assert (waiting_driver.returned, waiting_driver.started) == ([queued], [running])
    assert waiting_driver.result(running)[0] == Outcome.DONE


def test_reports_nothing_of_a_killed_task(waiting_driver, tmp_path):
    unwanted = waiting_driver.lease(tasks.wait_for, str(tmp_path / "go"))
    wait_for_start(waiting_driver, tmp_path / "go")

    waiting_driver.tell(Kind.KILL, [[unwanted]])
    after = waiting_driver.result(waiting_driver.lease(tasks.square, 3))
    (tmp_path / "go").touch()

    assert after == (Outcome.DONE, 9)
    assert unwanted not in waiting_driver.results


def test_drains_by_returning_what_waits_and_waiting_for_what_runs(waiting_driver, tmp_path):
    running = waiting_driver.lease(tasks.wait_for, str(tmp_path / "go"))
    queued = waiting_driver.lease(tasks.square, 3)
    wait_for_start(waiting_driver, tmp_path / "go")
    done = []

    waiting_driver.agent.drain(lambda: done.append(True))
    waiting_driver.turn_until(lambda: waiting_driver.returned, "the queued one")
    before = list(done)
    (tmp_path / "go").touch()
    waiting_driver.result(running)
    waiting_driver.tell(Kind.RESULT_ACK, [[running]])
    waiting_driver.turn_until(lambda: done, "the end")

    assert (before, waiting_driver.returned) == ([], [queued])


def test_reports_its_slots_and_processes(driver):
    driver.result(driver.lease(tasks.square, 3))

    slots, pids, sick = driver.states[-1][:3]

    assert (slots, sick) == (1, "")
    assert pids == driver.agent.worker_pids()


def test_refuses_a_message_that_no_slave_gets(driver):
    with pytest.raises(ProtocolError):
        driver.tell(Kind.SUBMIT, [])


def test_runs_the_tasks_of_a_new_master_after_the_old_one_is_gone(waiting_driver, tmp_path):
    lost = waiting_driver.lease(tasks.wait_for, str(tmp_path / "go"))
    wait_for_start(waiting_driver, tmp_path / "go")

    waiting_driver.agent.abandon()
    payload, blobs = waiting_driver.packer.dump_task_class(tasks.Call)
    waiting_driver.tell(Kind.CLASSES, [[7, 0, "Call", None, {}, payload, blobs, "another job"]])
    after = waiting_driver.result(waiting_driver.lease(tasks.square, 3))
    (tmp_path / "go").touch()

    assert after == (Outcome.DONE, 9)
    assert lost not in waiting_driver.results


def test_the_output_of_a_worker_is_kept_within_its_bound(leaves_nothing_behind):
    driver = AgentDriver(native)

    driver.result(driver.lease(tasks.print_much, 5000))
    (link,) = driver.agent._links.values()
    driver.turn_until(lambda: "to stderr" in link.output.last_lines(), "the last line")
    kept = sum(len(piece) for _, piece in link.output.pieces)
    driver.close()

    assert kept <= 2 * 64 * 1024
    assert {stream for stream, _ in link.output.pieces} == {1, 2}


def test_a_stopped_agent_has_no_process(leaves_nothing_behind):
    driver = AgentDriver(native)
    driver.result(driver.lease(tasks.square, 3))
    pids = driver.agent.worker_pids()

    driver.close()

    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 30, "the workers to be gone")
    assert pids
