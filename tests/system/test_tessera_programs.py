"""Programs with tesserae: embedded, on a running master, inside tasks and callbacks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from concurro import (
    ApplicationNode,
    ConfigError,
    LocalCluster,
    NoApplicationError,
    Task,
    TaskSystem,
    UnknownServiceError,
    WaitInCallbackError,
)
from concurro_tessera import RuntimeDisconnectedError, opened, run, runtime
from tests.support.jobs import SHIPPED
from tests.support.nodes import master_process, slave_process
from tests.support.tesserae import WATCHDOG, Counter, Submitter, drive, runtime_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

EXAMPLE = """
import sys

from concurro_tessera import run, tessera

@tessera
class Counter:
    def __init__(self, value):
        self.value = value

    def add(self, other):
        self.value += other
        return self.value

async def main(runtime):
    counter = Counter.remote(10)          # a proxy, at once
    task = counter.add(5)                 # runs now; returns at once
    await task
    assert await task.result() == 15
    print(runtime.num_workers, runtime.num_nodes, "as expected")

run(main, **{options})
"""


def run_example(folder, options):
    """Run the example in a process; return what it printed."""
    script = folder / "example.py"
    script.write_text(textwrap.dedent(EXAMPLE.replace("{options}", repr(options))))
    return subprocess.run(
        [sys.executable, script], timeout=2 * WATCHDOG, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_example_runs_on_a_cluster_of_its_own(tmp_path):
    assert run_example(tmp_path, {"workers": 2}) == "2 1 as expected"


def test_the_example_runs_on_a_running_master_with_two_slaves(tmp_path, runtime_folder):
    with master_process(runtime_folder) as (_, url), slave_process(url), slave_process(url):
        with ApplicationNode(url) as node:
            wait_until(lambda: len(node.status()["slaves"]) == 2, WATCHDOG, "two slaves")

        assert run_example(tmp_path, {"master": url}) == "2 2 as expected"
        assert run_example(tmp_path, {"master": url}) == "2 2 as expected"


class AskCounter(Task):
    """Calls a tessera from inside a task."""

    name = "ask-counter"

    def __init__(self, proxy):
        super().__init__("ask-counter")
        self.proxy = proxy

    def __call__(self):
        return self.proxy.add(1).get(WATCHDOG)


class MakeCounter(Task):
    """Makes a tessera inside a task."""

    def __init__(self, start):
        super().__init__("make-counter")
        self.start = start

    def __call__(self):
        return Counter.remote(self.start).add(1).get(WATCHDOG), runtime().is_head


class Bound(TaskSystem):
    """Makes a tessera in its callbacks, which its tasks call."""

    def __init__(self):
        super().__init__()
        self.results = []

    def generate_tasks(self, master):
        self.proxy = Counter.remote(100)
        return [AskCounter(self.proxy) for _ in range(3)]

    def task_finished(self, master, task, result, error):
        self.results.append(result if error is None else repr(error))

    def is_complete(self, master):
        return len(self.results) == 3

    def gather_result(self, master):
        return sorted(self.results), self.proxy.value.get(WATCHDOG)


def test_tasks_call_tesserae():
    with runtime_of(workers=2) as (cluster, _):
        proxy = Counter.remote(0)
        futures = cluster.push_tasks([AskCounter(proxy) for _ in range(8)])

        assert sorted(future.result(WATCHDOG) for future in futures) == list(range(1, 9))
        assert cluster.push_task(MakeCounter(5)).result(WATCHDOG) == (6, True)


def test_a_task_system_makes_tesserae_for_its_tasks():
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        handle = cluster.submit(Bound())

        with pytest.raises(Exception, match="103"):
            handle.result(2 * WATCHDOG)


class SubmittingCounter(Task):
    """Waits for a tessera that submits a task in turn."""

    def __init__(self, proxy):
        super().__init__("submitting")
        self.proxy = proxy

    def __call__(self):
        return self.proxy.square(7).get(WATCHDOG)


def test_tesserae_submit_tasks_while_every_worker_is_busy(tmp_path):
    with runtime_of(workers=1) as (cluster, _):
        proxy = Submitter.remote()
        assert proxy.square(3).get(WATCHDOG) == 9

        futures = cluster.push_tasks([SubmittingCounter(proxy) for _ in range(2)])

        assert [future.result(2 * WATCHDOG) for future in futures] == [49, 49]


def test_a_lost_worker_s_item_of_a_loop_runs_again_elsewhere():
    with runtime_of(workers=1, slaves=2) as (_, runtime):

        async def main():
            array = await Counter.remote(len=2)
            killed = []

            @runtime.async_for(range(6))
            async def body(worker, item):
                member = await Counter.remote(item, runtime=worker)
                if item == 2 and not killed:
                    killed.append(worker.uid)
                    os.kill(runtime.place_of(worker.uid).pid, signal.SIGKILL)
                return await member.add(0).result()

            assert await body == list(range(6))
            return len(killed), len(array)

        assert drive(main) == (1, 2)


def test_a_lost_worker_s_item_is_an_error_of_a_loop_that_is_not_safe():
    with runtime_of(workers=1, slaves=2) as (_, runtime):

        async def main():
            @runtime.async_for(range(6), safe=False)
            async def body(worker, item):
                member = await Counter.remote(item, runtime=worker)
                if item == 2:
                    os.kill(runtime.place_of(worker.uid).pid, signal.SIGKILL)
                return await member.sleep_soon(0.1).result()

            with pytest.raises(RuntimeDisconnectedError):
                await body

        drive(main)


def test_a_process_runs_several_programs_one_after_the_other(tmp_path):
    script = tmp_path / "twice.py"
    script.write_text(
        textwrap.dedent("""
        from concurro_tessera import RuntimeDisconnectedError, run, runtime, tessera

        @tessera
        class Adder:
            def add(self, a, b):
                return a + b

        old = []

        async def main(own):
            assert runtime() is own
            for proxy in old:
                try:
                    await proxy.add(1, 2)
                except RuntimeDisconnectedError:
                    print("disconnected")
            old.append(Adder.remote())
            return await old[-1].add(1, 2).result()

        if __name__ == "__main__":
            print(run(main, workers=1), run(main, workers=1))
        """)
    )

    said = subprocess.run([sys.executable, script], timeout=2 * WATCHDOG, check=True, capture_output=True, text=True)

    assert said.stdout.split() == ["disconnected", "3", "3"]
    assert said.stderr == ""


def said_by(folder, program):
    """Run a program; return what it said on standard output and standard error."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(program))
    said = subprocess.run([sys.executable, script], timeout=2 * WATCHDOG, check=True, capture_output=True, text=True)
    return said.stdout, said.stderr


