"""Every component that comes with Concurrent keeps its interface's contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from concurro import ITaskScheduleStrategy
from concurro.interfaces import ILifecycle
from concurro.kernel import Environment
from concurro.kernel.builtins import BUILT_INS
from concurro.kernel.declarations import declared_interfaces
from concurro.testing import check_component

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(params=BUILT_INS, ids=lambda built_in: built_in.name)
def built_in(request):
    return request.param


def test_a_built_in_keeps_its_contract(built_in):
    factory = Environment({}, kind="inline").factory(built_in.interface, built_in.name)

    check_component(factory, built_in.interface)


def test_the_table_of_built_ins_says_what_the_classes_say(built_in):
    factory = Environment({}, kind="inline").factory(built_in.interface, built_in.name)

    assert f"{factory.__module__}:{factory.__qualname__}" == built_in.location
    assert factory.name == built_in.name
    assert tuple(factory.offered_on) == built_in.kinds
    assert [each for each in declared_interfaces(factory) if each is not ILifecycle] == [built_in.interface]


def test_the_strategy_in_a_file_keeps_its_contract():
    environment = Environment(EXAMPLES / "plugins_file", kind="master")

    factory = type(environment.selected(ITaskScheduleStrategy, "master.strategy"))

    assert factory.__name__ == "FastestFirst"
    check_component(factory)
