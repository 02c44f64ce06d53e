"""The table of mosaic's names is true."""

from __future__ import annotations

import csv
import importlib

import pytest

from tests.support.programs import ROOT

with (ROOT / "docs" / "reference" / "mosaic.csv").open(encoding="utf-8") as file:
    ROWS = [tuple(row) for row in csv.reader(file)]
MODULES = {"concurro_monitor", "concurro_tessera"}


def find(path):
    """Return what a dotted path names.

    Raises:
        AttributeError: Nothing.
    """
    module, *names = path.split(".")
    assert module in MODULES
    found = importlib.import_module(module)
    for name in names:
        found = getattr(found, name)
    return found


@pytest.mark.parametrize(("name", "here"), [row for row in ROWS if row[1] != "later"])
def test_a_name_is_where_the_table_says(name, here):
    assert here.rpartition(".")[2] == name.rpartition(".")[2]
    find(here)


@pytest.mark.parametrize("name", [row[0] for row in ROWS if row[1] == "later"])
def test_what_comes_later_is_not_there_yet(name):
    with pytest.raises(AttributeError):
        find(f"concurro_monitor.{name}")
