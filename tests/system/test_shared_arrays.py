"""Large arrays on one machine: mapped, not copied, and gone with whoever had them."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from concurro import LocalCluster, Task, TaskSystem
from tests.support.doubling import segments
from tests.support.jobs import SHIPPED
from tests.support.nodes import master_process, slave_process
from tests.support.programs import ROOT
from tests.support.waiting import wait_until

COUNT = 2**18
"""Of float64: 2 MiB."""


def total(array):
    return float(array.sum())


def echo(array):
    return array


def doubled(array):
    return array * 2


def write_to(array):
    array[0] = 1


def make_writable(array):
    array.flags.writeable = True


def add_to(array):
    array += 1


def mapped_at(array):
    """Return the inode of the pages of an array."""
    address = array.__array_interface__["data"][0]
    with Path("/proc/self/maps").open() as maps:
        for line in maps:
            first, last = (int(end, 16) for end in line.split()[0].split("-"))
            if first <= address < last:
                return int(line.split()[4])
    return 0


def killed_with(array):
    assert array[0] == 7
    os.kill(os.getpid(), signal.SIGKILL)


def held_and_stuck(array, folder):
    Path(folder, "began").touch()
    time.sleep(60)
    return array


class Importing(Task):
    def __call__(self):
        return "numpy" in sys.modules, len(os.listdir("/proc/self/task"))  # noqa: PTH208 - no import more


class Importers(TaskSystem):
    """Says whether its host and a worker have numpy from the start, and how many threads they run."""

    def generate_tasks(self, master):
        self.host = "numpy" in sys.modules, len(list(Path("/proc/self/task").iterdir()))
        return [Importing("import")]

    def task_finished(self, master, task, result, error):
        self.worker = result

    def is_complete(self, master):
        return True

    def gather_result(self, master):
        return [self.host, self.worker], None


def processes(cluster):
    slave = cluster.slaves[0]
    return [cluster.master_pid, *slave.workers]


def test_hosts_and_workers_have_from_the_start_what_the_application_has_imported(monkeypatch):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        with_it = cluster.run(Importers())
    monkeypatch.delitem(sys.modules, "numpy")
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        without = cluster.run(Importers())

    assert with_it == [(True, 1), (True, 1)]
    assert without == [(False, 1), (False, 1)]


def test_an_array_comes_back_as_it_went_and_a_changed_one_too(shared_cluster):
    executor = shared_cluster.executor()
    arrays = [np.random.default_rng(number).random(COUNT) for number in range(20)]

    same = [future.result(30) for future in [executor.submit(echo, array) for array in arrays]]
    twice = [future.result(30) for future in [executor.submit(doubled, array) for array in arrays]]

    assert all(np.array_equal(*pair) for pair in zip(arrays, same, strict=True))
    assert all(np.array_equal(2 * one, two) for one, two in zip(arrays, twice, strict=True))


def test_all_workers_map_one_copy(shared_cluster):
    executor = shared_cluster.executor()
    array = np.zeros(COUNT)

    places = {future.result(30) for future in [executor.submit(mapped_at, array) for _ in range(50)]}

    assert len(places) == 1
    assert places != {0}


def test_an_array_that_changes_between_two_calls_arrives_as_it_was_at_each(shared_cluster):
    executor = shared_cluster.executor()
    array = np.zeros(COUNT)
    futures = []

    for number in range(20):
        array[number] = 1
        futures.append(executor.submit(total, array))

    assert [future.result(30) for future in futures] == list(range(1, 21))


@pytest.mark.parametrize("write", [write_to, add_to, make_writable])
def test_a_task_may_not_write_to_its_large_array_and_its_error_says_what_to_do(shared_cluster, write):
    future = shared_cluster.executor().submit(write, np.zeros(COUNT))

    with pytest.raises(ValueError, match=r"read-only|WRITEABLE") as caught:
        future.result(30)
    assert any("array.copy()" in note for note in caught.value.__notes__)


def test_a_result_may_be_written_to(shared_cluster):
    result = shared_cluster.executor().submit(doubled, np.ones(COUNT)).result(30)

    result[0] = 5

    assert (result[0], result[1]) == (5, 2)


class Sums(TaskSystem):
    """Tasks that share one array, and give another back."""

    def __init__(self, count):
        super().__init__()
        self.array = np.arange(COUNT, dtype=float)
        self.count = count
        self.sums = []

    def generate_tasks(self, master):
        return (Scaled(self.array, number) for number in range(self.count))

    def task_finished(self, master, task, result, error):
        assert error is None, error
        result[0] += 0  # a host may write to what it gets
        self.sums.append(float(result[1]))

    def is_complete(self, master):
        return len(self.sums) == self.count

    def gather_result(self, master):
        return sorted(self.sums), None


class Scaled(Task):
    """Scales an array."""

    def __init__(self, array, factor):
        super().__init__(f"scaled-{factor}")
        self.array = array
        self.factor = factor

    def __call__(self):
        return self.array * self.factor


@pytest.mark.parametrize("slaves", [1, 2])
@pytest.mark.slow
def test_the_tasks_of_a_system_share_its_array(slaves):
    with LocalCluster(workers=1, slaves=slaves, config=SHIPPED) as cluster:
        assert cluster.run(Sums(40), timeout=30) == [float(number) for number in range(40)]


@pytest.mark.slow
def test_pages_are_used_again_and_nothing_grows():
    before = segments(os.getpid())
    with LocalCluster(workers=2, config=SHIPPED) as cluster:
        executor = cluster.executor()
        for number in range(60):
            array = np.full(COUNT, float(number))
            assert executor.submit(doubled, array).result(30)[-1] == 2 * number
        del array
        gc.collect()

        counts = [segments(os.getpid()) - before, *map(segments, processes(cluster))]

    assert max(counts) <= 8


@pytest.mark.slow
def test_a_worker_killed_with_a_mapping_costs_its_task_only():
    counted = segments(os.getpid())
    with LocalCluster(workers=2, config=SHIPPED) as cluster:
        executor = cluster.executor()
        shared = np.full(COUNT, 7.0)
        before = [executor.submit(total, shared) for _ in range(20)]
        lost = executor.submit(killed_with, shared)
        after = [executor.submit(total, shared) for _ in range(20)]

        assert lost.exception(30) is not None
        assert {future.result(30) for future in before + after} == {7.0 * COUNT}
        for number in range(30):  # whatever the dead had is used again, and never wrong
            array = np.full(COUNT, float(number))
            assert executor.submit(doubled, array).result(30)[-1] == 2 * number
        assert segments(os.getpid()) - counted <= 8


@pytest.mark.slow
def test_a_cancelled_task_gives_its_pages_back(tmp_path):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        handle = cluster.submit(Stuck(tmp_path))
        wait_until((tmp_path / "began").exists, 30, "the task")

        handle.cancel()
        executor = cluster.executor()
        for number in range(20):
            assert executor.submit(total, np.full(COUNT, float(number))).result(30) == number * COUNT

        assert max(segments(pid) for pid in processes(cluster)) <= 4


class Stuck(TaskSystem):
    """One task that holds an array for ever."""

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)

    def generate_tasks(self, master):
        return [StuckTask(np.zeros(COUNT), self.folder)]

    def task_finished(self, master, task, result, error):
        pass

    def is_complete(self, master):
        return False

    def gather_result(self, master):
        return None, None


class StuckTask(Task):
    """Holds an array for ever."""

    def __init__(self, array, folder):
        super().__init__("stuck")
        self.array = array
        self.folder = folder

    def __call__(self):
        return held_and_stuck(self.array, self.folder)


DIES = """
import os, signal, sys
import numpy as np
from concurro import ApplicationNode
sys.path.insert(0, {root!r})
from tests.support.doubling import segments
from tests.support.jobs import SHIPPED
from tests.system.test_shared_arrays import held_and_stuck
application = ApplicationNode({url!r}, config=SHIPPED).__enter__()
futures = [application.executor().submit(held_and_stuck, np.full({count}, float(n)), {folder!r}) for n in range(20)]
while not os.path.exists({folder!r} + "/began"):
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_an_application_killed_while_its_arrays_are_used_leaves_nothing(tmp_path):
    config = {"master": {"grace": "0.2 s"}, **SHIPPED}
    with LocalCluster(workers=2, config=config) as cluster:
        code = DIES.format(root=str(ROOT), url=cluster.master_url, count=COUNT, folder=str(tmp_path))
        status = subprocess.run([sys.executable, "-c", code], check=False).returncode

        assert status == -signal.SIGKILL
        assert cluster.executor().submit(total, np.ones(COUNT)).result(30) == COUNT
        cluster.executor().submit(total, np.ones(COUNT)).result(30)
        wait_until(lambda: max(segments(pid) for pid in processes(cluster)) <= 4, 30, "few segments")


