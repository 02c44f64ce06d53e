"""What homes keep: results within a budget, what was pickled for somebody who is not known."""

from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pytest

from concurro import LocalCluster, Task, TaskSystem
from concurro_monitor import use
from concurro_tessera import Runtime, tessera
from tests.support.jobs import SHIPPED
from tests.support.leftovers import watch_leftovers
from tests.support.programs import ROOT
from tests.support.tesserae import WATCHDOG, Counter, Holder, Traced
from tests.support.waiting import wait_until

BUDGET = 10 * 1024**2


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Give a cluster with a runtime whose results have little room in memory."""
    tmp_path_factory.getbasetemp()
    config = {**SHIPPED, "tessera": {"budget": BUDGET}}
    with watch_leftovers(), LocalCluster(workers=2, config=config) as cluster:
        cluster.runtime = Runtime(cluster.application)
        use(cluster.runtime)
        cluster.runtime.start()
        yield cluster
        use(None)
        cluster.runtime.close()


@pytest.fixture(autouse=True)
def leaves_nothing_behind(cluster):
    """Leave watching to the whole."""


@tessera
class Maker:
    """Makes arrays."""

    def make(self, number):
        return np.full(500_000, float(number))

    def add_up(self, array):
        return float(array.sum())


def test_results_over_the_budget_are_in_a_file_and_come_back(cluster):
    maker = Maker.remote().wait(WATCHDOG)
    tasks = [maker.make(number) for number in range(8)]
    for task in tasks:
        task.wait(WATCHDOG)
    home = cluster.service("tessera", maker._seat.address)
    held, spilled = wait_until(lambda: _kept_of(home, 8 * 4_000_000), WATCHDOG, "results that are counted")

    assert held <= BUDGET
    assert spilled >= 8 * 4_000_000 - BUDGET
    assert [float(task.get(WATCHDOG)[7]) for task in tasks] == [float(number) for number in range(8)]
    assert Maker.remote().add_up(tasks[0]).get(WATCHDOG) == 0.0
    assert maker.add_up(tasks[3]).get(WATCHDOG) == 1_500_000.0
    del tasks, task
    gc.collect()
    wait_until(lambda: sum(home.kept().result(WATCHDOG)) == 0, WATCHDOG, "results that nobody has any more")


def _kept_of(home, size):
    kept = home.kept().result(WATCHDOG)
    return kept if sum(kept) >= size else None


class MakesOne(Task):
    """Returns a proxy of what it makes."""

    def __init__(self, folder):
        super().__init__("makes-one")
        self.folder = folder

    def __call__(self):
        return Traced.remote(self.folder, "made-by-a-task")


def test_a_proxy_that_a_task_returns_can_be_called_later(cluster, tmp_path):
    future = cluster.push_task(MakesOne(str(tmp_path)))
    wait_until(future.done, WATCHDOG, "a task that returns a proxy")
    see_two_collected(cluster)

    assert future.result(WATCHDOG).touch().get(WATCHDOG) == "made-by-a-task"


def see_two_collected(cluster):
    """Wait for longer than a tessera is kept to which nothing refers."""
    for _ in range(2):
        other = Counter.remote().wait(WATCHDOG)
        uid = other._seat.uid
        del other
        wait_until(lambda uid=uid: _is_unknown(cluster, uid), WATCHDOG, "the end of another tessera")


def _is_unknown(cluster, uid):
    found = cluster.runtime.ask("locate", uid, 1)
    return found.exception(WATCHDOG) is not None


class AskAll(Task):
    """Calls a tessera."""

    def __init__(self, proxy):
        super().__init__("ask-all")
        self.proxy = proxy

    def __call__(self):
        return self.proxy.add(1).get(WATCHDOG)


class Given(TaskSystem):
    """Has a task, an output and a proxy among its attributes."""

    def __init__(self, **given):
        super().__init__()
        self.given = given
        self.result = None

    def generate_tasks(self, master):
        return [AskAll(self.given["holder"].hand_out("counter").get(WATCHDOG))]

    def task_finished(self, master, task, result, error):
        if error is not None:
            raise error
        self.result = result

    def is_complete(self, master):
        return self.result is not None

    def gather_result(self, master):
        task, output = self.given["task"], self.given["output"]
        counter = self.given["holder"].hand_out("counter").get(WATCHDOG)
        again = counter.echo(task, output, task.outputs.done).get(WATCHDOG)
        return [self.result, len(task.get(WATCHDOG)), output.get(WATCHDOG), *map(len, again[0])], None


def test_tasks_and_proxies_in_the_state_of_a_system_are_used_by_its_callbacks(cluster):
    counter, holder = Counter.remote(10), Holder.remote()
    holder.keep("counter", counter)
    large, parts = counter.large(100_000), counter.parts()
    system = Given(task=large, output=parts.outputs[1], holder=holder)
    handle = cluster.submit(system)
    del counter, holder, large, parts, system
    gc.collect()

    assert handle.result(2 * WATCHDOG) == [11, 100_000, "two", 100_000, 3]


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[2])
from concurro_tessera import opened

with opened(master=sys.argv[1]) as runtime:
    counter = runtime.get("counter of the test").get(10)
    for number in range(500):
        counter.add(1)
    counter.measure(bytes(20_000_000))
    counter.add(1)
"""


@pytest.mark.slow
def test_calls_made_the_instant_before_a_program_ends_run(cluster):
    counter = Counter.remote(0).wait(WATCHDOG)
    cluster.runtime.put(counter, uid="counter of the test").wait(WATCHDOG)

    command = [sys.executable, "-c", PROGRAM, cluster.master_url, str(ROOT)]
    subprocess.run(command, timeout=3 * WATCHDOG, check=True, stdin=subprocess.DEVNULL)

    wait_until(lambda: counter.value.get(WATCHDOG) == 501, WATCHDOG, "every call")
