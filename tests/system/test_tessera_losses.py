"""Workers that die: errors within seconds, tesserae constructed again, the old ones fenced."""

from __future__ import annotations

import asyncio
import gc
import os
import signal

import pytest

from concurro import MasterUnreachable
from concurro_tessera import CallCycleError, MailboxFullError, RuntimeDisconnectedError
from tests.support.jobs import open_gate
from tests.support.tesserae import Bounded, Circular, Counter, Restarted, drive, runtime_of
from tests.support.waiting import LOSS_LIMIT, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    """Give a cluster with a runtime and two workers, on two slaves."""
    with runtime_of(workers=1, slaves=2) as (cluster, runtime):
        cluster.runtime = runtime
        yield cluster


def worker_of(cluster, proxy):
    """Return the process in which a tessera lives."""
    return cluster.runtime.place_of(proxy.runtime_id).pid


async def arrived(*tasks):
    """Wait until calls are at their tesserae: what is not there yet is lost with nobody."""
    await asyncio.to_thread(
        wait_until, lambda: all(task.state != "pending" for task in tasks), LOSS_LIMIT, "the arrival of calls"
    )


def test_f84_calls_of_a_tessera_whose_worker_died_fail_within_seconds(cluster):
    async def main():
        proxy, other = await Counter.remote(), await Counter.remote()
        pending = [proxy.sleep(1000), proxy.add(1)]
        await arrived(*pending)

        os.kill(worker_of(cluster, proxy), signal.SIGKILL)

        for task in pending:
            with pytest.raises(RuntimeDisconnectedError, match="SIGKILL"):
                await asyncio.wait_for(task, LOSS_LIMIT)
        with pytest.raises(RuntimeDisconnectedError):
            await asyncio.wait_for(proxy.add(1), LOSS_LIMIT)
        with pytest.raises(RuntimeDisconnectedError):
            await asyncio.wait_for(proxy, LOSS_LIMIT)
        assert await other.add(1).result() == 1
        new = [await Counter.remote() for _ in range(4)]
        assert proxy.runtime_id not in {one.runtime_id for one in new}

    drive(main)


def test_f84_what_depends_on_a_dead_worker_fails(cluster):
    async def main():
        proxy, other = await Counter.remote(), await Counter.remote()
        dependent = other.echo(proxy.sleep(1000))
        asking = other.ask(proxy, "sleep", 1000)
        await asyncio.sleep(0.2)

        os.kill(worker_of(cluster, proxy), signal.SIGKILL)

        with pytest.raises(Exception, match="worker"):
            await asyncio.wait_for(dependent, LOSS_LIMIT)
        with pytest.raises(RuntimeDisconnectedError):
            await asyncio.wait_for(asking, LOSS_LIMIT)

    drive(main)


def test_f87_a_tessera_with_restarts_is_constructed_again_elsewhere(cluster):
    async def main():
        proxy, holder = await Restarted.remote(10), None
        first = proxy.runtime_id
        holder = await Counter.remote(runtime=next(one for one in cluster.runtime.workers if one.uid != first))
        await holder.keep(other=proxy)
        await proxy.add(5)
        pending = proxy.sleep(1000)
        await arrived(pending)

        os.kill(worker_of(cluster, proxy), signal.SIGKILL)

        with pytest.raises(RuntimeDisconnectedError):
            await asyncio.wait_for(pending, LOSS_LIMIT)
        assert await proxy.add(1).result() == 11
        assert proxy.runtime_id != first
        assert await (await holder.other).add(1).result() == 12

        os.kill(worker_of(cluster, proxy), signal.SIGKILL)

        with pytest.raises(RuntimeDisconnectedError):
            await asyncio.wait_for(proxy.sleep(1000), LOSS_LIMIT)
        with pytest.raises(RuntimeDisconnectedError):
            await asyncio.wait_for(proxy.add(1), LOSS_LIMIT)

    drive(main)


def test_f87_who_hears_of_a_lost_call_reaches_the_new_incarnation_at_once(cluster):
    async def main():
        proxy = await Restarted.remote(10)
        pending = proxy.sleep(1000)
        again = []
        pending.then(lambda: again.append(proxy.add(1)))
        await arrived(pending)

        os.kill(worker_of(cluster, proxy), signal.SIGKILL)

        with pytest.raises(RuntimeDisconnectedError):
            await asyncio.wait_for(pending, LOSS_LIMIT)
        assert await again[0].result() == 11

    drive(main)


