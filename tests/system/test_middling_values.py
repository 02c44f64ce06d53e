"""Values between what rides inline and what is mapped, and pages that go back."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import numpy as np
import psutil
import pytest

from concurro import LocalCluster, Task
from tests.support.jobs import SHIPPED
from tests.support.waiting import wait_until

LIMIT = 30.0


class Filled(Task):
    """Returns an array of its number."""

    name = "filled"

    def __init__(self, number, count):
        self.number = number
        self.count = count

    def __call__(self):
        return np.full(self.count, float(self.number))


class Doubles(Task):
    """Doubles an array in place."""

    name = "doubles"

    def __init__(self, array):
        self.array = array

    def __call__(self):
        self.array *= 2
        return self.array


class Echoes(Task):
    """Returns its array."""

    name = "echoes"

    def __init__(self, array):
        self.array = array

    def __call__(self):
        return self.array


def segments_of(processes, but=()):
    """Return the memory files of ours, by inode, that the processes have open; without those `but` has."""
    return [one for one in map(_inode_of, _descriptors_of(processes)) if one is not None and one not in but]


def _descriptors_of(processes):
    return (descriptor for pid in processes for descriptor in Path(f"/proc/{pid}/fd").iterdir())


def _inode_of(descriptor):
    with contextlib.suppress(FileNotFoundError):
        if "memfd:concurro" in str(descriptor.readlink()):
            return descriptor.stat().st_ino
    return None


@pytest.fixture
def earlier():
    """Give the memory files that tests before this one left in this process."""
    gc.collect()
    return segments_of([psutil.Process().pid])


@pytest.mark.slow
@pytest.mark.parametrize("count", [9_000, 100_000, 131_072])
def test_every_one_of_many_short_tasks_returns_its_array(shared_cluster, count):
    futures = shared_cluster.push_tasks([Filled(number, count) for number in range(400)])

    for number, future in enumerate(futures):
        result = future.result(LIMIT)
        assert (result[0], result[-1], result.size) == (number, number, count)


def test_an_array_below_a_mebibyte_is_the_tasks_own(shared_cluster):
    array = np.arange(50_000.0)

    results = [future.result(LIMIT) for future in shared_cluster.push_tasks([Doubles(array) for _ in range(20)])]

    assert all(np.array_equal(result, np.arange(50_000.0) * 2) for result in results)
    assert np.array_equal(array, np.arange(50_000.0))


@pytest.mark.slow
def test_idle_workers_give_back_the_pages_of_results_that_nobody_has():
    with LocalCluster(workers=2, config=SHIPPED) as cluster:
        workers = [pid for slave in cluster.slaves for pid in slave.workers]
        futures = cluster.push_tasks([Filled(number, 200_000) for number in range(60)])
        results = [future.result(LIMIT) for future in futures]
        kept = len(segments_of(workers))

        del results, futures
        gc.collect()

        assert kept >= 60
        wait_until(lambda: not segments_of(workers), LIMIT, "the pages to be given back")


@pytest.mark.slow
def test_an_idle_application_gives_back_the_pages_of_arguments(earlier):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        me = [psutil.Process().pid]
        arrays = [np.full(100_000, float(number)) for number in range(30)]
        futures = cluster.push_tasks([Doubles(array) for array in arrays])
        assert [future.result(LIMIT)[0] for future in futures] == [2.0 * number for number in range(30)]
        del arrays, futures
        gc.collect()

        wait_until(lambda: not segments_of(me, earlier), LIMIT, "the pages to be given back")


@pytest.mark.slow
@pytest.mark.parametrize("count", [100_000, 200_000])
def test_an_idle_worker_gives_back_an_argument_that_was_its_result_too(count):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        workers = cluster.slaves[0].workers
        array = np.arange(float(count))

        result = cluster.push_task(Echoes(array)).result(LIMIT)

        assert np.array_equal(result, array)
        del result, array
        wait_until(lambda: not segments_of(workers), LIMIT, "the worker to let go of the pages")


@pytest.mark.slow
def test_many_functions_that_name_one_array_send_it_once(earlier):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        executor = cluster.executor()
        everybody = [psutil.Process().pid, *(pid for slave in cluster.slaves for pid in slave.workers)]
        array = np.arange(500_000.0)

        futures = [executor.submit(lambda place=place: array[place]) for place in range(50)]
        results = [future.result(LIMIT) for future in futures]

        assert results == list(range(50))
        assert 1 <= len(segments_of(everybody, earlier)) <= 4
