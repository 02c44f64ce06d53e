"""Faults that a caller who reads only the interface would stumble over."""

# ruff: noqa: N805 - methods of an interface have no self

from __future__ import annotations

import pytest

from concurro.errors import ContractError
from concurro.interfaces import Attribute, Interface, implementer
from concurro.kernel.contracts import class_faults, object_faults, verify


class IStation(Interface):
    """A station with every form of argument."""

    def measure(place, depth=1.5, *, unit="m"):
        """Measure."""

    async def wait(seconds):
        """Wait."""

    def collect(first, *rest, **labels):
        """Collect."""


class IBase(Interface):
    name_of_ship = Attribute("Its name.")

    def sail(where):
        """Sail."""


class IDerived(IBase):
    def anchor():
        """Anchor."""


class Good:
    def measure(self, place, depth=1.5, *, unit="m"): ...

    async def wait(self, seconds): ...

    def collect(self, first, *rest, **labels): ...


def faults_of(**methods):
    cls = implementer(IStation)(type("Station", (Good,), methods))
    return [fault.partition("Station.")[2].partition("; IStation")[0] for fault in class_faults(IStation, cls)]


def test_a_method_as_the_interface_has_it_has_no_fault():
    assert faults_of() == []


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (lambda self, spot, depth=1.5, *, unit="m": 0, ["argument 1 is called 'spot' instead of 'place'"]),
        (
            lambda self, place, *, depth=1.5, unit="m": 0,
            ["argument 'depth' is keyword-only, callers may give it by position"],
        ),
        (lambda self, place, *, unit="m": 0, ["argument 'depth' is missing"]),
        (lambda self, place, depth, *, unit="m": 0, ["argument 'depth' has no default, callers may leave it out"]),
        (lambda self, place, depth=2.5, *, unit="m": 0, ["argument 'depth' has the default 2.5 instead of 1.5"]),
        (lambda self, place, depth=1.5: 0, ["keyword-only argument 'unit' is missing"]),
        (lambda self, place, depth=1.5, *, unit: 0, ["argument 'unit' has no default, callers may leave it out"]),
        (lambda self, place, /, depth=1.5, *, unit="m": 0, ["argument 'place' cannot be given by name"]),
        (lambda self, place, depth=1.5, *, unit="m", key: 0, ["argument 'key' is required, callers do not know it"]),
        (
            lambda self, *args, unit="m": 0,
            ["argument 'place' cannot be given by name", "argument 'depth' cannot be given by name"],
        ),
        (lambda self, *args, **kwargs: 0, []),
        (lambda self, place, depth=1.5, unit="m", extra=None: 0, []),
    ],
)
def test_arguments_are_compared_by_name_kind_and_default(method, expected):
    assert faults_of(measure=method) == [f"measure: {fault}" for fault in expected]


def test_a_plain_method_is_not_awaited():
    async def measure(self, place, depth=1.5, *, unit="m"): ...

    assert faults_of(measure=measure) == ["measure: it is a coroutine (async def), its callers do not await it"]


def test_a_coroutine_is_awaited():
    def wait(self, seconds): ...

    assert faults_of(wait=wait) == ["wait: it is a plain method, its callers await it (async def)"]


def test_further_arguments_must_be_taken():
    assert faults_of(collect=lambda self, first: 0) == [
        "collect: it takes no further arguments by position (*args)",
        "collect: it takes no further arguments by name (**kwargs)",
    ]


def test_static_and_class_methods_are_compared_as_they_are_called():
    assert faults_of(measure=staticmethod(lambda place, depth=1.5, *, unit="m": 0)) == []
    assert faults_of(measure=classmethod(lambda cls, place, depth=1.5, *, unit="m": 0)) == []


def test_all_faults_are_told_at_once_with_their_lines():
    @implementer(IDerived)
    class Boat:
        def sail(self, whither): ...

    with pytest.raises(ContractError) as caught:
        verify(IDerived, Boat())

    sail, anchor, name = Boat.sail.__code__.co_firstlineno, "anchor() of IDerived is missing", "name_of_ship"
    assert len(caught.value.faults) == 3
    assert any(fault.startswith(f"{__file__}:{sail}: ") for fault in caught.value.faults)
    assert any(anchor in fault for fault in caught.value.faults)
    assert any(name in fault for fault in caught.value.faults)


def test_an_attribute_set_by_the_constructor_is_enough():
    @implementer(IDerived)
    class Boat:
        def __init__(self):
            self.name_of_ship = "Beagle"

        def sail(self, where): ...

        def anchor(self): ...

    assert object_faults(IDerived, Boat()) == []


def test_a_class_that_declares_nothing_is_told_to():
    assert "decorate it with @implementer(IStation)" in class_faults(IStation, Good)[0]


def test_an_attribute_in_place_of_a_method_is_a_fault():
    assert faults_of(measure=3) == ["measure is not a method"]
