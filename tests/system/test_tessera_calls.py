"""Calls of tesserae: in order, once each, their results, outputs and errors at the caller."""

from __future__ import annotations

import asyncio
import threading

import pytest

from concurro import NotPicklableError, WaitInCallbackError
from concurro_tessera import CallCancelledError, MultiError, RemoteError
from tests.support.leftovers import watch_leftovers
from tests.support.tesserae import WATCHDOG, Counter, OwnError, Unloadable, drive, runtime_of
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """Give a runtime with two workers, on two slaves."""
    tmp_path_factory.getbasetemp()
    with watch_leftovers(), runtime_of(workers=1, slaves=2) as (_, runtime):
        yield runtime


@pytest.fixture(autouse=True)
def leaves_nothing_behind(runtime):
    """Leave watching to the whole."""


# What is called


def test_a_class_stays_an_ordinary_one():
    local = Counter(1)

    assert local.add(2) == 3
    assert isinstance(local, Counter)


def test_a_proxy_is_there_at_once_and_awaited_gives_itself(runtime):
    async def main():
        proxy = Counter.remote(10)
        assert await proxy is proxy
        return await proxy.value

    assert drive(main) == 10


def test_a_call_runs_without_being_awaited(runtime):
    async def main():
        proxy = Counter.remote(10)
        for _ in range(100):
            proxy.add(1)
        return await proxy.value

    assert drive(main) == 110


def test_a_call_that_many_await_runs_once(runtime):
    async def main():
        proxy = Counter.remote(0)
        task = proxy.add(1)
        await asyncio.gather(*(asyncio.wait_for(task, WATCHDOG) for _ in range(20)))
        assert await task is task
        assert [await task.result() for _ in range(3)] == [1, 1, 1]
        return await proxy.value

    assert drive(main) == 1


def test_a_call_runs_once_after_its_awaiting_was_cancelled(runtime):
    async def main():
        proxy = await Counter.remote(0)
        task = proxy.sleep(0.2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.01)
        proxy.add(1)
        assert await task.result() == 0.2
        return await proxy.value

    assert drive(main) == 1


def test_calls_run_in_the_order_in_which_they_were_made(runtime):
    async def main():
        proxy = Counter.remote()
        for number in range(0, 2000, 2):
            proxy.note(number)
            proxy.note_soon(number + 1)
        return await proxy.seen

    assert drive(main) == list(range(2000))


def test_plain_methods_share_a_thread_and_coroutines_a_loop(runtime):
    async def main():
        one, two = Counter.remote(), Counter.remote()
        return [await one.thread().result(), await one.thread().result(), await two.thread().result()]

    threads = drive(main)

    assert threads[0] == threads[1] != threads[2]


def test_two_tesserae_of_one_worker_do_not_block_each_other(runtime):
    async def main():
        worker = runtime.workers[0]
        one, two = Counter.remote(runtime=worker), Counter.remote(runtime=worker.uid)
        slow = one.sleep(1.0)
        slow_coroutine = Counter.remote(runtime=worker).sleep_soon(1.0)
        assert await two.add(1).result() == 1
        assert await two.add_soon(1).result() == 2
        assert not slow.done()
        assert not slow_coroutine.done()
        assert {one.runtime_id, two.runtime_id} == {worker.uid}

    drive(main)


def test_one_method_runs_at_a_time(runtime):
    async def main():
        proxy = Counter.remote()
        slow = proxy.sleep_soon(0.2)
        await proxy.add(1)
        assert slow.done()

    drive(main)


def test_tesserae_are_dealt_out_in_turn(runtime):
    async def main():
        proxies = [await Counter.remote() for _ in range(6)]
        workers = [proxy.runtime_id for proxy in proxies]
        assert workers[0] != workers[1]
        assert workers == workers[:2] * 3

    drive(main)


def test_class_methods_and_static_methods_work(runtime):
    async def main():
        proxy = Counter.remote()
        return await proxy.made(4).result(), await proxy.doubled(4).result()

    assert drive(main) == (7, 8)


def test_attributes_are_read_and_set_in_the_order_of_calls(runtime):
    async def main():
        proxy = Counter.remote(1)
        proxy.add(1)
        proxy.set_attr("value", 5)
        proxy.add(1)
        first = proxy.get_attr("value")
        await proxy.set_attr("value", [9])
        return await first, await proxy.value

    assert drive(main) == (6, [9])


