"""The benchmarks run, check what they measure, and write down every figure."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.decisions import Bench, Case
from benchmarks.workloads import WORKLOADS, select
from tests.support.programs import run_program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("runtime_folder")


def test_lists_every_workload_with_its_contenders():
    listed = run_program(sys.executable, "-m", "benchmarks", "--list").stdout

    assert all(workload.name in listed and ", ".join(workload.contenders) in listed for workload in WORKLOADS)


def test_a_family_name_stands_for_all_its_members():
    assert [workload.name for workload in select(["W1"])] == ["W1-submit", "W1-bulk", "W1-system"]


def test_an_unknown_workload_is_a_usage_error_that_names_the_known_ones():
    run = run_program(sys.executable, "-m", "benchmarks", "W77", expect=2)

    assert "W77" in run.stderr
    assert "W1-submit" in run.stderr


@pytest.mark.slow
def test_writes_figures_of_ours_and_of_a_peer(tmp_path: Path):
    figures = tmp_path / "figures.json"

    run = run_program(
        *(sys.executable, "-m", "benchmarks", "W1-submit", "W1-system", "--peers", "ppe"),
        *("--repeat", 1, "--count", 200, "--json", figures),
    )

    report = json.loads(figures.read_text(encoding="utf-8"))
    for name in ("W1-submit", "W1-system"):
        runs = report["workloads"][name]["runs"]
        assert runs.keys() == {"concurro", "concurro-tcp", "ppe"}
        assert all(results[0]["rate"] > 0 for results in runs.values())
    assert "concurro / ppe" in run.stdout


@pytest.mark.slow
def test_a_memory_workload_reports_the_memory_of_every_process():
    run = run_program(sys.executable, "-m", "benchmarks", "memory-lazy", "--repeat", 1, "--count", 20_000)

    assert "application" in run.stderr
    assert "MiB at the end" in run.stderr


@pytest.mark.parametrize(
    "case",
    [
        Case(slaves=3, tasks=2_000),
        Case(slaves=3, tasks=200, duration=1.0),
        Case(slaves=3, tasks=500, systems=7),
        Case(slaves=3, tasks=500, classes=[{"requires": {"memory": 1.0 + kind}} for kind in range(9)]),
    ],
    ids=["short", "long", "systems", "requires"],
)
def test_the_core_alone_decides_about_every_task_once(case):
    case.resources = {"memory": 64.0}
    bench = Bench(case)

    bench.run()

    assert sum(system.done for system in bench.systems) == case.tasks
    assert not any(bench.held.values())
    assert bench.core.stale_results == 0


def test_strategies_that_do_not_exist_are_a_usage_error_that_names_the_known_ones():
    run = run_program(sys.executable, "-m", "benchmarks", "strategies", "fastest", expect=2)

    assert "fastest" in run.stderr
    assert "least-loaded" in run.stderr


@pytest.mark.slow
def test_compares_strategies_beside_what_is_possible(tmp_path: Path):
    figures = tmp_path / "figures.json"

    run = run_program(sys.executable, "-m", "benchmarks", "strategies", "round-robin", "--seeds", 1, "--json", figures)

    report = json.loads(figures.read_text(encoding="utf-8"))["figures"]
    assert all(0 < measured["round-robin"]["efficiency"] <= 1 for measured in report.values())
    assert report["data-bound"]["round-robin"]["moved"] >= report["data-bound"]["bound"]["moved"] > 0
    assert "round-robin" in run.stdout
