"""What an environment hands out, and what it says when it cannot."""

# ruff: noqa: N805 - methods of an interface have no self

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from concurro.config import FloatOption, IntOption
from concurro.errors import (
    ComponentError,
    ComponentNotFoundError,
    ConfigError,
    ContractError,
    DuplicateComponentError,
    NotPicklableError,
)
from concurro.interfaces import Attribute, Interface, implementer
from concurro.kernel import Component, Environment, ExtensionPoint, Selected


class ITide(Interface):
    """A tide."""

    level = Attribute("Level of the water [m].")

    def height(place, hours=0):
        """Return the height [m]."""


class IHarbour(Interface):
    """A harbour."""


@implementer(ITide)
class Moon(Component):
    """The tide of the moon."""

    name = "moon"
    level = 0.0
    amplitude = FloatOption(2.0, "Amplitude [m].", minimum=0.0)

    def height(self, place, hours=0):
        return self.amplitude


@implementer(ITide)
class Sun(Moon):
    """The tide of the sun."""

    name = "sun"
    offered_on = ("master",)


@implementer(IHarbour)
class Harbour(Component):
    """Knows all tides and has a favourite."""

    name = "harbour"
    tides = ExtensionPoint(ITide)
    favourite = Selected(ITide, "harbour.tide", default="moon")


def test_builds_a_component_once_with_its_options(make_environment):
    environment = make_environment(Moon, moon={"amplitude": 3})

    moon = environment.get(ITide, "moon")

    assert moon.height("Brest") == 3.0
    assert environment.get(ITide, "moon") is moon
    assert moon.env is environment
    assert moon.log.name == "concurro.moon"


def test_two_environments_share_nothing(make_environment):
    first, second = make_environment(Moon), make_environment()

    assert first.get(ITide, "moon")
    with pytest.raises(ComponentNotFoundError):
        second.get(ITide, "moon")


def test_an_unknown_name_is_answered_with_the_closest_and_with_what_exists(make_environment):
    environment = make_environment(Moon, Sun, kind="master")

    with pytest.raises(ComponentNotFoundError) as caught:
        environment.get(ITide, "mon")

    assert str(caught.value) == "no ITide is called 'mon'; did you mean 'moon'? There are moon, sun"


def test_an_unknown_name_in_an_option_also_names_the_option_and_its_origin(make_environment):
    environment = make_environment(Moon, Harbour, harbour={"tide": "lunar"})

    with pytest.raises(ComponentNotFoundError, match=r"the given mapping: harbour.tide = 'lunar': no ITide is called"):
        environment.get(IHarbour, "harbour")


def test_a_component_is_offered_only_on_its_kinds_of_environment(make_environment):
    assert make_environment(Sun, kind="master").get(ITide, "sun")
    assert make_environment(Sun, kind="inline").get(ITide, "sun")
    with pytest.raises(ComponentNotFoundError, match=r"'sun' .* is offered on master only, not on slave"):
        make_environment(Sun, kind="slave").get(ITide, "sun")


def test_an_extension_point_has_every_enabled_component_by_name(make_environment):
    environment = make_environment(Sun, Moon, Harbour, kind="master")

    harbour = environment.get(IHarbour, "harbour")

    assert [type(tide) for tide in harbour.tides] == [Moon, Sun]
    assert harbour.favourite is environment.get(ITide, "moon")


def test_the_option_chooses_what_is_selected(make_environment):
    environment = make_environment(Sun, Moon, Harbour, kind="master", harbour={"tide": "sun"})

    assert type(environment.get(IHarbour, "harbour").favourite) is Sun


def test_a_second_component_of_a_name_is_refused_naming_both_sources(make_environment):
    environment = make_environment(Moon)

    @implementer(ITide)
    class OtherMoon(Moon):
        name = "moon"

    with pytest.raises(DuplicateComponentError) as caught:
        environment.declare(OtherMoon, "somewhere else")

    assert "Moon (" in str(caught.value)
    assert f"{__file__}:" in str(caught.value)
    assert "OtherMoon (somewhere else)" in str(caught.value)


def test_one_name_may_be_used_on_two_kinds_of_environment(make_environment):
    @implementer(ITide)
    class SlaveSun(Moon):
        name = "sun"
        offered_on = ("slave",)

    environment = make_environment(Sun, SlaveSun, kind="slave")

    assert type(environment.get(ITide, "sun")) is SlaveSun


