"""Barriers wait for what was submitted before them, also by tesserae and tasks."""

from __future__ import annotations

import asyncio

import pytest

from concurro import Task
from tests.support.leftovers import watch_leftovers
from tests.support.tesserae import WATCHDOG, Counter, drive, runtime_of


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Give a cluster with a runtime and two workers, on two slaves."""
    tmp_path_factory.getbasetemp()
    with watch_leftovers(), runtime_of(workers=1, slaves=2) as (cluster, runtime):
        cluster.runtime = runtime
        yield cluster


@pytest.fixture(autouse=True)
def leaves_nothing_behind(cluster):
    """Leave watching to the whole."""


def test_a_barrier_waits_for_what_a_tessera_submitted_and_left(cluster):
    async def main():
        one, two = Counter.remote(), Counter.remote()
        await one.start(two, "sleep", 0.3)
        await one.start(two, "add", 1)
        await cluster.runtime.barrier(WATCHDOG)
        return two.get_attr("value").wait

    value = drive(main)

    assert value(WATCHDOG) == 1


def test_a_barrier_waits_for_what_calls_made_before_it_submit_meanwhile(cluster):
    async def main():
        one, two, three = await Counter.remote(), await Counter.remote(), await Counter.remote()
        one.start_later(0.1, two, "start_later", 0.1, three, "add_soon", 5, 0.1)
        await cluster.runtime.barrier(WATCHDOG)
        value = three.get_attr("value")
        return await value

    assert drive(main) == 5


def test_a_barrier_does_not_wait_for_what_is_submitted_later(cluster):
    async def main():
        one, two = await Counter.remote(), await Counter.remote()
        barrier = cluster.runtime.barrier(WATCHDOG)
        later = two.sleep_soon(1000)
        await barrier
        assert not later.done()
        late = one.sleep_soon(1000)
        with pytest.raises(TimeoutError):
            await cluster.runtime.barrier(0.2)
        assert later.cancel()
        assert late.cancel()
        await cluster.runtime.barrier(WATCHDOG)

    drive(main)


def test_a_barrier_inside_a_method_waits_for_what_was_submitted_there(cluster):
    async def main():
        worker = cluster.runtime.workers[0]
        one, two = Counter.remote(runtime=worker), Counter.remote(runtime=worker)
        return await asyncio.gather(one.pass_barrier(two).result(), Counter.remote().pass_barrier(two).result())

    assert drive(main) == [1, 1]


class Starts(Task):
    """Makes calls, and waits for none."""

    def __init__(self, proxy, count):
        super().__init__("starts")
        self.proxy = proxy
        self.count = count

    def __call__(self):
        self.proxy.sleep(0.2)
        for _ in range(self.count):
            self.proxy.add(1)


def test_calls_that_a_task_made_and_left_run_before_a_barrier_ends(cluster):
    proxy = Counter.remote(0)

    cluster.push_task(Starts(proxy, 300)).result(WATCHDOG)
    cluster.runtime.barrier(WATCHDOG).wait(WATCHDOG)
    value = proxy.get_attr("value")

    assert value.get(WATCHDOG) == 300
