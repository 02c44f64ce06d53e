"""Sets that a pickle gives back in another order are found wherever they are."""

from __future__ import annotations

import pickle

import pytest

from concurro.wire.blobs import BlobStore
from concurro.wire.code import CodeTable
from concurro.wire.orders import reordered_set
from concurro.wire.travelling import Travelling


class Holder:
    """Has something."""

    def __init__(self, value):
        self.value = value


@pytest.fixture
def table():
    return CodeTable(BlobStore(), Travelling())


def shrunk():
    """Return a set that was larger once."""
    numbers = set(range(100))
    numbers -= set(range(3, 100))
    return numbers


@pytest.mark.parametrize("place", [lambda one: one, lambda one: [{"deep": (one,)}], Holder], ids=["bare", "in", "held"])
def test_a_set_that_changes_is_named(table, place):
    assert reordered_set(place(shrunk()), table) == "a set of 3"


def test_every_set_is_named_that_changes_its_order_and_no_small_one_that_does_not(table):
    kinds = [{f"word-{one}-{more}" for one in range(count)} for count in (1, 2, 50, 400) for more in range(10)]
    kinds += [frozenset(one) for one in kinds]

    found = [reordered_set(one, table) != "" for one in kinds]

    assert found == [list(pickle.loads(pickle.dumps(one, 5))) != list(one) for one in kinds]


def test_what_comes_back_as_it_was_is_not_named(table):
    assert reordered_set([set(range(1000)), {"one"}, frozenset(), set()], table) == ""


def test_local_classes_are_looked_into(table):
    class Local(Holder):
        """Travels by value."""

    assert reordered_set(Local(shrunk()), table) == "a set of 3"


def test_what_does_not_pickle_raises(table):
    with pytest.raises(TypeError):
        reordered_set((one for one in ()), table)