def test_what_failed_and_was_not_awaited_is_shown_once_for_each_kind(tmp_path):
    program = """
        from concurro_tessera import run, tessera

        @tessera
        class Store:
            def save(self, x):
                return 1 / x

            def load(self, x):
                return [][x]

        kept = []

        async def main(runtime):
            store = Store.remote()
            store.save(0)
            store.save(0)
            kept.append(store.load(7))
            store.saev(1)
            Store.remote("extra")
            await runtime.barrier()

        run(main, workers=1)
        """

    _, shown = said_by(tmp_path, program)

    assert shown.count("nobody awaited it") == 4
    assert shown.count("Store.save() failed") == shown.count("Store.load() failed") == 1
    assert "ZeroDivisionError: division by zero (worker " in shown
    assert 'program.py", line 7, in save)' in shown
    assert "'Store' object has no attribute 'saev'" in shown
    assert "Store() failed" in shown
    assert "Traceback" not in shown


def test_what_failed_and_was_heard_of_is_not_shown(tmp_path):
    program = """
        from concurro_tessera import run, tessera

        @tessera
        class Store:
            def __init__(self, fail=False):
                if fail:
                    raise OSError("no room")

            def save(self, x):
                return 1 / x

        async def heard(what):
            try:
                await what
            except Exception as error:
                print(type(error).__name__)

        async def main(runtime):
            store = Store.remote()
            await heard(store.save(0))
            await heard(store.save(store.save(0)).result())
            await heard(Store.remote(fail=True).save(1))
            await heard((await Store.remote(len=3)).save(0))
            cancelled = store.save(0)
            cancelled.cancel()
            await runtime.barrier()

        run(main, workers=1)
        """

    told, shown = said_by(tmp_path, program)

    assert told.split() == ["ZeroDivisionError", "MultiError", "OSError", "ZeroDivisionError"]
    assert shown == ""


def test_a_runtime_is_opened_where_a_loop_runs_already():
    async def main():
        async with opened(workers=1, config=SHIPPED) as own:
            assert runtime() is own
            return await Counter.remote(1).add(2).result()

    assert drive(main) == 3


def test_a_runtime_that_nobody_waits_for_any_more_ends_once_it_is_open():
    async def main():
        opening = asyncio.ensure_future(opened(workers=1, config=SHIPPED).__aenter__())
        await asyncio.sleep(0.05)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    drive(main)

    with pytest.raises(NoApplicationError):
        runtime()


def test_whoever_would_block_a_running_loop_is_told_what_to_do_instead():
    async def main():
        with pytest.raises(WaitInCallbackError, match=r"async with opened\(\.\.\.\).*to_thread\(run, main\)"):
            run(main, workers=1)
        with pytest.raises(WaitInCallbackError, match=r"async with opened\(\.\.\.\)"), opened(workers=1):
            pass

    drive(main)


def test_a_runtime_inside_another_one_gives_way_to_it_again():
    with opened(workers=1, config=SHIPPED) as outer:
        with opened(workers=1, config=SHIPPED) as inner:
            assert runtime() is inner

        assert runtime() is outer
        assert Counter.remote(1).add(2).get(WATCHDOG) == 3


def test_the_runtime_that_was_opened_last_stays_when_another_one_ends():
    first, last = opened(workers=1, config=SHIPPED), opened(workers=1, config=SHIPPED)
    first.__enter__()
    with last as own:
        first.__exit__(None, None, None)

        assert runtime() is own

    with pytest.raises(NoApplicationError):
        runtime()


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        (
            {"monitor.strategy": "nope"},
            UnknownServiceError,
            "'nope'; there are least-loaded",
        ),
        ({"tessera.budget": "lots"}, ConfigError, r"\[tessera\] budget = 'lots': is not a size"),
        ({"warehouse.budget": "lots"}, ConfigError, r"\[warehouse\] budget = 'lots': is not a size"),
    ],
)
def test_wrong_settings_are_refused_at_the_start(settings, error, said):
    with pytest.raises(error, match=said), opened(workers=1, config={**SHIPPED, **settings}):
        pytest.fail("it was opened")


def test_a_wrong_use_of_run_is_refused_with_the_right_one():
    async def main(_):
        pass

    with pytest.raises(TypeError, match=r"`run\(main\)`, and no call of it"):
        run(main(None), workers=1)
    with pytest.raises(TypeError, match=r"declared with `async def`.* returned 3"):
        run(lambda _: 3, workers=1, config=SHIPPED)
    with pytest.raises(ValueError, match="has slaves already"):
        run(main, workers=1, master="tcp://127.0.0.1:1")