def test_the_state_of_a_task_tells_how_far_it_is(runtime):
    async def main():
        proxy = await Counter.remote()
        slow, waiting = proxy.sleep_soon(0.3), proxy.add(1)
        assert slow.state in ("pending", "queued")
        await Counter.remote().add(1)
        await asyncio.to_thread(wait_until, lambda: slow.state == "queued")
        assert not slow.done()
        await waiting
        assert (slow.state, waiting.state) == ("done", "done")
        failing = proxy.fail()
        with pytest.raises(OwnError):
            await failing
        assert failing.state == "failed"

    drive(main)


def test_more_than_fits_on_the_way_is_sent_in_the_end(runtime):
    async def main():
        proxy = await Counter.remote()
        tasks = [proxy.measure(bytes(4_000_000 + number)) for number in range(50)]
        return [await task.result() for task in tasks]

    assert drive(main) == [4_000_000 + number for number in range(50)]


# Results


@pytest.mark.parametrize(
    "value", [None, 1, "text", [1, 2], (), (1,), {}, {"a": (1, 2)}, [None], b"x" * 100_000, {3: 4}]
)
def test_a_result_comes_as_it_is(runtime, value):
    async def main():
        task = Counter.remote().echo(value)
        return await task.result(), await task.result()

    assert drive(main) == (value, value)


def test_a_tuple_has_outputs_by_number(runtime):
    async def main():
        task = Counter.remote().parts()
        outputs = task.outputs
        assert await outputs[1].result() == "two"
        assert (await outputs[2]).state == "done"
        assert await task.result() == (1, "two", [3])
        with pytest.raises(IndexError):
            await outputs[3].result()

    drive(main)


def test_a_dict_has_outputs_by_key(runtime):
    async def main():
        task = Counter.remote().keyed()
        assert await task.outputs["b"].result() == [2]
        assert await task.result() == {"a": 1, "b": [2]}
        with pytest.raises(KeyError):
            await task.outputs["c"].result()

    drive(main)


@pytest.mark.parametrize("value", [[1, 2], None, (1,), 5])
def test_everything_else_has_one_output(runtime, value):
    async def main():
        task = Counter.remote().echo(value)
        assert await task.outputs[0].result() == value
        with pytest.raises(LookupError):
            await task.outputs[1].result()

    drive(main)


# Dependencies


def test_tasks_and_outputs_among_arguments_are_replaced_by_their_values(runtime):
    async def main():
        one, two = Counter.remote(1), Counter.remote(2)
        task = two.echo(one.add(1), one.parts().outputs[1], key=one.keyed().outputs["b"], plain=3)
        return await task.result()

    assert drive(main) == ((2, "two"), {"key": [2], "plain": 3})


def test_a_large_result_moves_from_worker_to_worker(runtime):
    async def main():
        one, two = await Counter.remote(), await Counter.remote()
        assert one.runtime_id != two.runtime_id
        large = one.large(3_000_000)
        assert len(await two.echo(large).result()) == 3_000_000
        assert large._parts is None  # it was never here
        return await two.echo(two.large(100_000)).result() == bytes(100_000)

    assert drive(main)


def test_the_end_of_a_task_as_an_argument_is_no_argument(runtime):
    async def main():
        one, two = Counter.remote(), Counter.remote()
        slow = one.sleep_soon(0.1)
        task = two.count_arguments(1, slow.outputs.done, 2, late=slow.outputs.done, other=3)
        result = await task.result()
        assert slow.done()
        return result

    assert drive(main) == [2, 1]


def test_a_task_that_nobody_else_keeps_can_be_an_argument(runtime):
    async def main():
        one, two = Counter.remote(), Counter.remote()
        tasks = [two.echo(one.echo([index] * 1000)) for index in range(20)]
        return [len(await task.result()) for task in tasks]

    assert drive(main) == [1000] * 20


