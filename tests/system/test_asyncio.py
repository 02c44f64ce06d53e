"""Handles, futures and executors in a running asyncio loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError

import pytest

from concurro import Task, TaskSystem
from tests.support.jobs import Mixture, Waiting, open_gate


class Told(Task):
    """Returns its name."""

    def __call__(self):
        return self.name


class Telling(TaskSystem):
    """Publishes what each of its tasks returned."""

    def __init__(self, count):
        super().__init__()
        self.count = self.left = count

    def generate_tasks(self, master):
        return (Told(str(number)) for number in range(self.count))

    def task_finished(self, master, task, result, error):
        master.publish(result)
        self.left -= 1

    def is_complete(self, master):
        return self.left == 0

    def gather_result(self, master):
        return self.count, None


def test_a_loop_runs_calls_in_an_executor(shared_cluster):
    async def main():
        loop = asyncio.get_running_loop()
        with shared_cluster.executor() as executor:
            return await asyncio.gather(*[loop.run_in_executor(executor, pow, number, 2) for number in range(20)])

    assert asyncio.run(main()) == [number * number for number in range(20)]


def test_an_error_of_a_call_is_raised_where_it_is_awaited(shared_cluster):
    async def main():
        with pytest.raises(ZeroDivisionError):
            await shared_cluster.executor().submit(divmod, 1, 0)

    asyncio.run(main())


def test_a_loop_awaits_systems_and_goes_on_meanwhile(shared_cluster, tmp_path):
    async def main():
        waiting = asyncio.ensure_future(shared_cluster.submit(Mixture(Waiting("slow", tmp_path))))
        quick = await shared_cluster.submit(Telling(3))
        assert not waiting.done()
        open_gate(tmp_path)
        return quick, (await waiting).errors

    assert asyncio.run(main()) == (3, [])


def test_partial_results_are_iterated_in_a_loop(shared_cluster):
    async def main():
        handle = shared_cluster.submit(Telling(200))
        return {value async for value in handle.partial_results()}, await handle

    assert asyncio.run(main()) == ({str(number) for number in range(200)}, 200)


def test_a_system_whose_wait_is_cancelled_is_cancelled(shared_cluster, tmp_path):
    handle = shared_cluster.submit(Mixture(Waiting("slow", tmp_path)))

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle, 0.05)

    asyncio.run(main())

    with pytest.raises(CancelledError):
        handle.result(30)
