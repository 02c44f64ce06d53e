"""Workers that die, idle, busy and at birth: lines 12 and 30 to 36 of the failure matrix."""

from __future__ import annotations

import math
import os
import signal
import stat
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from concurro import HostLost, LocalCluster, Task, TaskSystem, WorkerLost
from concurro.execution import restarts
from concurro.execution.process_pool import ProcessPool
from concurro.nodes import slave
from concurro.transport.framing import pack_single
from tests.support.jobs import (
    SHIPPED,
    Mixture,
    Square,
    Traced,
    Waiting,
    leave_trace,
    open_gate,
    read_trace,
    run_among_others,
    wait_for_gate,
)
from tests.support.waiting import has_ended, wait_until


def _kill_parent():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(30)


class KillsParent(Task):
    """Kills the process that started its worker."""

    def __init__(self, name="kills-parent", **fields):
        super().__init__(name, **fields)

    def __call__(self):
        _kill_parent()


class KillsParentOfHost(TaskSystem):
    """Kills the process that started its host, from a callback."""

    def generate_tasks(self, master):
        return [Square(2)]

    def task_finished(self, master, task, result, error):
        _kill_parent()


def test_f12_a_task_that_kills_its_parent_ends_workers_and_nothing_else(shared_cluster, tmp_path):
    master = shared_cluster.master_pid
    launcher = [child.pid for child in psutil.Process(master).children()]
    before = shared_cluster.slaves[0].workers
    waiting = shared_cluster.submit(Mixture(Waiting("waiting", tmp_path), *(Square(n) for n in range(5))))
    wait_until(lambda: read_trace(tmp_path), 30, "the waiting task")

    [error] = run_among_others(shared_cluster, KillsParent(max_retries=0))
    open_gate(tmp_path)
    report = waiting.result(30)

    assert isinstance(error, WorkerLost)
    assert "the process that starts the workers ended" in error.message
    assert report.errors == []
    assert report.attempts["waiting"] == 2
    assert shared_cluster.master_pid == master
    assert [child.pid for child in psutil.Process(master).children()] == launcher
    assert all(has_ended(pid) for pid in before)


@pytest.mark.slow
def test_f12_a_task_that_always_kills_its_parent_is_given_up(shared_cluster):
    [error] = run_among_others(shared_cluster, KillsParent())

    assert isinstance(error, WorkerLost)
    assert error.attempt == 3


def test_f12_children_of_tasks_end_with_the_parent_that_a_task_kills(shared_cluster, tmp_path):
    class LeavesChild(Task):
        max_retries = 0

        def __init__(self, folder):
            super().__init__("leaves-child")
            self.folder = str(folder)

        def __call__(self):
            worker = os.getpid()
            pid = os.fork()
            if pid == 0:
                os.setsid()
                time.sleep(60)
                os._exit(0)
            leave_trace(self.folder, pid, worker)
            _kill_parent()

    [error] = run_among_others(shared_cluster, LeavesChild(tmp_path))

    assert isinstance(error, WorkerLost)
    [pids] = read_trace(tmp_path)
    wait_until(lambda: all(has_ended(int(pid)) for pid in pids), 30, "the end of worker and child")


def test_f12_a_callback_that_kills_its_parent_ends_systems_but_not_the_master(shared_cluster):
    master = shared_cluster.master_pid

    handle = shared_cluster.submit(KillsParentOfHost())

    with pytest.raises(HostLost, match="the launcher ended: killed by SIGKILL"):
        handle.result(30)
    assert shared_cluster.master_pid == master
    report = shared_cluster.run(Mixture(*(Square(n) for n in range(20))), timeout=20)
    assert report.errors == []


@pytest.mark.slow
def test_f12_a_slave_whose_task_kills_its_parent_starts_new_workers(tmp_path):
    with LocalCluster(workers=1, slaves=2, config=SHIPPED) as cluster:
        pids = {each.id: each.pid for each in cluster.slaves}

        [error] = run_among_others(cluster, KillsParent(max_retries=0))
        wait_until(lambda: all(len(each.workers) == 1 for each in cluster.slaves), 30, "new workers")

        assert isinstance(error, WorkerLost)
        assert {each.id: each.pid for each in cluster.slaves} == pids
        assert run_among_others(cluster) == []