def test_a_call_that_waits_for_arguments_holds_up_its_own_caller_alone(runtime):
    async def main():
        one, two = await Counter.remote(), await Counter.remote()
        slow = one.sleep_soon(0.5)
        two.note(slow)
        later = two.note("later")
        elsewhere = await Counter.remote().ask(two, "echo", "other caller").result()
        assert elsewhere == "other caller"
        assert not slow.done()
        assert await later.result() == [0.5, "later"]

    drive(main)


def test_a_failed_argument_fails_the_call_with_the_root_error(runtime):
    async def main():
        one, two = Counter.remote(), Counter.remote()
        first = two.echo(one.fail("root"))
        second = one.echo(first)
        with pytest.raises(MultiError, match=r"OwnError.*root") as caught:
            await second
        assert [type(error) for error in caught.value.errors] == [OwnError]
        assert await two.add(1).result() == 1

    drive(main)


# Errors


def test_what_a_method_raises_is_raised_at_the_caller(runtime):
    async def main():
        proxy = Counter.remote()
        for task in (proxy.fail("text", 3), proxy.fail_soon()):
            with pytest.raises(OwnError) as caught:
                await task
            assert "tesserae.py" in str(caught.value.__cause__)
            with pytest.raises(OwnError):
                await task.result()
        assert caught.value.args == ("soon", 8)
        assert await proxy.add(1).result() == 1

    drive(main)


def test_an_error_that_cannot_be_rebuilt_is_told_by_name_and_text(runtime):
    async def main():
        proxy = Counter.remote()
        with pytest.raises(RemoteError, match="OddError: one") as caught:
            await proxy.fail_oddly()
        assert caught.value.type_name == "OddError"
        with pytest.raises(RemoteError, match="SystemExit"):
            await proxy.leave()
        assert await proxy.add(1).result() == 1

    drive(main)


def test_a_constructor_that_raises_fails_the_proxy_and_its_calls(runtime):
    async def main():
        proxy = Counter.remote(fail="broken")
        task = proxy.add(1)
        with pytest.raises(OwnError, match="broken"):
            await proxy
        with pytest.raises(OwnError, match="broken"):
            await task
        with pytest.raises(OwnError, match="broken"):
            await proxy.add_soon(1)

    drive(main)


def test_an_argument_that_does_not_travel_is_an_error_at_the_call(runtime):
    async def main():
        proxy = Counter.remote()
        with pytest.raises(NotPicklableError, match="lock"):
            proxy.echo(threading.Lock())
        with pytest.raises(NotPicklableError, match="lock"):
            Counter.remote(threading.Lock())
        return await proxy.add(1).result()

    assert drive(main) == 1


def test_an_argument_that_cannot_be_loaded_fails_the_call(runtime):
    async def main():
        proxy = Counter.remote()
        with pytest.raises(ZeroDivisionError):
            await proxy.echo(Unloadable())
        with pytest.raises(ZeroDivisionError):
            await Counter.remote(Unloadable())
        return await proxy.add(1).result()

    assert drive(main) == 1


def test_a_result_that_does_not_travel_fails_the_call(runtime):
    async def main():
        proxy = Counter.remote()
        with pytest.raises(NotPicklableError, match="lock"):
            await proxy.odd()
        with pytest.raises(NotPicklableError, match="lock"):
            await proxy.gate
        return await proxy.add(1).result()

    assert drive(main) == 1


def test_a_result_that_cannot_be_loaded_is_told(runtime):
    async def main():
        proxy = Counter.remote()
        await proxy.keep(bomb=1)
        with pytest.raises(ZeroDivisionError):
            await proxy.echo([Unloadable()]).result()
        return await proxy.add(1).result()

    assert drive(main) == 1


def test_an_unknown_attribute_is_an_attribute_error(runtime):
    async def main():
        proxy = Counter.remote()
        with pytest.raises(AttributeError, match="nothing"):
            await proxy.nothing
        with pytest.raises(AttributeError, match="nothing"):
            await proxy.nothing(1)
        with pytest.raises(AttributeError, match="nothing"):
            await proxy.get_attr("nothing")
        with pytest.raises(TypeError):
            await proxy.add()
        return await proxy.add(1).result()

    assert drive(main) == 1


def test_an_unknown_runtime_is_told(runtime):
    async def main():
        with pytest.raises(LookupError, match="worker:7:7"):
            await Counter.remote(runtime="worker:7:7")

    drive(main)


# Retries, cancelling


