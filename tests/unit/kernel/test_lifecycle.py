"""Components start in order of dependency and stop in reverse."""

from __future__ import annotations

import pytest

from concurro.errors import ComponentError, DependencyCycleError
from concurro.interfaces import ILifecycle, Interface, implementer
from concurro.kernel import Component, ExtensionPoint, Selected


class IPart(Interface):
    """A part."""


class IAll(Interface):
    """Has all parts."""


class StuckError(Exception):
    pass


@pytest.fixture
def events():
    return []


@pytest.fixture
def make_part(events):
    def make(part, *needs, fails_to="", interface=IPart):
        def start(self):
            events.append(f"start {part}")
            if fails_to == "start":
                raise StuckError(part)

        def stop(self):
            events.append(f"stop {part}")
            if fails_to == "stop":
                raise StuckError(part)

        attributes = {f"needs_{need}": Selected(IPart, f"{part}.{need}", default=need) for need in needs}
        attributes |= {"name": part, "start": start, "stop": stop}
        return implementer(interface, ILifecycle)(type(part.title(), (Component,), attributes))

    return make


def test_what_is_selected_starts_first_and_stops_last(make_environment, make_part, events):
    environment = make_environment(make_part("a", "b"), make_part("b", "c"), make_part("c"))
    environment.get(IPart, "a")

    with environment:
        events.append("run")

    assert events == ["start c", "start b", "start a", "run", "stop a", "stop b", "stop c"]


def test_an_extension_point_is_a_dependency(make_environment, make_part, events):
    everything = make_part("x", interface=IAll)
    everything.parts = ExtensionPoint(IPart)
    everything.parts.__set_name__(everything, "parts")
    environment = make_environment(everything, make_part("b"), make_part("a"))
    environment.get(IAll, "x")

    environment.start()

    assert events == ["start a", "start b", "start x"]


def test_what_is_built_later_is_started_when_it_is_built(make_environment, make_part, events):
    environment = make_environment(make_part("a", "b"), make_part("b"))
    environment.start()

    environment.get(IPart, "a")
    environment.stop()
    environment.stop()

    assert events == ["start b", "start a", "stop a", "stop b"]


def test_a_failed_start_stops_what_had_started(make_environment, make_part, events):
    environment = make_environment(make_part("a", "b", fails_to="start"), make_part("b"))
    environment.get(IPart, "a")

    with pytest.raises(StuckError, match="a") as caught:
        environment.start()

    assert events == ["start b", "start a", "stop b"]
    assert caught.value.__notes__ == ["while starting component 'a'"]


def test_errors_of_stop_are_collected(make_environment, make_part, events):
    parts = [make_part("a", "b", fails_to="stop"), make_part("b", "c"), make_part("c", fails_to="stop")]
    environment = make_environment(*parts)
    environment.get(IPart, "a")
    environment.start()

    with pytest.raises(ComponentError, match=r"2 components did not stop: StuckError: a; StuckError: c") as caught:
        environment.stop()

    assert events[-3:] == ["stop a", "stop b", "stop c"]
    assert len(caught.value.__cause__.exceptions) == 2


def test_a_circle_is_reported_by_name(make_environment, make_part):
    environment = make_environment(make_part("a", "b"), make_part("b", "c"), make_part("c", "b"))

    with pytest.raises(DependencyCycleError, match="in a circle: b -> c -> b"):
        environment.get(IPart, "a")


def test_a_component_without_lifecycle_is_not_started(make_environment, events):
    @implementer(IPart)
    class Still(Component):
        name = "still"

        def start(self):
            events.append("started")

    environment = make_environment(Still)
    environment.get(IPart, "still")
    environment.start()

    assert events == []


def test_a_component_with_half_a_lifecycle_is_refused(make_environment):
    @implementer(IPart, ILifecycle)
    class Half(Component):
        name = "half"

        def start(self): ...

    with pytest.raises(ComponentError, match=r"Half.stop\(\) of ILifecycle is missing"):
        make_environment(Half).get(IPart, "half")