def test_f30_a_worker_killed_idle_is_replaced_and_nothing_is_charged(shared_cluster):
    victim, survivor = shared_cluster.slaves[0].workers

    os.kill(victim, signal.SIGKILL)
    replaced = wait_until(
        lambda: (now := set(shared_cluster.slaves[0].workers)) and victim not in now and len(now) == 2 and now,
        30,
        "another worker",
    )
    report = shared_cluster.run(Mixture(*(Square(n) for n in range(50))), timeout=20)

    assert survivor in replaced
    assert set(report.attempts.values()) == {1}
    assert has_ended(victim)


class Step(Task):
    """Short, but for one of its kind that waits at a gate the first time."""

    def __init__(self, n, folder):
        super().__init__(f"step-{n}")
        self.n = n
        self.folder = str(folder)

    def __call__(self):
        leave_trace(self.folder, self.n, os.getpid(), self.attempt)
        if self.n == 150 and self.attempt == 1:
            wait_for_gate(self.folder)
        return self.n


def test_f31_a_worker_killed_busy_costs_an_attempt_of_that_task_only(shared_cluster, tmp_path):
    handle = shared_cluster.submit(Mixture(*(Step(n, tmp_path) for n in range(400))))
    # Neither what ran before it in its chunk nor what was prefetched behind it waits for the long task.
    wait_until(lambda: handle.progress.counts.get("done") == 399, 30, "the end of all others")
    [pid] = [int(line[1]) for line in read_trace(tmp_path) if line[0] == "150"]

    os.kill(pid, signal.SIGKILL)
    report = handle.result(30)

    assert report.errors == []
    assert [report.results[f"step-{n}"] for n in range(400)] == list(range(400))
    assert report.attempts["step-150"] == 2
    assert {attempt for name, attempt in report.attempts.items() if name != "step-150"} == {1}
    counts = Counter(int(line[0]) for line in read_trace(tmp_path))
    assert counts == {n: 2 if n == 150 else 1 for n in range(400)}


def test_f31_without_retries_a_killed_worker_ends_its_task(shared_cluster, tmp_path):
    class Once(Waiting):
        max_retries = 0

    future = shared_cluster.push_task(Once("once", tmp_path))
    line = wait_until(lambda: next(iter(read_trace(tmp_path)), None), 30, "the task")

    os.kill(int(line[1]), signal.SIGKILL)

    with pytest.raises(WorkerLost, match="SIGKILL"):
        future.result(30)
    assert len(read_trace(tmp_path)) == 1


class DiesAfterwards(Task):
    """Its worker dies between the call and the delivery of the result, the first time."""

    def __init__(self, n, folder):
        super().__init__(f"late-{n}")
        self.n = n
        self.folder = str(folder)

    def __call__(self):
        leave_trace(self.folder, self.n, os.getpid(), self.attempt)
        return self.n

    def clean_up(self):
        if self.n % 50 == 25 and self.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def test_f33_a_worker_that_dies_before_delivery_gives_each_result_once(shared_cluster, tmp_path):
    report = shared_cluster.run(Mixture(*(DiesAfterwards(n, tmp_path) for n in range(200))), timeout=30)

    assert report.errors == []
    assert [report.results[f"late-{n}"] for n in range(200)] == list(range(200))
    assert max(Counter(report.finished).values()) == 1
    counts = Counter(int(line[0]) for line in read_trace(tmp_path))
    assert {n for n, count in counts.items() if count > 1} >= {25, 75, 125, 175}


class DiesSoon(Task):
    """Its worker dies at some moment around the delivery of the result."""

    def __init__(self, n, delay):
        super().__init__(f"soon-{n}")
        self.n = n
        self.delay = delay

    def __call__(self):
        if self.attempt == 1:
            threading.Thread(target=self._end, daemon=True).start()
        return self.n

    def _end(self):
        time.sleep(self.delay)
        os._exit(1)


def test_f33_a_worker_that_dies_around_delivery_gives_each_result_once(shared_cluster):
    tasks = [DiesSoon(n, n * 0.0002) for n in range(16)]

    report = shared_cluster.run(Mixture(*tasks, *(Square(n) for n in range(20))), timeout=30)

    assert report.errors == []
    assert [report.results[f"soon-{n}"] for n in range(16)] == list(range(16))
    assert max(Counter(report.finished).values()) == 1


def test_a_child_that_survives_its_worker_is_killed_with_it(shared_cluster, tmp_path):
    class Parent(Task):
        max_retries = 0

        def __init__(self, folder):
            super().__init__("parent")
            self.folder = str(folder)

        def __call__(self):
            pid = os.fork()
            if pid == 0:
                os.setsid()
                time.sleep(60)
                os._exit(0)
            leave_trace(self.folder, pid)
            os.kill(os.getpid(), signal.SIGKILL)

    [error] = run_among_others(shared_cluster, Parent(tmp_path))

    assert isinstance(error, WorkerLost)
    [[pid]] = read_trace(tmp_path)
    wait_until(lambda: has_ended(int(pid)), 30, "the end of the child")


