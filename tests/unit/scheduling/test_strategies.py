"""Whom the built-in strategies choose, asked without a scheduler."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection

import pytest

from concurro.scheduling.strategies import LeastLoaded, RoundRobin, TwoChoices
from tests.unit.scheduling.strategy_driver import STRATEGIES, Field


class Lazy(Collection):
    """Those of a table that pass a test, looked for when somebody asks.

    Attributes:
        walked: How many entries of the table were looked at.
    """

    def __init__(self, table, passes):
        self.table = table
        self.passes = passes
        self.walked = 0

    def __contains__(self, slave_id):
        return slave_id in self.table and self.passes(slave_id)

    def __iter__(self):
        for slave_id in self.table:
            self.walked += 1
            if self.passes(slave_id):
                yield slave_id

    def __len__(self):
        return sum(1 for _ in self)


class Counted(dict):
    """A dictionary that counts how often it is asked for a key."""

    asked = 0

    def __contains__(self, key):
        self.asked += 1
        return super().__contains__(key)


@pytest.fixture(params=STRATEGIES, ids=lambda factory: factory.name)
def field(request):
    return Field(request.param())


def test_chooses_nobody_where_nobody_is(field):
    task = field.task()

    assert field.choose(task) is None


def test_chooses_only_who_may_be_chosen_however_the_collection_is_made(field):
    field.join(*(f"slave-{number}" for number in range(100)))
    task = field.task()
    lazy = Lazy(field.host.slaves, lambda slave_id: slave_id.endswith("7"))

    chosen = {field.choose(task, lazy) for _ in range(20)}

    assert chosen
    assert all(slave_id.endswith("7") for slave_id in chosen)


def test_finds_the_one_that_may_be_chosen_among_thousands_without_asking_for_each(field):
    field.join(*(f"slave-{number}" for number in range(10_000)))
    field.choose(field.task())
    only = Counted({"slave-7654": None})

    chosen = field.choose(field.task(), only)

    assert chosen == "slave-7654"
    assert only.asked < 100


def test_a_slave_that_left_and_came_back_is_chosen_again(field):
    field.join("north")
    field.leave("north")
    gone = field.choose(field.task())
    field.join("north")

    assert gone is None
    assert field.choose(field.task()) == "north"


def test_keeps_no_trace_of_thousands_that_came_and_went(field):
    for number in range(3000):
        field.join(f"slave-{number}", durations={f"Class{number}": 1.0})
        field.choose(field.task())
        field.leave(f"slave-{number}")

    tables = [value for value in vars(field.strategy).values() if isinstance(value, dict | list)]
    assert max(len(table) for table in tables) < 200


def test_remembers_no_more_of_a_slave_however_often_it_changes(field):
    (slave,) = field.join("north")
    for number in range(3000):
        field.hold("north", 1 + number % 3)
        slave.leases.clear()
        slave.finished += 1
        field.rate("north")

    tables = [value for value in vars(field.strategy).values() if isinstance(value, dict | list)]
    assert max(len(table) for table in tables) < 200


def test_least_loaded_finds_the_best_of_a_few_behind_many_that_are_better():
    field = Field(LeastLoaded())
    names = [f"slave-{number}" for number in range(200)]
    field.join(*names, workers=4)
    for number, name in enumerate(names):
        field.hold(name, number % 50)
    most, fewer = names[49], names[20]

    chosen = field.choose(field.task(), [most, fewer])

    assert chosen == fewer


def test_least_loaded_searches_no_longer_than_its_heap_when_nearly_all_may_be_chosen():
    field = Field(LeastLoaded())
    names = [f"slave-{number}" for number in range(10_000)]
    field.join(*names)
    lazy = Lazy(field.host.slaves, lambda slave_id: slave_id not in names[:20])

    chosen = field.choose(field.task(), lazy)

    assert chosen == names[20]
    assert lazy.walked < 1000


def test_round_robin_goes_round_among_those_that_may_be_chosen():
    field = Field(RoundRobin())
    field.join("a", "b", "c", "d")
    task = field.task()

    chosen = [field.choose(task, slaves) for slaves in (["b", "d"], ["b", "d"], None, None, ["b", "d"], None)]

    assert chosen == ["b", "d", "a", "c", "b", "d"]


def test_round_robin_cares_for_nobodys_load():
    field = Field(RoundRobin())
    field.join("a", "b")
    field.hold("a", 100)

    assert [field.choose(field.task()) for _ in range(4)] == ["a", "b", "a", "b"]


def test_two_choices_takes_the_less_loaded_of_two():
    field = Field(TwoChoices())
    field.join("idle", "busy")
    field.hold("busy", 3)

    assert {field.choose(field.task()) for _ in range(20)} == {"idle"}


def test_two_choices_spreads_more_evenly_than_one_choice_would():
    field = Field(TwoChoices())
    names = [f"slave-{number}" for number in range(1000)]
    field.join(*names)
    one = random.Random(0)
    by_one_choice = Counter(one.choice(names) for _ in range(10_000))

    for _ in range(10_000):
        field.hold(field.choose(field.task()), 1)

    largest = max(len(slave.leases) for slave in field.host.slaves.values())
    assert largest <= 14
    assert max(by_one_choice.values()) >= 20


def test_two_choices_draws_every_slave_with_the_masters_random_generator():
    field = Field(TwoChoices())
    field.join("a", "b", "c")
    again = Field(TwoChoices())
    again.join("a", "b", "c")

    chosen = [field.choose(field.task()) for _ in range(200)]

    assert set(chosen) == {"a", "b", "c"}
    assert chosen == [again.choose(again.task()) for _ in range(200)]
