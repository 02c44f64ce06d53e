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


SEEDED = {"concurro_monitor": 105, "concurro_tessera": 49}
"""How many names of mosaic's are in which package."""


def test_every_name_is_there_once_and_somewhere():
    names = [name for name, _ in ROWS]

    assert len(names) == len(set(names)) == sum(SEEDED.values())
    assert {module: sum(here.startswith(f"{module}.") for _, here in ROWS) for module in SEEDED} == SEEDED


@pytest.mark.parametrize(("name", "here"), ROWS)
def test_a_name_is_where_the_table_says(name, here):
    assert here.rpartition(".")[2] == name.rpartition(".")[2]
    find(here)
