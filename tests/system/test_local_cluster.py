"""A cluster on this machine: slaves that come and go, one thread, closing."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections import Counter

import psutil
import pytest

from concurro import (
    ConfigError,
    LocalCluster,
    MasterUnreachable,
    StrategyError,
    Task,
    TaskCancelled,
    TaskError,
    WorkerLost,
)
from concurro.nodes.master import COLLECT_AFTER
from tests.support.jobs import SHIPPED, Mixture, Square, Traced, Waiting, open_gate, read_trace
from tests.support.programs import ROOT
from tests.support.waiting import has_ended, wait_until


@pytest.mark.slow
def test_slaves_are_live_records_with_real_process_ids():
    with LocalCluster(workers=2, slaves=2, config=SHIPPED) as cluster:
        slaves = cluster.slaves
        parents = {psutil.Process(pid).parent().ppid() for slave in slaves for pid in slave.workers}

    assert [len(slave.workers) for slave in slaves] == [2, 2]
    assert len({slave.id for slave in slaves}) == 2
    assert parents == {slave.pid for slave in slaves}
    assert all(has_ended(pid) for slave in slaves for pid in (slave.pid, *slave.workers))


@pytest.mark.slow
def test_an_added_slave_takes_part_in_a_running_job(tmp_path):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        handle = cluster.submit(Mixture(*(Waiting(f"task-{n}", tmp_path) for n in range(4))))
        wait_until(lambda: len(read_trace(tmp_path)) == 1, 30, "the first task")

        added = cluster.add_slave(2)
        wait_until(lambda: len(read_trace(tmp_path)) == 3, 30, "two more tasks")
        listed = [slave.id for slave in cluster.slaves]
        open_gate(tmp_path)
        report = handle.result(30)

    assert added in listed
    assert Counter(report.slaves.values())[added] >= 2
    assert report.errors == []


@pytest.mark.slow
def test_the_tasks_of_a_removed_slave_run_elsewhere(tmp_path):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        stayed = cluster.slaves[0].id
        added = cluster.add_slave(2)
        slave = next(slave for slave in cluster.slaves if slave.id == added)
        handle = cluster.submit(Mixture(*(Waiting(f"task-{n}", tmp_path) for n in range(8))))
        wait_until(lambda: len([line for line in read_trace(tmp_path) if line[3] == added]) == 2, 30, "tasks on it")

        cluster.remove_slave(added)
        gone = all(has_ended(pid) for pid in (slave.pid, *slave.workers))
        open_gate(tmp_path)
        report = handle.result(30)
        left = [slave.id for slave in cluster.slaves]

    assert gone
    assert left == [stayed]
    assert report.errors == []
    assert set(report.slaves.values()) == {stayed}
    assert sorted(report.finished) == sorted(f"task-{n}" for n in range(8))


@pytest.mark.slow
def test_the_slave_inside_the_master_can_be_removed_too(tmp_path):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        [own] = cluster.slaves
        handle = cluster.submit(Mixture(*(Waiting(f"task-{n}", tmp_path) for n in range(4))))
        wait_until(lambda: read_trace(tmp_path), 30, "the first task")
        added = cluster.add_slave(1)

        cluster.remove_slave(own.id)
        wait_until(lambda: all(has_ended(pid) for pid in own.workers), 30, "the end of its workers")
        open_gate(tmp_path)
        report = handle.result(30)
        left = [slave.id for slave in cluster.slaves]

    assert left == [added]
    assert report.errors == []
    assert set(report.slaves.values()) == {added}


def test_a_slave_that_is_not_there_cannot_be_removed(shared_cluster):
    with pytest.raises(LookupError, match="no slave 'nobody'; connected: ") as caught:
        shared_cluster.remove_slave("nobody")

    assert shared_cluster.slaves[0].id in str(caught.value)


@pytest.mark.parametrize("arguments", [{"workers": -1}, {"workers": 0}, {"slaves": 0}])
def test_fewer_than_one_worker_is_refused(arguments):
    with pytest.raises(ConfigError, match="must be a whole number of 1 or more"):
        LocalCluster(**arguments)


def test_an_added_slave_has_at_least_one_worker(shared_cluster):
    with pytest.raises(ConfigError, match="-1"):
        shared_cluster.add_slave(-1)


def test_many_threads_use_one_cluster(shared_cluster):
    sums = {}

    def use(number):
        futures = shared_cluster.push_tasks(Square(n) for n in range(50))
        report = shared_cluster.run(Mixture(*(Square(n) for n in range(number))), timeout=30)
        sums[number] = (sum(future.result(30) for future in futures), len(report.results))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)

    assert sums == {number: (sum(n * n for n in range(50)), number) for number in range(1, 5)}


def test_closing_twice_is_harmless_and_kills_what_runs(tmp_path):
    cluster = LocalCluster(workers=1, config=SHIPPED)
    cluster.push_task(Waiting("stuck", tmp_path))
    [line] = wait_until(lambda: read_trace(tmp_path), 30, "the task")

    cluster.close()
    cluster.close()

    assert has_ended(int(line[1]))


OWNER = """
import sys, time
sys.path.insert(0, {root!r})
from concurro import LocalCluster
from tests.support.jobs import SHIPPED, Mixture, Waiting
cluster = LocalCluster(workers=2, slaves={slaves}, config=SHIPPED)
handle = cluster.submit(Mixture(Waiting("stuck", {folder!r})))
pids = [cluster.master_pid, *(pid for slave in cluster.slaves for pid in (slave.pid, *slave.workers))]
print(*pids, flush=True)
{ending}
"""


ENDINGS = {
    "killed": "time.sleep(60)",
    "ends at once": "import os; os._exit(0)",
    "exits": "sys.exit()",
    "raises": "raise SystemError",
}


@pytest.mark.parametrize(
    ("slaves", "ending"),
    [
        (1, "killed"),
        (2, "killed"),
        (1, "exits"),
        *(pytest.param(slaves, ending, marks=pytest.mark.slow) for slaves in (1, 2) for ending in ENDINGS),
    ],
)
def test_no_process_outlives_its_owner_however_it_ends(tmp_path, slaves, ending):
    code = OWNER.format(root=str(ROOT), folder=str(tmp_path), slaves=slaves, ending=ENDINGS[ending])
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        pids = [int(word) for word in owner.stdout.readline().split()]
        if ending == "killed":
            owner.kill()
        owner.wait(30)

    assert len(pids) >= 4
    wait_until(lambda: all(has_ended(pid) for pid in pids), 30, "the end of every process")


def _pid_and_thread():
    return os.getpid(), threading.current_thread().name


class Here(Task):
    """Returns where it runs."""

    def __call__(self):
        return _pid_and_thread()


class Bad(Task):
    """Raises."""

    def __call__(self):
        message = "inline"
        raise KeyError(message)


def test_inline_runs_everything_here_with_the_same_results():
    here, before = _pid_and_thread(), psutil.Process().children()
    with LocalCluster(inline=True) as cluster:
        report = cluster.run(Mixture(Here("here"), Bad("bad"), *(Square(n) for n in range(300))))
        future = cluster.push_task(Here("pushed"))
        failing = cluster.push_task(Bad("bad"))
        children = psutil.Process().children()

    assert report.results["here"] == here
    assert [report.results[f"square-{n}"] for n in range(300)] == [n * n for n in range(300)]
    [error] = report.errors
    assert isinstance(error, TaskError)
    assert (error.type_name, error.attempt) == ("KeyError", 1)
    assert future.result(0) == here
    with pytest.raises(KeyError, match="inline"):
        failing.result(0)
    assert children == before
    assert cluster.master_url == ""


class CancelsOne(Mixture):
    """Cancels a queued task when the first is finished."""

    def generate_tasks(self, master):
        self.ids = master.push_tasks(self.tasks)
        return ()

    def task_finished(self, master, task, result, error):
        if not self.report.finished:
            master.cancel_task(self.ids[-1])
        super().task_finished(master, task, result, error)


def test_inline_cancels_a_queued_task():
    with LocalCluster(inline=True) as cluster:
        report = cluster.run(CancelsOne(Square(1), Square(2), Square(3)))

    assert report.results == {"square-1": 1, "square-2": 4}
    [error] = report.errors
    assert isinstance(error, TaskCancelled)


def test_a_task_that_is_lost_and_one_that_waits_share_a_cluster(shared_cluster, tmp_path):
    class Ends(Traced):
        def __call__(self):
            super().__call__()
            os._exit(5)

    waiting = shared_cluster.push_task(Waiting("waiting", tmp_path))
    lost = shared_cluster.push_task(Ends("ends", tmp_path))

    with pytest.raises(WorkerLost, match="exit code 5"):
        lost.result(30)
    open_gate(tmp_path)

    assert isinstance(waiting.result(30), int)


RAISES = """
from concurro import Component, ITaskScheduleStrategy, implementer

