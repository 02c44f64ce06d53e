"""The strategy of twenty lines does what its example claims, and its shadow sees it coming."""

from __future__ import annotations

import re
import sys

import pytest

from concurro import Environment
from concurro.interfaces import ITaskScheduler, ITaskScheduleStrategy
from concurro.testing import check_component
from tests.support.programs import EXAMPLES, run_program
from tests.unit.scheduling.cluster import Cluster

FOLDER = EXAMPLES / "unequal_slaves"


def scheduler(config=FOLDER):
    """Return the scheduler of a master; as the example configures it, unless told otherwise."""
    env = Environment(config, kind="master", plugins=[FOLDER / "plugins"])
    return env.selected(ITaskScheduler, "master.scheduler")


@pytest.mark.slow
@pytest.mark.usefixtures("runtime_folder")
def test_the_strategy_beats_least_loaded_and_its_shadow_says_so_before():
    run = run_program(sys.executable, FOLDER / "compare.py")

    alone, instead, again, shadow = run.stdout.splitlines()
    assert alone.startswith("least-loaded: 10 of 10 rounds waited for the slow slave")
    assert instead.startswith("quickest-first: 1 of 10 rounds waited for the slow slave")
    assert again.startswith("least-loaded: 10 of 10 rounds waited for the slow slave")
    different, regret = re.match(
        r"in its shadow quickest-first: (\d+) of 20 decisions differ, ([-.\d]+) s regret$", shadow
    ).groups()
    assert int(different) >= 9
    assert float(regret) > 0


def slowed_rounds(cluster, rounds=10):
    """Run rounds of two tasks on a slow and a fast slave; return how many waited for the slow one."""
    cluster.join("fast", "slow", workers=2)
    seconds = {"fast": 0.03, "slow": 0.15}
    system = cluster.system()
    slowed = 0
    for _ in range(rounds):
        tasks = cluster.emit(system, 2)
        cluster.step()
        slowed += any(task.slave_id == "slow" for task in tasks)
        for task in sorted(tasks, key=lambda task: seconds[task.slave_id]):
            cluster.end(task, seconds=seconds[task.slave_id])
            cluster.step(seconds[task.slave_id])
    return slowed


def test_the_strategy_waits_once_for_the_slow_slave_and_least_loaded_always():
    quickest = Cluster(scheduler({"master": {"strategy": "quickest-first"}}))

    assert slowed_rounds(quickest) == 1
    assert slowed_rounds(Cluster(strategy="least-loaded")) == 10


def test_the_example_as_configured_runs_least_loaded_with_the_strategy_in_its_shadow():
    cluster = Cluster(scheduler())

    slowed = slowed_rounds(cluster)

    report = cluster.core.scheduler.shadow_report
    assert slowed == 10
    assert (report["strategy"], report["failure"], report["decisions"]) == ("quickest-first", "", 20)
    assert report["regret"] == pytest.approx(9 * 0.12, abs=0.13)


def test_the_strategy_keeps_its_contract():
    factory = Environment(FOLDER, kind="master").factory(ITaskScheduleStrategy, "quickest-first")

    check_component(factory)