def test_f87_another_holder_reaches_the_new_incarnation(cluster):
    async def main():
        workers = cluster.runtime.workers
        proxy = await Restarted.remote(10, runtime=workers[0])
        holder = await Counter.remote(runtime=workers[1])
        await holder.ask(proxy, "add", 1)
        await holder.keep(other=proxy)
        pending = proxy.sleep(1000)
        await arrived(pending)

        os.kill(worker_of(cluster, proxy), signal.SIGKILL)

        with pytest.raises(RuntimeDisconnectedError):
            await asyncio.wait_for(pending, LOSS_LIMIT)
        await proxy
        for _ in range(100):
            try:
                result = await holder.ask(proxy, "add", 1).result()
                break
            except RuntimeDisconnectedError:
                await asyncio.sleep(0.05)
        return result

    assert drive(main) == 11


def test_f85_a_full_mailbox_refuses_calls(cluster, tmp_path):
    async def main():
        proxy = await Bounded.remote()
        slow = proxy.wait_for_gate_in(str(tmp_path))
        await arrived(slow)
        results = [asyncio.ensure_future(proxy.add(1).result()) for _ in range(10)]
        await asyncio.wait(results[4:], timeout=LOSS_LIMIT)
        open_gate(tmp_path)
        ended = await asyncio.gather(*results, return_exceptions=True)
        await slow
        assert [type(one) for one in ended] == [int] * 4 + [MailboxFullError] * 6
        return await proxy.add(1).result()

    assert drive(main) == 5


def test_f84_a_frozen_worker_is_given_up(cluster):
    async def main():
        proxy = await Counter.remote()
        pending = proxy.add(1)
        await pending
        os.kill(worker_of(cluster, proxy), signal.SIGSTOP)
        stopped = proxy.add(1)
        with pytest.raises(RuntimeDisconnectedError):
            await stopped

    drive(main)


def test_a_worker_that_died_is_replaced_and_named_anew(cluster):
    before = {worker.uid for worker in cluster.runtime.workers}
    pid = cluster.runtime.place_of(min(before)).pid

    os.kill(pid, signal.SIGKILL)

    wait_until(lambda: len({one.uid for one in cluster.runtime.workers} - before) == 1, LOSS_LIMIT, "a new worker")
    assert min(before) not in {worker.uid for worker in cluster.runtime.workers}


def test_f86_a_circle_of_calls_is_an_error():
    with runtime_of(workers=1, slaves=2):

        async def main():
            one, two = await Circular.remote(), await Circular.remote()
            for circle in (one.ask(one), one.ask(two, one), one.ask_blocking(two, one, two)):
                with pytest.raises(CallCycleError):
                    await asyncio.wait_for(circle, LOSS_LIMIT)
            assert await one.ask_later(two, one).result() == "asked"
            assert await (await one.later).result() > 3
            assert await one.ask(two).result() > 3
            return await two.ask(one).result()

        assert drive(main) > 3


def test_when_the_master_dies_every_call_ends(cluster):
    async def main():
        proxy = await Counter.remote()
        large = await proxy.large(100_000)
        array = Counter.remote(len=3)
        pending = [proxy.sleep(1000), proxy.sleep_soon(1000), *(member.sleep(1000) for member in array)]
        await arrived(*pending)

        os.kill(cluster.master_pid, signal.SIGKILL)

        for wait in (*pending, large.result(), proxy.value, Counter.remote(), cluster.runtime.get("any")):
            with pytest.raises((RuntimeDisconnectedError, MasterUnreachable)):
                await asyncio.wait_for(wait, LOSS_LIMIT)

    drive(main)


def test_a_result_that_was_not_fetched_is_lost_with_its_worker(cluster):
    async def main():
        proxy = await Counter.remote()
        large = await proxy.large(100_000)
        fetched = await proxy.large(100_000)
        await fetched.result()

        os.kill(worker_of(cluster, proxy), signal.SIGKILL)

        with pytest.raises(RuntimeDisconnectedError):
            await asyncio.wait_for(large.result(), LOSS_LIMIT)
        return len(await fetched.result())

    assert drive(main) == 100_000


def test_f87_a_tessera_whose_creator_has_let_it_go_is_constructed_again_for_others(cluster):
    async def main():
        workers = cluster.runtime.workers
        proxy = await Restarted.remote(10, runtime=workers[0])
        pid = worker_of(cluster, proxy)
        holder = await Counter.remote(runtime=workers[1])
        await holder.keep(other=proxy)
        del proxy

        os.kill(pid, signal.SIGKILL)

        for _ in range(100):
            try:
                result = await holder.ask_kept("other", "add", 1).result()
                break
            except RuntimeDisconnectedError:
                await asyncio.sleep(0.05)
        await holder.let_go("other")
        return result

    from concurro_tessera.callers import caller_here

    assert drive(main) == 11
    gc.collect()
    wait_until(lambda: not caller_here().restarted, LOSS_LIMIT, "the end of what was constructed again")
