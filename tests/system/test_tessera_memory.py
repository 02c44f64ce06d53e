"""Calls whose arguments do not fit into a worker's memory: they wait, or fail and say why."""

from __future__ import annotations

import numpy as np
import pytest

from concurro_tessera import MemoryLimitError
from tests.support.leftovers import watch_leftovers
from tests.support.tesserae import WATCHDOG, Filler, drive, runtime_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
LIMIT = 300 * MIB


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """Give a runtime with two workers, on two slaves, that may hold 300 MiB each."""
    tmp_path_factory.getbasetemp()
    settings = {"slave": {"memory_limit": f"{LIMIT} B"}}
    with watch_leftovers(), runtime_of(workers=1, slaves=2, settings=settings) as (_, runtime):
        yield runtime


@pytest.fixture(autouse=True)
def leaves_nothing_behind(runtime):
    """Leave watching to the whole; nothing stays committed, and the workers are the same."""
    before = [worker.uid for worker in runtime.workers]
    yield
    assert [worker.uid for worker in runtime.workers] == before
    wait_until(lambda: not any(committed(worker) for worker in runtime.workers), WATCHDOG, "no committed memory")


def committed(worker):
    """Return what is promised to calls in a worker [B]."""
    return worker.figures().get(WATCHDOG)["committed"]


def array(mebibytes):
    """Return an array of so many mebibytes."""
    return np.ones(mebibytes * MIB, np.uint8)


def test_a_worker_knows_its_limit(runtime):
    worker = runtime.get_worker()

    assert worker.memory_limit().get(WATCHDOG) == LIMIT
    assert worker.fits_in_memory(MIB).get(WATCHDOG)
    assert not worker.fits_in_memory(LIMIT).get(WATCHDOG)
    assert 0 < worker.memory().get(WATCHDOG) < LIMIT


def test_what_is_committed_leaves_less(runtime):
    worker = runtime.get_worker()

    worker.inc_committed_mem(LIMIT - MIB).wait(WATCHDOG)
    assert not worker.fits_in_memory(2 * MIB).get(WATCHDOG)
    worker.dec_committed_mem(LIMIT - MIB).wait(WATCHDOG)

    assert worker.fits_in_memory(2 * MIB).get(WATCHDOG)


def test_a_call_that_does_not_fit_waits_while_something_runs(runtime):
    worker = runtime.get_worker()
    one, two = Filler.remote(runtime=worker), Filler.remote(runtime=worker)
    running = one.measure_soon(array(180), 1000)
    wait_until(lambda: committed(worker) >= 180 * MIB, WATCHDOG, "the call that runs")

    waiting, small = two.measure(array(120)), Filler.remote(runtime=worker).measure(b"abc")

    assert small.get(WATCHDOG) == 3
    assert not waiting.done()
    assert worker.figures().get(WATCHDOG)["queued"] == 1
    running.cancel()
    assert waiting.get(WATCHDOG) == 120 * MIB


def test_a_call_that_never_fits_fails_and_its_tessera_lives(runtime):
    proxy = Filler.remote(runtime=runtime.get_worker())

    async def main():
        with pytest.raises(MemoryLimitError, match=r"measure\(\) of Filler .* needs 320\.0 MiB .* of 300\.0 MiB"):
            await proxy.measure(array(320))
        assert await proxy.measure(b"abc").result() == 3

    drive(main)


def test_a_constructor_that_does_not_fit_fails_and_with_it_every_call(runtime):
    async def main():
        proxy = Filler.remote(array(320), runtime=runtime.get_worker())
        with pytest.raises(MemoryLimitError):
            await proxy
        with pytest.raises(MemoryLimitError):
            await proxy.measure(b"abc")

    drive(main)


def test_values_from_other_workers_count_as_arguments_do(runtime):
    here, there = runtime.workers
    one, two, other = (Filler.remote(runtime=worker) for worker in (here, here, there))
    running = one.measure_soon(array(180), 1000)
    made = other.make(90 * MIB).wait(WATCHDOG)

    waiting = two.measure(made)

    with pytest.raises(TimeoutError):
        waiting.wait(1.0)
    running.cancel()
    assert waiting.get(WATCHDOG) == 90 * MIB


def test_a_call_that_waits_for_one_without_room_gets_its_error(runtime):
    worker = runtime.get_worker()
    one, two = Filler.remote(runtime=worker), Filler.remote(runtime=worker)

    async def main():
        with pytest.raises(MemoryLimitError, match="waits for it"):
            await one.pass_on(array(180), two)

    drive(main)


def test_a_call_that_waits_for_room_can_be_cancelled(runtime):
    worker = runtime.get_worker()
    one, two = Filler.remote(runtime=worker), Filler.remote(runtime=worker)
    running = one.measure_soon(array(180), 1000)
    wait_until(lambda: committed(worker) >= 180 * MIB, WATCHDOG, "the call that runs")
    waiting = two.measure(array(150))

    waiting.cancel()

    assert two.measure(b"abc").get(WATCHDOG) == 3
    running.cancel()
