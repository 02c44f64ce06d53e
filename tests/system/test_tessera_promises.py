"""What the documentation promises of tesserae beside calls, sentence by sentence."""

from __future__ import annotations

import asyncio
import threading

import pytest

from concurro import ConfigError, NotPicklableError, WaitInCallbackError
from concurro_tessera import MultiError, RemoteError, Tessera, TesseraProxy, tessera
from concurro_tessera import runtime as here
from concurro_tessera.callers import Caller
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


@tessera
class Plain:
    """Has the names that proxies and tasks might want."""

    uid = "mine"
    state = "good"

    def __init__(self):
        self.done = 7

    def result(self):
        """Return something."""
        return "result"

    def get(self, key):
        """Return a key."""
        return key

    def call(self, method):
        """Return a name."""
        return method

    def keyed(self):
        """Return a dict whose keys are tuples."""
        return {(1, 2): "a", (3, 4): "b"}


def test_names_of_a_class_are_those_of_its_proxy():
    async def main():
        proxy = Plain.remote()
        assert await proxy.uid == "mine"
        assert await proxy.state == "good"
        assert await proxy.done == 7
        assert await proxy.get("k").result() == "k"
        assert await proxy.call("m").result() == "m"
        return await proxy.result().result()

    assert drive(main) == "result"


def test_the_outputs_of_a_dict_have_any_keys():
    async def main():
        task = Plain.remote().keyed()
        assert await task.outputs[1, 2].result() == "a"
        with pytest.raises(KeyError):
            await task.outputs[5, 6].result()
        return await Counter.remote().echo(task.outputs[3, 4]).result()

    assert drive(main) == "b"


def test_the_classes_of_both_ends_name_each_other():
    assert TesseraProxy.remote_cls() is Tessera
    assert Tessera.remote_cls() is TesseraProxy
    assert (TesseraProxy.type, Tessera.type) == ("tessera_proxy", "tessera")


def test_a_worker_is_selected_by_the_monitor_or_by_who_asks(runtime):
    async def main():
        chosen = await TesseraProxy.select_worker()
        assert chosen in {worker.uid for worker in runtime.workers}
        assert await TesseraProxy.select_worker(runtime.workers[1]) == runtime.workers[1].uid
        return await Counter.select_worker("worker:1:0")

    assert drive(main) == "worker:1:0"


def test_arrays_map_attributes_parameters_and_errors(runtime):
    async def main():
        array = await Model.remote(2, len=3)
        await array.set_attr("value", 4)
        parameters = array.make_parameter()
        parameters[1].grow(3, propagate=True)
        assert await array.value == [4, 7, 4]
        assert [model.value for model in parameters] == [2, 5, 2]
        with pytest.raises(LookupError, match="worker:9:9"):
            array.grow(1, runtime="worker:9:9")
        with pytest.raises(AttributeError):
            await array.nothing
        assert await Counter.remote(len=0) is not None
        return [await task.result() for task in await Counter.remote(1, len=2).add(1)]

    assert drive(main) == [2, 2]


def test_settings_are_checked():
    for settings in ({"restarts": -1}, {"max_retries": "2"}, {"unknown": 1}):
        with pytest.raises(ConfigError):
            tessera(**settings)
    for length in (-1, "2", True):
        with pytest.raises(ConfigError):
            Counter.remote(len=length)
    with pytest.raises(ConfigError):
        Counter.remote(max_retries=-1)


def test_a_parameter_pushes_what_it_is_told_to_and_publishes(runtime):
    async def main():
        model = Model.parameter(3, cached=True)
        assert (model.has_tessera, model.is_proxy, model.is_tessera, model.cached) == (True, True, False, True)
        model.value = 8
        await model.push("value", publish=True)
        assert await model.ref.value == 8
        copy = await runtime.get(await model.publish())
        assert (copy.value, copy.is_proxy) == (8, True)
        with pytest.raises(AttributeError):
            await model.pull("nothing")
        plain = Model(1)
        assert not hasattr(plain, "ref")
        return await User.remote().role_of(copy).result()

    assert drive(main) == [True, True, False, True]