@implementer(ITaskScheduleStrategy)
class Spoiled(Component):
    name = "spoiled"

    def setup(self, scheduler, master):
        self.master = master

    def rate(self, slave):
        return RATE

    def get_next_slave(self, task=None, slaves=None):
        return 1 / 0
"""


@pytest.mark.parametrize(("rate", "method"), [("1 / 0", "rate"), ("0.0", "get_next_slave")])
def test_what_a_strategy_raises_is_what_the_application_raises(tmp_path, rate, method):
    plugin = tmp_path / "spoiled.py"
    plugin.write_text(RAISES.replace("RATE", rate))

    with (
        pytest.raises(StrategyError) as caught,
        LocalCluster(workers=1, plugins=[plugin], config={"master": {"strategy": "spoiled"}}) as cluster,
    ):
        cluster.push_task(Square(3)).result(60)

    assert str(caught.value) == (
        f"strategy 'spoiled' (Spoiled of {plugin}) raised ZeroDivisionError in {method}: division by zero"
    )
    assert "return 1 / 0" in str(caught.value.__cause__)


def test_a_component_of_a_file_has_a_table_of_its_own():
    plugin = ROOT / "examples" / "plugins_file" / "plugins" / "fastest_first.py"
    config = {"master": {"strategy": "fastest-first"}, "fastest-first": {"half_life": 5.0}}

    with LocalCluster(workers=1, slaves=2, plugins=[plugin], config=config) as cluster:
        assert cluster.push_task(Square(3)).result(60) == 9


def test_a_killed_master_of_our_own_is_noticed_by_its_end(tmp_path):
    with LocalCluster(workers=1) as cluster:
        handle = cluster.submit(Mixture(Square(3), Waiting("forever", tmp_path)))
        os.kill(cluster.master_pid, signal.SIGKILL)

        with pytest.raises(MasterUnreachable) as caught:
            handle.result(60)

    assert str(caught.value).endswith("was ended by SIGKILL")


class AskCollector(Task):
    def __call__(self):
        return gc.get_threshold()


def test_the_garbage_collector_is_tuned_neither_here_nor_where_tasks_run(shared_cluster):
    here = gc.get_threshold()

    there = shared_cluster.push_task(AskCollector("ask")).result(30)

    assert here == there != COLLECT_AFTER
