"""Clocks that are wrong or jump, and clusters that stand still: lines 46, 60, 90 and 91 of the failure matrix."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import psutil
import pytest

from concurro import ApplicationNode, MasterUnreachable, TaskTimeout
from tests.support.far_cluster import far_cluster
from tests.support.jobs import (
    SHIPPED,
    Mixture,
    Square,
    Traced,
    Waiting,
    assert_ran_once,
    brief_tasks,
    open_gate,
    read_trace,
)
from tests.support.nodes import master_process, slave_process
from tests.support.waiting import has_ended, wait_until
from tests.support.wrong_clock import WrongClock

HOUR = 3600
YEAR = 365 * 24 * HOUR


class TellsTime(Traced):
    """Returns what the wall clock of its worker says."""

    def __call__(self):
        super().__call__()
        return time.time()


class Limited(Waiting):
    """Waits at the gate, up to its timeout."""

    def __init__(self, name, folder, timeout):
        super().__init__(name, folder)
        self.timeout = timeout


class Timed(Mixture):
    """Says as well how long its tasks took."""

    def __init__(self, *tasks):
        super().__init__(*tasks)
        self.durations = []

    def task_finished(self, master, task, result, error):
        super().task_finished(master, task, result, error)
        self.durations.append(task.attempt_duration)

    def gather_result(self, master):
        return (self.report, self.durations), None


def application(url, **settings):
    return ApplicationNode(url, config={"application": {**SHIPPED["application"], **settings}})


def sound_slaves(node, count):
    def sound():
        slaves = node.status()["slaves"]
        return len(slaves) == count and not any(slave["sick"] for slave in slaves) and slaves

    return {slave["id"] for slave in wait_until(sound, 30, f"{count} slaves")}


@pytest.mark.slow
@pytest.mark.parametrize("shift", [20 * YEAR, -20 * YEAR])
def test_f46_a_slave_whose_clock_is_wrong_works_as_any_other(tmp_path, runtime_folder, shift):
    clock = WrongClock(tmp_path / "clock", shift)
    with (
        master_process(runtime_folder) as (_, url),
        slave_process(url, env=clock.environment),
        application(url) as node,
    ):
        before = sound_slaves(node, 1)
        tasks = [TellsTime(f"task-{n}", tmp_path) for n in range(50)]
        report, durations = node.run(Timed(*tasks), timeout=60)
        after = sound_slaves(node, 1)

    assert report.errors == []
    assert all(abs(told - time.time() - shift) < HOUR for told in report.results.values())  # it was wrong
    assert all(0 <= duration < HOUR for duration in durations)
    assert Counter(line[0] for line in read_trace(tmp_path)) == {task.name: 1 for task in tasks}
    assert after == before


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
@pytest.mark.slow
def test_f90_nothing_follows_from_a_wall_clock_that_jumps_an_hour(tmp_path, runtime_folder, monkeypatch, jump):
    ours, traces = time.time, tmp_path / "traces"
    traces.mkdir()
    clock = WrongClock(tmp_path / "clock")
    with (
        master_process(runtime_folder, env=clock.environment, master={"grace": 5.0}) as (_, url),
        slave_process(url, workers=3, env=clock.environment),
        application(url) as node,
    ):
        before = sound_slaves(node, 1)
        patient = node.push_task(Limited("patient", tmp_path, 600.0))
        kept = node.submit(Mixture(TellsTime("early", tmp_path)), detach=True, ttl=60.0)
        right = kept.result(30).results["early"]
        tasks = brief_tasks(traces, 100)
        handle = node.submit(Mixture(*tasks))
        for reached, shift in ((20, jump), (60, 0)):
            wait_until(lambda reached=reached: len(read_trace(traces)) >= reached, 30, "tasks that run")
            clock.set(shift)
            monkeypatch.setattr(time, "time", lambda shift=shift: ours() + shift)
            hasty = node.push_task(Limited("hasty", tmp_path, 0.3))
            assert isinstance(hasty.exception(30), TaskTimeout)
        open_gate(tmp_path)
        report = handle.result(60)
        patience = patient.result(30)
        clock.set(jump)
        wrong = node.push_task(TellsTime("late", tmp_path)).result(30)
        still_there = node.attach(kept.system_id).result(30).results["early"]
        after = sound_slaves(node, 1)

    assert_ran_once(report, traces, tasks)
    assert patience
    assert still_there == right
    assert abs(wrong - right - jump) < HOUR / 2  # it did jump
    assert after == before


@pytest.mark.slow
def test_f90_a_master_that_comes_back_with_its_clock_an_hour_behind_goes_on(tmp_path, runtime_folder):
    clock = WrongClock(tmp_path / "clock")
    options = {"env": clock.environment, "master": {"journal": str(tmp_path / "journal")}}
    with (
        master_process(runtime_folder, **options) as (master, url),
        slave_process(url, workers=2),
        application(url, connect_timeout=60) as node,
    ):
        kept = node.submit(Mixture(Square(4)), detach=True, ttl=1800.0)
        kept.result(30)
        handle = node.submit(Mixture(*(Waiting(f"task-{n}", tmp_path) for n in range(20))))
        wait_until(lambda: len(read_trace(tmp_path)) == 2, 30, "both workers")

        master.kill()
        master.wait(30)
        clock.set(-HOUR)
        with master_process(runtime_folder, **options):
            still_there = node.attach(kept.system_id).result(60).results
            open_gate(tmp_path)
            report = handle.result(60)

    assert still_there == {"square-4": 16}
    assert report.errors == []
    assert sorted(report.finished) == sorted(f"task-{n}" for n in range(20))


GIVES_UP_SOON = """
import concurro.nodes.dialer as dialer, concurro.nodes.slave as slave
dialer.LINK_LIMIT, dialer.HELLO_PATIENCE, slave.MASTER_SILENCE = 1.0, 1.0, 3.0
"""
"""A slave that waits a tenth as long as usual for a master that says nothing."""


@pytest.mark.slow
def test_f60_a_master_that_is_stopped_for_long_goes_on_with_all_its_systems(tmp_path, runtime_folder, monkeypatch):
    monkeypatch.setattr("concurro.nodes.dialer.LINK_LIMIT", 1.0)
    monkeypatch.setattr("concurro.nodes.dialer.HELLO_PATIENCE", 1.0)
    monkeypatch.setattr("concurro.nodes.application.SILENCE_LIMIT", 2.0)
    with (
        far_cluster(tmp_path, runtime_folder, workers=2, prelude=GIVES_UP_SOON) as far,
        node_beside(far, patience=120.0) as node,
        node_beside(far, patience=2.0) as impatient,
    ):
        tasks = [Waiting(f"task-{n}", tmp_path) for n in range(6)]
        handle = node.submit(Mixture(*tasks))
        [first, second] = wait_until(lambda: len(found := read_trace(tmp_path)) == 2 and found, 30, "both workers")

        os.kill(far.master.pid, signal.SIGSTOP)
        wait_until(lambda: has_ended(int(first[1])) and has_ended(int(second[1])), 30, "the slave to give up")
        with pytest.raises(MasterUnreachable, match="tried"):
            impatient.push_task(Square(3)).result(30)
        os.kill(far.master.pid, signal.SIGCONT)
        open_gate(tmp_path)
        report = handle.result(60)
        square = node.push_task(Square(4)).result(30)

    assert report.errors == []
    assert Counter(report.finished) == {task.name: 1 for task in tasks}
    assert report.attempts[first[0]] == report.attempts[second[0]] == 2
    assert square == 16


def node_beside(far, patience):
    """Return an application that waits so long for a master that does not answer."""
    settings = {**SHIPPED["application"], "connect_timeout": patience}
    return ApplicationNode(far.url, config={"application": settings, "security": far.security})


@pytest.mark.slow
def test_f91_a_cluster_that_was_suspended_goes_on_where_it_was(tmp_path, runtime_folder):
    with far_cluster(tmp_path, runtime_folder, workers=2) as far, node_beside(far, patience=120.0) as node:
        slave_id = far.wait_for_slave()
        tasks = brief_tasks(tmp_path, 300)
        handle = node.submit(Mixture(*tasks))
        future = node.push_task(Square(5))
        wait_until(lambda: len(read_trace(tmp_path)) >= 10, 30, "tasks that run")

        workers = far.slaves()[0]["worker_pids"]
        everybody = [process for node in (far.master, far.slave) for process in tree(node.pid)]
        for process in everybody:
            process.suspend()
        time.sleep(13.0)  # longer than anybody may be silent
        for process in everybody:
            process.resume()
        report = handle.result(60)

        assert_ran_once(report, tmp_path, tasks)
        assert future.result(30) == 25
        assert far.wait_for_slave() == slave_id
        assert workers == far.slaves()[0]["worker_pids"]


def tree(pid):
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
