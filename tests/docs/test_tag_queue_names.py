"""The tag queue has the names of ScientificPython's task manager, as its table says."""

from __future__ import annotations

import csv
import inspect

import pytest

from concurro_tagqueue import TaskManager, TaskManagerMethods, TaskManagerProxy
from tests.support.programs import ROOT

ROWS = (ROOT / "docs/reference/tag-queue.csv").read_text(encoding="utf-8").splitlines()
TABLE = [tuple(row[:2]) for row in csv.reader(ROWS)]


def parameters(method):
    return [
        (name, parameter.default, parameter.kind) for name, parameter in inspect.signature(method).parameters.items()
    ]


@pytest.mark.parametrize("owner", [TaskManager, TaskManagerProxy])
@pytest.mark.parametrize(("name", "twin"), TABLE)
def test_each_name_is_there_with_its_twin_and_takes_the_same(owner, name, twin):
    assert parameters(getattr(owner, name)) == parameters(getattr(owner, twin))
    assert inspect.getdoc(getattr(owner, name))


def test_every_method_that_is_only_declared_is_written_for_both():
    methods = {name: method for name, method in vars(TaskManagerMethods).items() if inspect.isfunction(method)}
    declared = {name for name, method in methods.items() if "NotImplementedError" in inspect.getsource(method)}

    assert {"ping", "_take", "_collect"} < declared
    for owner in (TaskManager, TaskManagerProxy):
        assert declared <= vars(owner).keys()


def test_every_method_has_a_name_in_both_styles():
    names = {name for name in vars(TaskManagerMethods) if not name.startswith("_")}
    camel = {first + "".join(map(str.title, rest)) for first, *rest in (name.split("_") for name in names)}

    assert camel <= names
