"""The page about performance shows the figures that were committed with it."""

from __future__ import annotations

import json

import pytest

from benchmarks.page import tables, to_json
from benchmarks.targets import TARGETS, Target, rows
from benchmarks.workload import OURS
from benchmarks.workloads import WORKLOADS
from tests.support.programs import ROOT

DOCS = ROOT / "docs"
TEXT = (DOCS / "performance.json").read_text(encoding="utf-8")
REPORT = json.loads(TEXT)


def test_the_figures_are_as_they_were_written():
    assert to_json(REPORT) == TEXT


@pytest.mark.parametrize("suffix", ["", "-limits", "-targets"])
def test_a_table_is_made_of_the_figures(suffix):
    assert (DOCS / f"performance{suffix}.csv").read_text(encoding="utf-8") == tables(REPORT)[suffix]


def test_the_page_shows_every_table_and_the_chart():
    page = (DOCS / "performance.rst").read_text(encoding="utf-8")

    assert all(f":file: performance{suffix}.csv" in page for suffix in tables(REPORT))
    assert ".. image:: performance.svg" in page


def test_the_chart_is_drawn_from_the_figures():
    bars = pytest.importorskip("benchmarks.bars", exc_type=ImportError)

    assert bars.origin(REPORT) in (DOCS / "performance.svg").read_text(encoding="utf-8")


def test_ours_did_not_fail_in_any_workload_that_was_measured():
    known = [workload.name for workload in WORKLOADS]

    assert [name for name in known if name in REPORT["workloads"]] == list(REPORT["workloads"])
    assert all(one["runs"][OURS] for one in REPORT["workloads"].values())


def test_every_target_is_one_of_a_contender_that_there_is():
    contenders = {workload.name: workload.contenders.keys() for workload in WORKLOADS}

    assert all({target.contender, target.against or OURS} <= contenders[target.workload] for target in TARGETS)


def test_a_target_is_reached_from_its_bound_on(monkeypatch):
    runs = {OURS: [{"s": 2.0, "MiB": 5.0}], "ppe": [{"s": 4.0}]}
    report = {"workloads": {"W0": {"metric": "s", "unit": "s", "more_is_better": False, "runs": runs}}}
    wanted = (
        Target("W0", 2.0, "ppe"),
        Target("W0", 2.1, "ppe"),
        Target("W0", 5.0, metric="MiB", is_limit=True),
        Target("W0", 4.9, metric="MiB", is_limit=True),
        Target("W0", 1.0, "ray"),
    )
    monkeypatch.setattr("benchmarks.targets.TARGETS", wanted)

    assert [row[-1] for row in rows(report)] == ["yes", "no", "yes", "no"]