def test_what_a_propagated_method_raises_is_raised_here(runtime):
    async def main():
        model = Model.parameter(3)
        with pytest.raises(TypeError):
            model.grow("x", propagate=True)
        with pytest.raises(TypeError):
            await model.grow_soon("x", propagate=True)
        return await model.get("value")

    assert drive(main) == 3


def test_every_blocking_twin_refuses_the_thread_of_a_loop(runtime):
    async def main():
        proxy, model = Counter.remote(), Model.parameter(1)
        array = Counter.remote(len=2)
        slow = proxy.sleep_soon(0.3)

        @runtime.async_for(range(2))
        async def body(worker, item):
            return item

        waits = [
            slow.wait, slow.get, slow.result().get, slow.outputs[0].get, slow.outputs.done.wait, proxy.value.wait,
            array.sleep_soon(0.2).wait, array.value.get, proxy.get_attr("value").wait, runtime.barrier().wait,
            runtime.put(1, reply=True).get, model.pull().wait, model.get("value").get, body.wait,
        ]  # fmt: skip
        for wait in waits:
            with pytest.raises(WaitInCallbackError):
                wait(1)
        await slow

    drive(main)


def test_errors_of_several_arguments_are_all_named(runtime):
    async def main():
        one, two = Counter.remote(), Counter.remote()
        with pytest.raises(MultiError, match=r"first.*second|second.*first") as caught:
            await one.echo(two.fail("first"), key=two.fail("second"))
        assert [type(error) for error in caught.value.errors] == [OwnError] * 2
        with pytest.raises(MultiError, match="unknown"):
            await one.echo(await runtime.put(1), two.unknown())

    drive(main)


def test_a_loop_gives_exactly_so_many_results_and_can_be_left(runtime):
    async def main():
        begun = []

        @runtime.async_for(range(50), max_await=7)
        async def body(worker, item):
            begun.append(item)
            await asyncio.sleep(0.001 * (item % 3))
            return item

        assert await body == list(range(7))
        assert sorted(begun) == list(range(7))

        @runtime.async_for(range(10), timeout=30)
        async def endless(worker, item):
            await asyncio.sleep(1000)

        left = asyncio.ensure_future(_run(endless))
        await asyncio.sleep(0.05)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        return len(await body)

    assert drive(main) == 7


async def _run(loop):
    return await loop


def test_the_runtime_of_the_process_is_found(runtime):
    assert here() is runtime
    assert Counter.remote().wait(WATCHDOG).remote_runtime in runtime.workers


def test_who_asks_for_a_forgotten_result_is_told_that_it_was_forgotten(runtime):
    caller = runtime.part(Caller)
    (address, *_) = (worker.address for worker in runtime.application.workers())

    with pytest.raises(RemoteError, match="everybody who had its task had forgotten it"):
        caller.way(address).ask("fetch", "call-1").result(WATCHDOG)


def test_who_sets_an_attribute_of_a_proxy_is_told_how_to_set_that_of_the_object(runtime):
    async def main():
        proxy = Counter.remote(1)
        with pytest.raises(AttributeError, match=r"await proxy\.set_attr\('value', value\)"):
            proxy.value = 2
        await proxy.set_attr("value", 3)
        assert await proxy.value == 3

    drive(main)


def test_what_cannot_travel_is_told_with_its_method_and_argument(runtime):
    async def main():
        proxy, lock = Counter.remote(1), threading.Lock()
        with pytest.raises(NotPicklableError, match=r"of Counter\.echo\(\) cannot travel: argument 2\['a'\] is a"):
            proxy.echo(1, {"a": lock})
        with pytest.raises(NotPicklableError, match=r"of Counter\.echo\(\) cannot travel: argument 'by' is a"):
            proxy.echo(1, by=lock)
        with pytest.raises(NotPicklableError, match=r"arguments of Counter\(\) cannot travel: argument 1 is a"):
            Counter.remote(lock)
        with pytest.raises(NotPicklableError, match=r"the result of odd\(\) of Counter .* cannot travel: it is a"):
            await proxy.odd()

    drive(main)


def test_what_is_no_worker_is_refused_by_name(runtime):
    with pytest.raises(ConfigError, match=r"one of runtime\.workers, .* got 99"):
        Counter.remote(1, runtime=99)
