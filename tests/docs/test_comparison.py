"""The page that compares strategies shows the figures that were committed with it."""

from __future__ import annotations

import json

from benchmarks.comparison import digest, to_csv, to_json
from benchmarks.loads import LOADS
from benchmarks.strategies import BOUND, built_in
from tests.support.programs import ROOT

FOLDER = ROOT / "docs" / "policies"
TEXT = (FOLDER / "comparison.json").read_text(encoding="utf-8")
REPORT = json.loads(TEXT)


def test_the_table_is_made_of_the_figures():
    assert (FOLDER / "comparison.csv").read_text(encoding="utf-8") == to_csv(REPORT["figures"])


def test_the_chart_is_drawn_from_the_figures():
    chart = (FOLDER / "comparison.svg").read_text(encoding="utf-8")

    assert digest(TEXT) in chart
    assert len(chart) < 100_000


def test_the_figures_are_as_they_were_written():
    assert to_json(REPORT) == TEXT


def test_the_page_shows_table_and_chart():
    page = (FOLDER / "comparison.rst").read_text(encoding="utf-8")

    assert ":file: comparison.csv" in page
    assert ".. image:: comparison.svg" in page


def test_every_load_and_strategy_was_measured():
    strategies = {frozenset(measured) for measured in REPORT["figures"].values()}

    assert list(REPORT["figures"]) == list(LOADS)
    assert len(strategies) == 1
    assert strategies.pop() == {BOUND, *built_in()}
