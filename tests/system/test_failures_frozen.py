"""Nodes that are killed, stopped or hang behind TCP: lines 37 to 40 and 70 of the failure matrix."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from tests.support.far_cluster import far_cluster
from tests.support.fault_proxy import TO_MASTER
from tests.support.jobs import (
    Mixture,
    Waiting,
    assert_ran_once,
    brief_tasks,
    open_gate,
    read_trace,
)
from tests.support.waiting import has_ended, wait_until


@pytest.mark.slow
def test_f38_a_stopped_slave_is_lost_and_joins_again_its_late_results_dropped_and_counted(far, tmp_path):
    first = far.wait_for_slave()
    handle = far.node.submit(Mixture(*(Waiting(f"task-{n}", tmp_path) for n in range(2))))
    wait_until(lambda: len(read_trace(tmp_path)) == 2, 30, "both workers")

    far.slave_net.hold(TO_MASTER)
    passed = far.slave_net.held_bytes(TO_MASTER)
    open_gate(tmp_path)
    wait_until(lambda: far.slave_net.held_bytes(TO_MASTER) > passed, 30, "results that are on their way")
    time.sleep(0.2)
    os.kill(far.slave.pid, signal.SIGSTOP)
    wait_until(lambda: not far.slaves(), 30, "the slave to be lost")
    os.kill(far.slave.pid, signal.SIGCONT)
    far.slave_net.release()
    second = far.wait_for_slave()
    report = handle.result(30)

    assert second != first
    assert report.errors == []
    assert set(report.slaves.values()) == {second}
    assert set(Counter(report.finished).values()) == {1}
    wait_until(lambda: far.node.status()["stale_results"] == 2, 30, "late results that are counted")


@pytest.mark.slow
def test_f39_a_slave_stopped_for_less_than_the_limit_is_forgiven(far, tmp_path):
    slave_id = far.wait_for_slave()
    tasks = brief_tasks(tmp_path, 100)
    handle = far.node.submit(Mixture(*tasks))
    wait_until(lambda: len(read_trace(tmp_path)) >= 10, 30, "tasks that run")

    os.kill(far.slave.pid, signal.SIGSTOP)
    time.sleep(6.0)
    os.kill(far.slave.pid, signal.SIGCONT)
    report = handle.result(30)

    assert_ran_once(report, tmp_path, tasks)
    assert far.wait_for_slave() == slave_id


@pytest.mark.slow
def test_f70_a_master_that_stalls_blames_nobody(far, tmp_path):
    slave_id = far.wait_for_slave()
    tasks = brief_tasks(tmp_path, 300)
    handle = far.node.submit(Mixture(*tasks))
    wait_until(lambda: len(read_trace(tmp_path)) >= 10, 30, "tasks that run")

    os.kill(far.master.pid, signal.SIGSTOP)
    time.sleep(13.0)
    os.kill(far.master.pid, signal.SIGCONT)
    report = handle.result(30)

    assert_ran_once(report, tmp_path, tasks)
    assert far.wait_for_slave() == slave_id


@pytest.mark.slow
def test_f37_a_killed_slave_is_lost_at_once_when_the_master_can_see_it(far, tmp_path):
    far.node.submit(Mixture(*(Waiting(f"task-{n}", tmp_path) for n in range(2))))
    wait_until(lambda: len(read_trace(tmp_path)) == 2, 30, "both workers")

    began = time.monotonic()
    far.slave.kill()
    wait_until(lambda: not far.slaves(), 30, "the slave to be lost")

    assert time.monotonic() - began < 9  # before it is missed by its silence
    wait_until(lambda: all(has_ended(int(line[1])) for line in read_trace(tmp_path)), 30, "the end of its workers")


HANGS = """
import ctypes, os, threading

def watch():
    while not os.path.exists(os.environ["HANG_FOLDER"] + "/hang"):
        threading.Event().wait(0.01)
    ctypes.PyDLL(None).sleep(13)  # as an extension that does not release the interpreter's lock

threading.Thread(target=watch, daemon=True).start()
"""


@pytest.mark.slow
def test_f40_a_slave_whose_agent_hangs_is_lost_and_joins_again_when_it_does_not(tmp_path, runtime_folder):
    environment = {**os.environ, "HANG_FOLDER": str(tmp_path)}
    with far_cluster(tmp_path, runtime_folder, workers=2, prelude=HANGS, env=environment) as far:
        first = far.wait_for_slave()
        handle = far.node.submit(Mixture(*(Waiting(f"task-{n}", tmp_path) for n in range(2))))
        wait_until(lambda: len(read_trace(tmp_path)) == 2, 30, "both workers")

        (tmp_path / "hang").touch()
        wait_until(lambda: not far.slaves(), 30, "the slave to be lost")
        open_gate(tmp_path)
        second = far.wait_for_slave()
        report = handle.result(30)

    assert second != first
    assert report.errors == []
    assert set(report.slaves.values()) == {second}
    assert set(Counter(report.finished).values()) == {1}