@pytest.mark.slow
def test_a_slave_killed_with_its_mappings_leaves_the_others_right():
    with LocalCluster(workers=1, slaves=2, config=SHIPPED) as cluster:
        executor = cluster.executor()
        shared = np.full(COUNT, 3.0)
        futures = [executor.submit(doubled, shared) for _ in range(60)]
        futures[0].result(30)

        os.kill(cluster.slaves[1].pid, signal.SIGKILL)

        assert all(np.all(future.result(30) == 6.0) for future in futures)


@pytest.mark.slow
def test_a_killed_master_takes_everything_along(tmp_path):
    cluster = LocalCluster(workers=2, config=SHIPPED)
    with cluster:
        workers = list(cluster.slaves[0].workers)
        executor = cluster.executor()
        futures = [executor.submit(held_and_stuck, np.zeros(COUNT), str(tmp_path)) for _ in range(8)]
        wait_until((tmp_path / "began").exists, 30, "a task")

        os.kill(cluster.master_pid, signal.SIGKILL)

        assert all(future.exception(30) is not None for future in futures)
        wait_until(lambda: not any(map(psutil.pid_exists, workers)), 30, "the workers' end")


FAR = """
import sys
import numpy as np
from concurro import ApplicationNode
sys.path.insert(0, {root!r})
from tests.support.doubling import segments
from tests.support.jobs import SHIPPED
from tests.system.test_shared_arrays import doubled, mapped_at
with ApplicationNode({url!r}, config=SHIPPED) as application:
    executor, array = application.executor(), np.zeros({count})
    places = {{future.result(20) for future in [executor.submit(mapped_at, array) for _ in range(50)]}}
    result = executor.submit(doubled, np.ones({count})).result(20)
print(len(places), 0 in places, bool(np.all(result == 2)))
"""


@pytest.mark.slow
def test_over_tcp_a_slaves_workers_map_one_copy(tmp_path):
    with master_process(tmp_path, master={"listen": "tcp://127.0.0.1:0"}) as (_, url), slave_process(url, workers=2):
        code = FAR.format(root=str(ROOT), url=url, count=COUNT)
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert run.stdout.split() == ["1", "False", "True"], run.stderr