TRIES_AGAIN_SOON = """
from concurro.execution import restarts
restarts.SICK_PAUSE = 0.5
"""
"""Of a slave that is sick."""

KILLS_ITS_FORKS = """
import os, sys
def forks_a_worker(frame):
    return frame is not None and (frame.f_code.co_name == "_fork_worker" or forks_a_worker(frame.f_back))
def die():
    if forks_a_worker(sys._getframe()) and os.path.exists({folder!r} + "/armed"):
        with open({folder!r} + "/deaths", "a") as deaths:
            deaths.write(f"{{os.getpid()}}\\n")
        os._exit(7)
os.register_at_fork(after_in_child=die)
"""


@pytest.mark.slow
def test_f35_a_slave_whose_workers_die_at_every_start_is_sick_and_says_why(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(KILLS_ITS_FORKS.format(folder=str(tmp_path)))
    (tmp_path / "armed").touch()
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        well = cluster.slaves[0].id
        with monkeypatch.context() as patched:
            patched.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
            sick = cluster.add_slave(2)

        reason = wait_until(
            lambda: next(slave["sick"] for slave in cluster.status()["slaves"] if slave["id"] == sick), 30, "sickness"
        )
        report = cluster.run(Mixture(*(Traced(f"traced-{n}", tmp_path) for n in range(30))), timeout=20)
        deaths = (tmp_path / "deaths").read_text().split()

    assert "ended before they did anything" in reason
    assert "exit code 7" in reason
    assert report.errors == []
    assert set(report.slaves.values()) == {well}
    assert 5 <= len(deaths) <= 12


@pytest.mark.slow
def test_f35_a_slave_whose_workers_die_at_birth_joins_as_soon_as_it_is_sick(shared_cluster, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(KILLS_ITS_FORKS.format(folder=str(tmp_path)))
    (tmp_path / "armed").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(slave, "WORKER_PATIENCE", math.inf)
    joined = threading.Event()
    node = slave.SlaveNode({"slave": {"master": shared_cluster.master_url, "workers": 2}})
    node.on_joined = lambda slave_id: joined.set()

    with node:
        assert joined.wait(20)
        reason = wait_until(
            lambda: next(each["sick"] for each in shared_cluster.status()["slaves"] if each["id"] == node.slave_id),
            30,
            "why it is sick",
        )

    assert "ended before they did anything" in reason


@pytest.mark.slow
def test_f35_a_job_with_only_a_sick_slave_waits_says_for_what_and_goes_on_when_it_is_well(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(KILLS_ITS_FORKS.format(folder=str(tmp_path)) + TRIES_AGAIN_SOON)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        handle = cluster.submit(Mixture(Waiting("waiting", tmp_path)))
        line = wait_until(lambda: next(iter(read_trace(tmp_path)), None), 30, "the task")
        (tmp_path / "armed").touch()
        os.kill(int(line[1]), signal.SIGKILL)
        wait_until(lambda: cluster.status()["slaves"][0]["sick"], 30, "sickness")

        explained = handle.explain()
        task_explained = cluster._application.request("explain", [f"{handle.system_id}:0"]).result(30)
        (tmp_path / "armed").unlink()
        open_gate(tmp_path)
        report = handle.result(30)
        sick = cluster.status()["slaves"][0]["sick"]

    assert "every slave is sick" in explained
    assert "every slave is sick" in task_explained
    assert report.attempts == {"waiting": 2}
    assert sick == ""


def test_a_task_that_waits_at_a_gate_is_no_obstacle_for_others(shared_cluster, tmp_path):
    waiting = shared_cluster.push_task(Waiting("waiting", tmp_path))
    wait_until(lambda: read_trace(tmp_path), 30, "the waiting task")

    squares = [future.result(30) for future in shared_cluster.push_tasks(map(Square, range(500)))]
    open_gate(tmp_path)

    assert squares == [n * n for n in range(500)]
    assert waiting.result(30) == int(read_trace(tmp_path)[0][1])


class WritesHalfAResult(Task):
    """Begins a message on its worker's channel and dies, the first time."""

    def __init__(self, folder):
        super().__init__("half")
        self.folder = str(folder)

    def __call__(self):
        leave_trace(self.folder, os.getpid(), self.attempt)
        if self.attempt == 1:
            half = pack_single(b"result" * 1000)[:3000]
            for fd in (int(entry.name) for entry in Path("/proc/self/fd").iterdir()):
                if fd > 100 and _is_socket(fd):
                    os.write(fd, half)
            os.kill(os.getpid(), signal.SIGKILL)
        return "whole"


def _is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def test_f34_a_half_written_result_costs_its_attempt_only(shared_cluster, tmp_path):
    half = WritesHalfAResult(tmp_path)
    report = shared_cluster.run(Mixture(half, *(Square(n) for n in range(20))), timeout=20)

    assert report.errors == []
    assert report.results["half"] == "whole"
    assert report.attempts["half"] == 2
    assert len(read_trace(tmp_path)) == 2


REFUSES_TO_FORK = """
import os, sys
fork = os.fork
def forks_a_worker(frame):
    return frame is not None and (frame.f_code.co_name == "_fork_worker" or forks_a_worker(frame.f_back))
def refuse():
    if forks_a_worker(sys._getframe()) and os.path.exists({folder!r} + "/armed"):
        with open({folder!r} + "/refusals", "a") as refusals:
            refusals.write("x")
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()
os.fork = refuse
"""


@pytest.mark.slow
def test_f36_a_slave_that_cannot_fork_says_so_and_recovers(tmp_path, monkeypatch, runtime_folder):
    monkeypatch.setattr(restarts, "SICK_PAUSE", 0.3)
    (tmp_path / "sitecustomize.py").write_text(REFUSES_TO_FORK.format(folder=str(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    pool = ProcessPool()
    pool.update_pool(1)
    pool.start()
    try:
        pool.push_task(Waiting("waiting", tmp_path))
        line = wait_until(lambda: next(iter(read_trace(tmp_path)), None), 30, "the task")
        (tmp_path / "armed").touch()
        os.kill(int(line[1]), signal.SIGKILL)

        reason = wait_until(lambda: pool._agent.sick, 30, "sickness")
        (tmp_path / "armed").unlink()
        open_gate(tmp_path)
        pool.wait_for_all(20)
    finally:
        pool.stop()

    _, result, error = pool.get_results_queue().get_nowait()
    refusals = len((tmp_path / "refusals").read_text())
    assert "fork failed: Resource temporarily unavailable" in reason
    assert error is None
    assert result != int(line[1])
    assert 5 <= refusals <= 12


@pytest.mark.slow
def test_f36_the_status_shows_why_a_slave_cannot_start_workers(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(REFUSES_TO_FORK.format(folder=str(tmp_path)) + TRIES_AGAIN_SOON)
    (tmp_path / "armed").touch()
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        with monkeypatch.context() as patched:
            patched.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
            sick = cluster.add_slave(1)

        reason = wait_until(
            lambda: next(slave["sick"] for slave in cluster.status()["slaves"] if slave["id"] == sick), 30, "sickness"
        )
        (tmp_path / "armed").unlink()
        wait_until(
            lambda: not any(slave["sick"] for slave in cluster.status()["slaves"]), 30, "the slave to be well again"
        )

    assert "fork failed: Resource temporarily unavailable" in reason


def test_f32_a_worker_that_is_stopped_holds_up_nobody_but_its_task(shared_cluster, tmp_path):
    waiting = [shared_cluster.push_task(Waiting(f"waiting-{n}", tmp_path)) for n in range(1)]
    line = wait_until(lambda: next(iter(read_trace(tmp_path)), None), 30, "the task")

    os.kill(int(line[1]), signal.SIGSTOP)
    squares = [future.result(30) for future in shared_cluster.push_tasks(map(Square, range(300)))]
    stopped = wait_until(lambda: next((one["stopped"] for one in shared_cluster.status()["slaves"]), None), 30, "news")
    os.kill(int(line[1]), signal.SIGCONT)
    open_gate(tmp_path)

    assert stopped == [int(line[1])]
    assert squares == [n * n for n in range(300)]
    assert [future.result(30) for future in waiting] == [int(line[1])]
    assert len(read_trace(tmp_path)) == 1


@pytest.mark.slow
def test_f32_a_worker_that_stays_stopped_is_given_up_after_ten_seconds(shared_cluster, tmp_path):
    handle = shared_cluster.submit(Mixture(Waiting("waiting", tmp_path)))
    line = wait_until(lambda: next(iter(read_trace(tmp_path)), None), 30, "the task")
    open_gate(tmp_path)

    os.kill(int(line[1]), signal.SIGSTOP)
    report = handle.result(30)

    assert report.attempts == {"waiting": 2}
    assert has_ended(int(line[1]))
