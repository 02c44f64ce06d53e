"""Devices: which ones tasks see, with real processes."""

from __future__ import annotations

import itertools
import os
import time

import pytest

from concurro import ConfigError, LocalCluster, SlaveNode, Task
from tests.support.jobs import SHIPPED, Mixture
from tests.support.leftovers import watch_leftovers
from tests.system.conftest import SHARED_WORKERS

NAMES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CONCURRENT_RESOURCE_GPU")
OFFERING = {**SHIPPED, "slave": {"resources": {"gpu": 2}}}


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory):
    tmp_path_factory.getbasetemp()
    with watch_leftovers(), LocalCluster(workers=SHARED_WORKERS, config=OFFERING) as cluster:
        yield cluster


class Looks(Task):
    """Returns the devices that it sees, its process, and when it ran."""

    def __init__(self, name, gpu=0, seconds=0.0):
        super().__init__(name, requires={"gpu": gpu} if gpu else None)
        self.seconds = seconds

    def __call__(self):
        began = time.monotonic()
        time.sleep(self.seconds)
        return [os.environ.get(name) for name in NAMES], os.getpid(), began, time.monotonic()


@pytest.mark.slow
def test_a_task_sees_its_devices_and_the_next_one_none_of_them(shared_cluster):
    report = shared_cluster.run(Mixture(*(Looks(f"gpu-{n}", 1) for n in range(10))), timeout=20)
    plain = shared_cluster.run(Mixture(*(Looks(f"plain-{n}") for n in range(10))), timeout=20)

    assert report.errors == plain.errors == []
    for seen, *_ in report.results.values():
        assert seen in ([["0"] * 3, ["1"] * 3])
    for seen, *_ in plain.results.values():
        assert seen == [os.environ.get(name) for name in NAMES]


@pytest.mark.slow
def test_two_tasks_at_once_never_share_a_whole_device(shared_cluster):
    report = shared_cluster.run(Mixture(*(Looks(f"gpu-{n}", 1, 0.02) for n in range(20))), timeout=20)

    spans = {}
    for seen, _, began, ended in report.results.values():
        spans.setdefault(seen[0], []).append((began, ended))
    assert set(spans) == {"0", "1"}
    for used in spans.values():
        used.sort()
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(used))


def test_a_worker_serves_one_set_of_devices_in_its_life(shared_cluster):
    tasks = [Looks(f"one-{n}", 1) for n in range(6)] + [Looks(f"two-{n}", 2) for n in range(3)]
    report = shared_cluster.run(Mixture(*tasks, *(Looks(f"half-{n}", 0.5) for n in range(6))), timeout=30)

    sets = {}
    for seen, pid, *_ in report.results.values():
        sets.setdefault(pid, set()).add(seen[0])
    assert report.errors == []
    assert {seen for each in sets.values() for seen in each} >= {"0,1"}
    assert all(len(each) == 1 for each in sets.values())


def test_workers_are_kept_from_task_to_task(shared_cluster):
    report = shared_cluster.run(Mixture(*(Looks(f"gpu-{n}", 1) for n in range(30))), timeout=20)

    assert len({pid for _, pid, *_ in report.results.values()}) <= 2


def test_a_slave_that_offers_more_than_it_sees_does_not_start(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    slave = SlaveNode({"slave.resources": {"gpu": 2}})

    with pytest.raises(ConfigError, match="gpu = 2 is offered, but CUDA_VISIBLE_DEVICES names only 4"):
        slave.start()