def test_one_class_of_two_interfaces_is_built_once(make_environment):
    @implementer(IHarbour)
    class Port(Moon):
        name = "port"

    environment = make_environment(Port)

    assert environment.get(ITide, "port") is environment.get(IHarbour, "port")


def test_options_may_be_read_in_a_constructor_without_arguments(make_environment):
    @implementer(ITide)
    class Eager(Moon):
        name = "eager"

        def __init__(self):
            self.seen = (self.amplitude, self.env)

    environment = make_environment(Eager, eager={"amplitude": 7})

    assert environment.get(ITide, "eager").seen == (7.0, environment)


def test_a_class_that_is_no_component_is_built_without_the_environment(make_environment):
    @implementer(IHarbour)
    class Plain:
        name = "plain"

        def __init__(self, depth=4):
            self.depth = depth

    assert make_environment(Plain).get(IHarbour, "plain").depth == 4


def test_without_an_environment_options_have_their_defaults():
    moon = Moon()

    assert moon.amplitude == 2.0
    with pytest.raises(ComponentError, match=r"Harbour.favourite needs an environment"):
        _ = Harbour().favourite


def test_a_wrong_option_is_refused_before_any_component_is_built(make_environment):
    with pytest.raises(ConfigError, match=r"\[moon\] amplitude = -1: must be 0 or more"):
        make_environment(Moon, moon={"amplitude": -1})


def test_a_constructor_that_raises_is_told_with_its_name_and_cause(make_environment):
    @implementer(ITide)
    class Stormy(Moon):
        name = "stormy"

        def __init__(self):
            Path("/no/such/file").read_text()

    with pytest.raises(ComponentError, match=r"'stormy' .* could not be built: FileNotFoundError") as caught:
        make_environment(Stormy).get(ITide, "stormy")

    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, "has no name"),
        ({"name": "Fastest First"}, "has the name 'Fastest First'; give it one in kebab-case"),
        ({"name": "master"}, "which is the core's table"),
        ({"name": "x", "offered_on": ("moon",)}, "offered_on 'moon'; there are master, slave"),
    ],
)
def test_a_class_that_cannot_be_a_component_is_refused_with_the_reason(make_environment, attributes, reason):
    factory = implementer(IHarbour)(type("Odd", (Component,), attributes))

    with pytest.raises(ComponentError, match=reason):
        make_environment(factory)


def test_a_class_without_an_interface_is_refused(make_environment):
    with pytest.raises(ComponentError, match="implements no interface; decorate it with @implementer"):
        make_environment(type("Lonely", (Component,), {"name": "lonely"}))


def test_an_unknown_kind_of_environment_names_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'master'"):
        Environment({}, kind="mastr")


def test_an_environment_never_travels(make_environment):
    with pytest.raises(NotPicklableError, match="never travels"):
        pickle.dumps(make_environment())


def test_the_contract_is_checked_before_a_component_is_handed_out(make_environment):
    @implementer(ITide)
    class Careless(Component):
        name = "careless"

        def height(self, where):
            return 0.0

    with pytest.raises(ContractError) as caught:
        make_environment(Careless).get(ITide, "careless")

    assert len(caught.value.faults) == 3  # two of height, and the attribute
    assert all(fault.startswith(f"{__file__}:") for fault in caught.value.faults)


def test_choosing_a_built_in_imports_neither_the_others_nor_the_distributions():
    program = """
import sys
from pathlib import Path
from concurro import Environment, ITaskScheduleStrategy
Environment({}, kind="master").get(ITaskScheduleStrategy, "least-loaded")
heavy = ["zmq", "importlib.metadata", "click", "rich", "concurro.execution.process_pool", "concurro.scheduling.rated"]
print([name for name in heavy if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "[]"


def test_options_of_components_are_listed_by_table(make_environment):
    @implementer(IHarbour)
    class Deep(Component):
        name = "deep"
        depth = IntOption(9, "Depth [m].")

    assert make_environment(Deep, Moon).option_tables()["deep"] == {"depth": Deep.depth}


def test_the_names_of_what_components_select_are_listed_as_options(make_environment):
    @implementer(IHarbour)
    class Deep(Component):
        name = "deep"
        tide = Selected(ITide, "deep.tide", default="moon")

    (tide,) = make_environment(Deep, Moon).option_tables()["deep"].values()

    assert (tide.name, tide.default) == ("tide", "moon")
