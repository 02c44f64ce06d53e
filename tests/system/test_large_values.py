"""Values over 64 KiB travel beside their messages, and hold nothing up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from concurro import LocalCluster, Task, TaskSystem
from tests.support.jobs import SHIPPED
from tests.support.programs import ROOT
from tests.support.waiting import wait_until


class Digest(Task):
    """Takes bytes and returns as many others."""

    def __init__(self, number: int, size: int) -> None:
        super().__init__(f"digest-{number}")
        self.number = number
        self.block = bytes([number % 256]) * size

    def __call__(self) -> bytes:
        return bytes([(self.number + 1) % 256]) * len(self.block)


class Blocks(TaskSystem):
    """Mixes large and small values, and publishes and returns large ones."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.count = count
        self.size = size
        self.wrong: list[str] = []
        self.done = 0

    def generate_tasks(self, master):
        return (Digest(number, self.size if number % 3 else 10) for number in range(self.count))

    def task_finished(self, master, task, result, error):
        if error is not None or result != bytes([(task.number + 1) % 256]) * len(task.block):
            self.wrong.append(task.name)
        self.done += 1
        if self.done == 1:
            master.publish(b"p" * self.size)

    def is_complete(self, master):
        return self.done == self.count

    def gather_result(self, master):
        return (self.wrong, b"r" * self.size), None


@pytest.mark.slow
@pytest.mark.parametrize("slaves", [1, 2])
def test_large_and_small_values_come_and_go_in_any_mixture(slaves):
    with LocalCluster(workers=1, slaves=slaves, config=SHIPPED) as cluster:
        for size in (70_000, 200_000, 3_000_000):
            handle = cluster.submit(Blocks(20, size))

            wrong, returned = handle.result(30)

            assert wrong == []
            assert returned == b"r" * size
            assert [len(value) for value in handle.partial_results()] == [size]


def test_large_arguments_and_results_of_pushed_tasks(shared_cluster):
    futures = shared_cluster.push_tasks(Digest(number, 500_000) for number in range(12))

    results = [future.result(30) for future in futures]

    assert [(len(result), result[0]) for result in results] == [(500_000, number + 1) for number in range(12)]


class Block(Task):
    """Returns a large value at once."""

    def __init__(self, number: int) -> None:
        super().__init__(f"block-{number}")
        self.number = number

    def __call__(self) -> bytes:
        return bytes([self.number]) * 300_000


class Deliberate(TaskSystem):
    """Looks at each result for a while: results wait for it."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.seen: dict[str, object] = {}

    def generate_tasks(self, master):
        return (Block(number) for number in range(self.count))

    def task_finished(self, master, task, result, error):
        time.sleep(0.05)
        self.seen[task.name] = error.message if error else result == bytes([task.number]) * 300_000

    def is_complete(self, master):
        return len(self.seen) == self.count

    def gather_result(self, master):
        return self.seen, None


@pytest.mark.slow
def test_large_results_of_a_slave_that_is_killed_are_kept_or_made_again():
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        doomed = cluster.add_slave(2)
        pid = next(slave.pid for slave in cluster.slaves if slave.id == doomed)
        handle = cluster.submit(Deliberate(24))
        wait_until(lambda: sum(handle.progress.counts.get(name, 0) for name in ("done", "leased")) >= 4, 30, "results")

        os.kill(pid, signal.SIGKILL)

        assert handle.result(30) == {f"block-{number}": True for number in range(24)}


class Bursting(TaskSystem):
    """Publishes many large values from one callback."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.count = count
        self.size = size

    def generate_tasks(self, master):
        return [Block(1)]

    def task_finished(self, master, task, result, error):
        for number in range(self.count):
            master.publish(number.to_bytes(4, "big") * (self.size // 4))

    def is_complete(self, master):
        return True

    def gather_result(self, master):
        return "all of it", None


@pytest.mark.parametrize(
    ("count", "size"), [pytest.param(60, 6_000_000, marks=pytest.mark.slow), (400, 50_000), (50_000, 100)]
)
def test_every_partial_result_of_a_burst_arrives_and_none_stays(count, size):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        handle = cluster.submit(Bursting(count, size))

        numbers = [int.from_bytes(value[:4], "big") for value in handle.partial_results()]

        assert numbers == list(range(count))
        assert handle.result(30) == "all of it"
        assert psutil.Process(cluster.master_pid).memory_info().rss < 200 * 2**20


class Streaming(TaskSystem):
    """Publishes something after each of its tasks."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.count = count
        self.size = size
        self.done = 0

    def generate_tasks(self, master):
        return (Block(number % 256) for number in range(self.count))

    def task_finished(self, master, task, result, error):
        self.done += 1
        master.report_progress(self.done, self.count)
        master.publish(bytes([self.done % 256]) * self.size)

    def is_complete(self, master):
        return self.done == self.count

    def gather_result(self, master):
        return self.done, None


FOLLOWS = """
import sys, time
from concurro import ApplicationNode
sys.path.insert(0, {root!r})
from tests.support.jobs import SHIPPED
from tests.support.programs import ROOT
from tests.system.test_large_values import Streaming
application = ApplicationNode({url!r}, config=SHIPPED)
handle = application.submit(Streaming(600, 1_000_000))
print(handle.system_id, flush=True)
print(sum(1 for _ in handle.partial_results()), handle.result(30), flush=True)
"""


@pytest.mark.slow
def test_a_stopped_application_holds_its_own_system_and_the_master_does_not_grow(shared_cluster):
    code = FOLLOWS.format(root=str(ROOT), url=shared_cluster.master_url)
    with started([sys.executable, "-c", code]) as process:
        system_id = process.stdout.readline().strip()
        os.kill(process.pid, signal.SIGSTOP)

        wait_until(lambda: tasks_done(shared_cluster, system_id), what="the first tasks of the held system")
        held = wait_until_it_stays(lambda: tasks_done(shared_cluster, system_id), 1.0)
        grown = psutil.Process(shared_cluster.master_pid).memory_info().rss
        another = shared_cluster.submit(Bursting(3, 1000)).result(30)
        os.kill(process.pid, signal.SIGCONT)
        published, result = process.stdout.readline().split()

    assert 0 < held < 400  # 64 MiB of what is published, and behind that at most the 256 tasks that were open
    assert grown < 300 * 2**20
    assert another == "all of it"
    assert (published, result) == ("600", "600")


@contextmanager
def started(command):
    """Run a process; kill it if the test fails."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def tasks_done(cluster, system_id):
    (system,) = [one for one in cluster.status()["systems"] if one["system_id"] == system_id]
    return system["done"]


def wait_until_it_stays(ask, duration):
    """Return what `ask()` gives once it has been the same for a while [s]."""
    last, since = ask(), time.monotonic()
    deadline = since + 30
    while time.monotonic() - since < duration:
        assert time.monotonic() < deadline, f"{last} does not stay"
        if (now := ask()) != last:
            last, since = now, time.monotonic()
        time.sleep(0.02)
    return last
