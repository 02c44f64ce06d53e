"""Strategies of the monitor with real slaves: who gets the next tessera, and who never does."""

from __future__ import annotations

import json
import os
import signal
import textwrap

import pytest

from concurro import UnknownServiceError
from tests.support.tesserae import WATCHDOG, Counter, Filler, drive, runtime_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


def under(strategy, **options):
    """Give a cluster of two slaves with one worker each, and the runtime of its application."""
    settings = {"monitor": {"strategy": strategy}, **options.pop("settings", {})}
    return runtime_of(workers=1, slaves=2, settings=settings, **options)


def figures(runtime):
    """Return what the monitor knows of each worker."""
    state = runtime.get_monitor().state().get(WATCHDOG)
    return {worker["uid"]: worker for worker in state["workers"]}


def test_least_loaded_goes_where_the_fewest_calls_are():
    with under("least-loaded") as (_, runtime):
        first, second = runtime.workers
        busy = [Counter.remote(runtime=first), Counter.remote(runtime=first)]
        idle = [Counter.remote(runtime=second).wait(WATCHDOG) for _ in range(3)]
        calls = [proxy.sleep_soon(1000) for proxy in busy]
        wait_until(lambda: figures(runtime)[first.uid].get("running") == 2, WATCHDOG, "the report of two calls")
        wait_until(lambda: figures(runtime)[second.uid].get("done") == 3, WATCHDOG, "the report of the other worker")

        assert Counter.remote().wait(WATCHDOG).runtime_id == second.uid

        for call in calls:
            call.cancel()
        wait_until(lambda: figures(runtime)[first.uid]["running"] == 0, WATCHDOG, "the report that they ended")
        assert Counter.remote().wait(WATCHDOG).runtime_id == first.uid
        assert len(idle) == 3


def test_memory_aware_goes_where_most_memory_is_free():
    with under("memory-aware", settings={"slave": {"memory_limit": "1 GiB"}}) as (_, runtime):
        first, second = runtime.workers
        filler, other = Filler.remote(runtime=first), Filler.remote(runtime=second)
        assert filler.fill(300 * MIB).get(WATCHDOG) == 300 * MIB
        assert other.fill(1).get(WATCHDOG) == 1
        wait_until(lambda: figures(runtime)[first.uid].get("memory", 0) > 300 * MIB, WATCHDOG, "a report")
        wait_until(lambda: figures(runtime)[second.uid].get("done") == 2, WATCHDOG, "the other report")

        assert {worker["memory_limit"] for worker in figures(runtime).values()} == {1024 * MIB}
        placed = [Counter.remote() for _ in range(2)]

        assert {proxy.wait(WATCHDOG).runtime_id for proxy in placed} == {second.uid}


OWN = """
    import json

    from concurro import implementer
    from concurro_monitor import IMonitorStrategy, MonitorStrategy


    @implementer(IMonitorStrategy)
    class Last(MonitorStrategy):
        \"\"\"Takes the last worker, and writes down what it is told.\"\"\"

        name = "last"

        def tell(self, *words):
            with open("TRACE", "a", encoding="utf-8") as file:
                print(json.dumps(words), file=file)

        def update_node(self, updated):
            super().update_node(updated)
            workers = {uid: worker.facts.get("running", 0) for uid, worker in updated.sub_resources.items()}
            self.tell("node", updated.uid, updated.state, workers)

        def update_task(self, updated):
            self.tell("task", updated.method, updated.state, updated.worker)

        def update_tessera(self, updated):
            self.tell("tessera", updated.class_name, updated.state, updated.worker)

        def select_worker(self, sender_id):
            return self.workers[-1]
"""


@pytest.fixture
def own(tmp_path):
    """Give options of a cluster with a strategy from a file."""
    path = tmp_path / "last.py"
    path.write_text(own_strategy(tmp_path / "told"))
    return {"plugins": [path]}


def own_strategy(trace):
    """Return the text of a strategy that writes what it is told to a file."""
    return textwrap.dedent(OWN).replace("TRACE", str(trace))


