"""The monitor as a program has it: networks that it starts, its file, states, events, barriers."""

from __future__ import annotations

import sys
import tomllib

import pytest

from concurro import ApplicationNode
from concurro_monitor import Monitor
from tests.support.jobs import SHIPPED
from tests.support.tesserae import WATCHDOG, Counter, drive, runtime_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SLAVE = (sys.executable, "-c", "from concurro.cli import slave_main; slave_main()")
"""A command that is a slave, whatever is on the path."""


def test_a_monitor_starts_a_network_here_and_ends_it(tmp_path):
    async def main():
        monitor = await Monitor(num_workers=1, num_nodes=2, config=SHIPPED).init(mode="local")
        try:
            assert monitor.is_monitor
            assert monitor.uid == "monitor"
            assert (monitor.num_nodes, monitor.num_workers) == (2, 2)
            assert await monitor.select_worker("head") == "worker:0:0"
            path = monitor.init_file({"file": tmp_path / "concurrent.toml"})
            written = tomllib.loads(path.read_text())
            assert written == {"application": {"master": monitor.master_url}, "monitor": {"uid": "monitor"}}
            with ApplicationNode(config=tmp_path) as found:
                assert len(found.status()["slaves"]) == 2
            (tmp_path / "foreign.toml").write_text("[master]\n")
            with pytest.raises(FileExistsError, match="foreign"):
                monitor.init_file({"file": tmp_path / "foreign.toml"})
        finally:
            await monitor.stop()
        assert not path.exists()
        assert (tmp_path / "foreign.toml").exists()

    drive(main)


def test_a_monitor_starts_slaves_beside_those_of_a_running_master():
    with runtime_of(workers=1) as (cluster, runtime):
        monitor = Monitor(cluster.application)

        async def main():
            await monitor.init(mode="local", num_workers=1)
            assert monitor.num_nodes == 2

        drive(main)
        wait_until(lambda: runtime.num_workers == 2, WATCHDOG, "the worker of the new slave")
        monitor.stop().wait(WATCHDOG)
        wait_until(lambda: runtime.num_nodes == 1, WATCHDOG, "its end")


def test_a_monitor_starts_slaves_at_listed_nodes():
    with runtime_of(workers=1) as (cluster, runtime):
        monitor = Monitor(cluster.application)

        async def main():
            await monitor.init_cluster(["one", "two"], 1, launch=(), command=SLAVE)
            assert runtime.num_nodes == 3
            failing = (sys.executable, "-c", "raise SystemExit('no such machine')")
            with pytest.raises(RuntimeError, match=r"on three.*no such machine"):
                await monitor.init_cluster(["three"], 1, launch=(), command=failing)
            with pytest.raises(RuntimeError, match="could not be started"):
                await monitor.init_cluster(["four"], 1, launch=("/nowhere/ssh", "{node}"))

        drive(main)
        monitor.stop().wait(3 * WATCHDOG)
        wait_until(lambda: runtime.num_nodes == 1, WATCHDOG, "the end of both")


def test_there_are_two_ways_to_start():
    async def main():
        with pytest.raises(ValueError, match="'remote'"):
            await Monitor().init(mode="remote")

    drive(main)


@pytest.fixture
def runtime():
    """Give a runtime with two workers, on two slaves."""
    with runtime_of(workers=1, slaves=2) as (_, runtime):
        yield runtime


def test_the_state_of_everything_is_told(runtime):
    monitor = runtime.get_monitor()
    proxy = Counter.remote(runtime=runtime.get_worker())
    call = proxy.sleep_soon(1000)

    def running():
        state = monitor.state().get(WATCHDOG)
        return state if any(task["state"] == "running" for task in state["tasks"]) else None

    state = wait_until(running, WATCHDOG, "the call that runs")
    (task,) = (task for task in state["tasks"] if task["state"] == "running")
    assert (task["method"], task["worker"]) == ("sleep_soon", "worker:0:0")
    (tessera,) = state["tesserae"]
    assert (tessera["class_name"], tessera["state"], tessera["worker"]) == ("Counter", "placed", "worker:0:0")
    assert [node["uid"] for node in state["nodes"]] == ["node:0", "node:1"]
    assert state["nodes"][0]["workers"] == 1
    assert state["workers"][0]["running"] == 1
    assert monitor.memory().get(WATCHDOG) > 1_000_000
    assert monitor.cpu_load().get(WATCHDOG) >= 0
    call.cancel()
    wait_until(lambda: running() is None, WATCHDOG, "its end")
    del proxy
    wait_until(lambda: monitor.state().get(WATCHDOG)["tesserae"][0]["state"] == "collected", WATCHDOG, "the end of all")


def test_events_and_profiles_are_told_and_kept(runtime):
    monitor = runtime.get_monitor()

    async def main():
        await monitor.add_task_event("head", {"uid": "call-1", "state": "running"})
        await monitor.add_task_event([{"uid": "call-1", "state": "done"}, {"uid": "call-2", "state": "failed"}])
        await monitor.add_task_profile("head", [{"uid": "call-1", "took": 2.5}])
        await monitor.add_tessera_event("worker:0:0", {"uid": "tess-1", "class_name": "Model"})
        await monitor.add_tessera_profile("worker:0:0", {"uid": "tess-1", "calls": 3})
        await monitor.update_node("node:0", {"temperature": 61.5}, {"worker:0:0": {"fans": 2}})
        with pytest.raises(ValueError, match="uid"):
            await monitor.add_task_event("head", {"state": "done"})
        return await monitor.state()

    state = drive(main)

    tasks = {task["uid"]: task for task in state["tasks"]}
    assert (tasks["call-1"]["state"], tasks["call-2"]["state"]) == ("done", "failed")
    assert [event["sender"] for event in tasks["call-1"]["events"]] == ["head", "head"]
    assert tasks["call-1"]["profiles"][0]["took"] == 2.5
    assert state["tesserae"][0]["class_name"] == "Model"
    assert state["nodes"][0]["temperature"] == 61.5
    assert state["workers"][0]["fans"] == 2


def test_the_barrier_of_the_monitor_waits_for_every_call(runtime):
    monitor = runtime.get_monitor()
    one, two = Counter.remote(), Counter.remote()
    calls = [one.ask(two, "sleep_soon", 0.5), two.add(1)]

    monitor.barrier("head").wait(WATCHDOG)

    assert all(call.done() for call in calls)
    waiting = one.sleep_soon(1000)
    with pytest.raises(TimeoutError, match="run or wait"):
        monitor.barrier(timeout=0.2).wait(WATCHDOG)
    waiting.cancel()
    monitor.barrier().wait(WATCHDOG)


def test_a_worker_that_is_stopped_is_replaced(runtime):
    first = runtime.get_worker()

    first.stop().wait(WATCHDOG)

    wait_until(lambda: first not in runtime.workers, WATCHDOG, "its end")
    wait_until(lambda: runtime.num_workers == 2, WATCHDOG, "another one")
    assert Counter.remote(3).add(1).get(WATCHDOG) == 4