def test_retries_count_attempts_after_the_first_before_the_next_call(runtime):
    async def main():
        proxy = Counter.remote(max_retries=2)
        first = proxy.fail_times(2)
        proxy.note("next")
        assert await first.result() == 3
        assert await proxy.seen == [1, 2, 3, "next"]
        other = Counter.remote()
        assert await other.fail_times_soon(1, max_retries=1).result() == 2
        with pytest.raises(OwnError) as caught:
            await Counter.remote(max_retries=5).fail_times(2, max_retries=1)
        assert caught.value.args == ("again", 2)

    drive(main)


def test_a_cancelled_call_that_waits_does_not_run(runtime):
    async def main():
        proxy = await Counter.remote()
        slow = proxy.sleep_soon(0.2)
        unwanted = proxy.add(1)
        assert unwanted.cancel()
        with pytest.raises(CallCancelledError):
            await unwanted
        await slow
        assert not slow.cancel()
        return await proxy.value

    assert drive(main) == 0


def test_a_cancelled_coroutine_ends_where_it_is(runtime):
    async def main():
        proxy = await Counter.remote()
        endless = proxy.sleep_soon(1000)
        waiting = proxy.add(1)
        await asyncio.sleep(0.05)
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless
        return await waiting.result()

    assert drive(main) == 1


def test_calls_behind_a_cancelled_one_that_waited_for_its_arguments_run(runtime):
    async def main():
        proxy, other = await Counter.remote(), await Counter.remote()
        endless = other.sleep_soon(1000)
        held_up = proxy.echo(endless)
        behind = proxy.add(1)
        held_up.cancel()
        try:
            return await behind.result()
        finally:
            endless.cancel()

    assert drive(main) == 1


def test_a_coroutine_after_a_cancelled_one_is_not_taken_for_cancelled(runtime):
    async def main():
        proxy = await Counter.remote()
        endless = proxy.sleep_soon(1000)
        following = proxy.cancelling()
        await asyncio.sleep(0.05)
        endless.cancel()
        return await following.result()

    assert drive(main) == 0


# Proxies that travel


def test_a_proxy_that_comes_back_is_the_same_object(runtime):
    async def main():
        one, two = Counter.remote(1), Counter.remote(2)
        assert await one.echo(two).result() is two
        assert await one.echo([one]).result() == [one]

    drive(main)


def test_tesserae_call_each_other(runtime):
    async def main():
        one, two = Counter.remote(1), Counter.remote(2)
        assert await one.ask(two, "add", 5).result() == 7
        assert await one.ask_blocking(two, "add", 5).result() == 12
        spawned = await one.spawn(30).result()
        assert await spawned.add(1).result() == 31

    drive(main)


def test_a_nested_task_stays_a_task(runtime):
    async def main():
        one, two = Counter.remote(1), Counter.remote(2)
        task = one.add(1)
        again = await two.echo([task]).result()
        assert again[0] is task

    drive(main)


# Scripts


def test_scripts_wait_by_blocking(runtime):
    proxy = Counter.remote(5).wait(WATCHDOG)
    task = proxy.add(1)

    assert task.wait(WATCHDOG) is task
    assert task.get(WATCHDOG) == 6
    assert task.result().get(WATCHDOG) == 6
    assert proxy.get_attr("value").get(WATCHDOG) == 6
    assert proxy.value.get(WATCHDOG) == 6
    with pytest.raises(TimeoutError):
        proxy.sleep(0.5).wait(0.01)
    with pytest.raises(OwnError):
        proxy.fail().get(WATCHDOG)


def test_blocking_in_the_thread_of_a_loop_is_refused(runtime):
    async def main():
        proxy = Counter.remote()
        with pytest.raises(WaitInCallbackError):
            proxy.sleep_soon(0.1).wait(1)
        with pytest.raises(WaitInCallbackError):
            proxy.wait(1)

    drive(main)


def test_a_task_that_comes_back_inside_a_result_has_its_value_still(runtime):
    async def main():
        first, second = Counter.remote(), Counter.remote()
        for size in (10, 100_000):
            (task,) = await second.echo([first.large(size)]).result()
            await asyncio.sleep(0.1)  # until those who had it before have forgotten it

            assert len(await task.result()) == size

    drive(main)