def test_a_strategy_of_ones_own_chooses_and_is_told_what_happens(own, tmp_path):
    def told(*wanted):
        lines = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
        return [line for line in lines if line[: len(wanted)] == list(wanted)]

    with under("last", **own) as (_, runtime):
        first, last = (worker.uid for worker in runtime.workers)
        proxies = [Counter.remote().wait(WATCHDOG) for _ in range(3)]
        call = proxies[0].sleep_soon(1000)

        assert {proxy.runtime_id for proxy in proxies} == {last}
        assert len(told("tessera", "Counter", "placed", last)) >= 3
        wait_until(lambda: told("task", "sleep_soon", "running", last), WATCHDOG, "the call that runs")
        node = f"node:{last.split(':')[1]}"
        wait_until(lambda: told("node", node, "alive", {last: 1}), WATCHDOG, "the figures of its worker")
        call.cancel()
        wait_until(lambda: told("task", "sleep_soon", "failed", last), WATCHDOG, "the end of the call")
        proxies[0].add(1).get(WATCHDOG)
        wait_until(lambda: told("task", "add", "done", last), WATCHDOG, "a call that returned")
        waiting = proxies[0].sleep_soon(1000)
        wait_until(lambda: len(told("task", "sleep_soon", "running", last)) == 2, WATCHDOG, "the call that runs")
        os.kill(runtime.place_of(last).pid, signal.SIGKILL)
        wait_until(lambda: told("tessera", "Counter", "lost", last), WATCHDOG, "the loss of a tessera")
        wait_until(lambda: told("task", "sleep_soon", "lost", last), WATCHDOG, "the loss of a call")
        assert not told("task", "add", "lost")
        del proxies, waiting
        assert first != last


@pytest.mark.parametrize("strategy", ["round-robin", "least-loaded", "memory-aware"])
def test_a_worker_or_slave_that_left_is_never_chosen(strategy):
    with under(strategy) as (cluster, runtime):
        first, second = (worker.uid for worker in runtime.workers)
        kept = [Counter.remote(runtime=uid).wait(WATCHDOG) for uid in (first, second)]

        os.kill(runtime.place_of(first).pid, signal.SIGKILL)
        wait_until(lambda: first not in figures(runtime), WATCHDOG, "the end of a worker")
        placed = [Counter.remote().wait(WATCHDOG) for _ in range(6)]
        assert first not in {proxy.runtime_id for proxy in placed}

        _, gone = cluster.slaves
        cluster.remove_slave(gone.id)
        wait_until(lambda: runtime.num_nodes == 1, WATCHDOG, "the end of a slave")
        wait_until(lambda: runtime.num_workers == 1, WATCHDOG, "the new worker")
        (left,) = runtime.workers
        placed = [Counter.remote().wait(WATCHDOG) for _ in range(6)]
        assert {proxy.runtime_id for proxy in placed} == {left.uid}
        del kept


def test_a_strategy_that_raises_or_chooses_nonsense_is_mended(tmp_path):
    path = tmp_path / "odd.py"
    path.write_text(
        own_strategy(tmp_path / "nowhere" / "told")
        .replace('name = "last"', 'name = "odd"')
        .replace("return self.workers[-1]", 'return {"x": "worker:9:9"}[sender_id]')
    )
    with under("odd", plugins=[path]) as (_, runtime):
        assert Counter.remote(5).add(1).get(WATCHDOG) == 6
        assert runtime.get_monitor().select_worker("x").get(WATCHDOG) == runtime.workers[0].uid


def test_a_strategy_that_does_not_exist_is_told_to_whoever_calls():
    from concurro import LocalCluster
    from concurro_monitor import use
    from concurro_tessera import Runtime
    from tests.support.jobs import SHIPPED

    with LocalCluster(workers=1, config={**SHIPPED, "monitor": {"strategy": "least-loded"}}) as cluster:
        runtime = Runtime(cluster.application)
        use(runtime)
        try:

            async def main():
                with pytest.raises(UnknownServiceError, match=r"least-loded.*least-loaded"):
                    await Counter.remote()

            drive(main)
        finally:
            use(None)
            runtime.close()
