"""Arrays of tesserae, parameters, values in the warehouse, loops and barriers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from concurro import NotPicklableError, WaitInCallbackError
from concurro_tessera import ArrayProxy, MultiError
from tests.support.leftovers import watch_leftovers
from tests.support.tesserae import WATCHDOG, Counter, Model, OwnError, User, drive, runtime_of


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """Give a runtime with two workers, on two slaves."""
    tmp_path_factory.getbasetemp()
    with watch_leftovers(), runtime_of(workers=1, slaves=2) as (_, runtime):
        yield runtime


@pytest.fixture(autouse=True)
def leaves_nothing_behind(runtime):
    """Leave watching to the whole."""


# Arrays


def test_the_members_of_an_array_lie_on_the_workers_in_turn(runtime):
    async def main():
        array = Counter.remote(5, len=5)
        assert await array is array
        assert len(array) == 5
        workers = [worker.uid for worker in runtime.workers]
        assert array.runtime_id == [workers[index % 2] for index in range(5)]
        assert [await member.value for member in array] == [5] * 5
        assert await array[3].add(1).result() == 6

    drive(main)


def test_a_call_of_an_array_is_a_list_of_tasks_in_order(runtime):
    async def main():
        array = Counter.remote(len=3)
        array.set_attr("value", 1)
        array[1].add(10)
        tasks = await array.add(1)
        assert [await task.result() for task in tasks] == [2, 12, 2]
        assert await array.add(0).result() == [2, 12, 2]
        assert await array.value == await array.get_attr("value") == [2, 12, 2]
        with pytest.raises(OwnError):
            await array.fail()
        return await array.made(1).result()

    assert drive(main) == [4, 4, 4]


def test_a_call_with_a_runtime_goes_to_the_member_there(runtime):
    async def main():
        array = Counter.remote(len=2)
        for index, worker in enumerate(runtime.workers):
            await array.add(index + 1, runtime=worker)
        return await array.value

    assert drive(main) == [1, 2]


def test_an_array_travels(runtime):
    async def main():
        array = await Counter.remote(len=2)
        again = await Counter.remote().echo(array).result()
        assert isinstance(again, ArrayProxy)
        return list(again) == list(array)

    assert drive(main)


def test_an_array_of_one_worker_lies_there(runtime):
    async def main():
        worker = runtime.workers[1]
        array = await Counter.remote(len=2, runtime=worker)
        return array.runtime_id == [worker.uid] * 2

    assert drive(main)


# Parameters


def test_a_parameter_is_a_local_instance_with_a_root_elsewhere(runtime):
    async def main():
        model = Model.parameter(3)
        assert isinstance(model, Model)
        assert model.role() == [True, False, True]
        model.value = 4
        assert model.grow(1) == 5
        assert await model.get("value") == 3
        assert await model.ref.role().result() == [True, True, False]

    drive(main)


def test_what_is_propagated_runs_on_both(runtime):
    async def main():
        model = Model.parameter(3)
        assert model.grow(1, propagate=True) == 4
        assert await model.get("value") == 4
        assert await model.grow_soon(1, propagate=True) == 5
        assert await model.get("value") == 5
        model.set("value", 9)
        assert (model.value, await model.get("value")) == (9, 9)

    drive(main)


def test_state_is_pushed_and_pulled(runtime):
    async def main():
        model = Model.parameter(3)
        model.value, model.name = 7, "other"
        await model.push("value")
        assert (await model.get("value"), await model.get("name")) == (7, "model")
        await model.push()
        assert await model.get("name") == "other"
        await model.ref.set_attr("value", 8)
        await model.ref.set_attr("name", "root")
        await model.pull("value")
        assert (model.value, model.name) == (8, "other")
        await model.pull()
        assert model.name == "root"
        with pytest.raises(AttributeError):
            await model.get("nothing")

    drive(main)


def test_a_parameter_that_travelled_keeps_its_link(runtime):
    async def main():
        model = Model.parameter(3)
        users = User.remote(len=2)
        assert await users.role_of(model).result() == [[True, True, False, True]] * 2
        assert await users[0].grow(model, 1).result() == 4
        assert await users[1].grow(model, 1).result() == 5
        assert model.value == 3
        assert await users[0].value_after_pull(model).result() == 5

    drive(main)


def test_a_proxy_makes_a_parameter(runtime):
    async def main():
        proxy = Model.remote(6)
        model = proxy.make_parameter()
        assert isinstance(model, Model)
        assert (model.value, proxy.is_parameter) == (6, True)
        model.grow(1, propagate=True)
        assert await proxy.value == 7
        assert await proxy.role().result() == [True, True, False]
        assert len(Model.remote(1, len=2).make_parameter()) == 2

    drive(main)


# The warehouse


def test_a_value_is_put_got_and_dropped(runtime):
    async def main():
        ref = await runtime.put({"a": [1, 2]}, reply=True)
        assert await runtime.get(ref) == {"a": [1, 2]}
        assert await runtime.get(ref.uid, cache=False) == {"a": [1, 2]}
        await runtime.drop(ref)
        with pytest.raises(KeyError):
            await runtime.get(ref)

    drive(main)


def test_an_unknown_value_is_a_key_error_soon(runtime):
    async def main():
        with pytest.raises(KeyError, match="nothing"):
            await asyncio.wait_for(runtime.get("nothing"), 2)

    drive(main)


def test_a_value_that_was_just_put_can_be_got(runtime):
    async def main():
        for index in range(10):
            ref = await runtime.put(index)
            assert await runtime.get(ref) == index

    drive(main)


def test_a_second_value_of_a_name_is_refused(runtime):
    async def main():
        await runtime.put(1, uid="twice", reply=True)
        with pytest.raises(ValueError, match="twice"):
            await runtime.put(2, uid="twice")
        assert await runtime.get("twice") == 1
        await runtime.drop("twice")
        with pytest.raises(NotPicklableError):
            await runtime.put(asyncio.get_running_loop())

    drive(main)


def test_an_array_that_was_got_is_read_only(runtime):
    async def main():
        array = np.arange(500_000.0)
        ref = await runtime.put(array, publish=True)
        again = await runtime.get(ref)
        assert (again == array).all()
        with pytest.raises(ValueError, match="read-only"):
            again[0] = 1
        users = User.remote(len=2)
        assert await users.flags(ref).result() == [[False, array.sum()]] * 2

    drive(main)


# Loops


def test_a_loop_gives_results_in_the_order_of_items(runtime):
    async def main():
        array = await Counter.remote(len=2)

        @runtime.async_for([0.2, 0, 0.1, 0], "abcde")
        async def body(worker, delay, letter):
            await array.sleep_soon(delay, runtime=worker)
            return letter

        assert await body == ["a", "b", "c", "d"]
        assert await body == ["a", "b", "c", "d"]

    drive(main)


def test_a_loop_has_one_item_per_worker_at_a_time(runtime):
    async def main():
        busy, most = {}, 0

        @runtime.async_for(range(20))
        async def body(worker, item):
            nonlocal most
            busy[worker.uid] = busy.get(worker.uid, 0) + 1
            most = max(most, busy[worker.uid])
            await asyncio.sleep(0.001)
            busy[worker.uid] -= 1

        await body
        return most, len(busy)

    assert drive(main) == (1, 2)


def test_an_error_stops_a_loop_and_a_later_one_works(runtime):
    async def main():
        seen = []

        @runtime.async_for(range(100))
        async def body(worker, item):
            seen.append(item)
            await asyncio.sleep(0)
            if item == 3:
                raise OwnError("three", 3)
            return item

        with pytest.raises(OwnError):
            await body
        assert len(seen) < 10

        @runtime.async_for(range(3))
        async def later(worker, item):
            return item

        return await later

    assert drive(main) == [0, 1, 2]


def test_a_loop_ends_at_its_timeout_or_after_enough_results(runtime):
    async def main():
        @runtime.async_for(range(3), timeout=0.2)
        async def endless(worker, item):
            await asyncio.sleep(1000)

        with pytest.raises(TimeoutError):
            await endless

        begun = []

        @runtime.async_for(range(100), max_await=5)
        async def enough(worker, item):
            begun.append(item)
            return item

        assert len(await enough) == 5

        @runtime.async_for()
        async def nothing(worker):
            return 1

        assert await nothing == []

    drive(main)


# Barriers


def test_a_barrier_waits_for_what_was_submitted_before(runtime):
    async def main():
        proxy = Counter.remote()
        task = proxy.sleep_soon(0.2)
        instant = Counter.remote().sleep(0.1)
        await runtime.barrier()
        assert task.done()
        assert instant.done()
        await runtime.barrier(0.1)
        long = proxy.sleep_soon(5)
        with pytest.raises(TimeoutError):
            await runtime.barrier(timeout=0.1)
        long.cancel()

    drive(main)


def test_scripts_use_the_warehouse_and_barriers_by_blocking(runtime):
    ref = runtime.put([1], reply=True).get(WATCHDOG)
    slow = Counter.remote().sleep(0.1)

    runtime.barrier().wait(WATCHDOG)

    assert slow.done()
    assert runtime.get(ref).get(WATCHDOG) == [1]
    runtime.drop(ref).wait(WATCHDOG)

    async def main():
        with pytest.raises(WaitInCallbackError):
            runtime.get("anything").wait()

    drive(main)


def test_parameters_are_used_by_blocking(runtime):
    model = Model.parameter(3)
    model.value = 5

    model.push().wait(WATCHDOG)
    assert model.get("value").get(WATCHDOG) == 5
    model.set("value", 6).wait(WATCHDOG)
    model.value = 0
    model.pull("value").wait(WATCHDOG)
    assert model.value == 6
    assert runtime.get(model.publish().get(WATCHDOG)).get(WATCHDOG).value == 6


def test_constructors_wait_for_their_arguments(runtime):
    async def main():
        one = Counter.remote(4)
        two = Counter.remote(one.sleep_soon(0.1))
        assert await two.value == 0.1
        ref = await runtime.put([1, 2])
        assert await Counter.remote(ref).value == [1, 2]
        bad = Counter.remote(one.fail("root"))
        with pytest.raises(MultiError, match="root"):
            await bad
        with pytest.raises(MultiError, match="root"):
            await bad.add(1)
        await one.set_attr("value", two.echo(7))
        return await one.value

    assert drive(main) == 7
