"""Slaves are asked where they run, once for each question."""

from __future__ import annotations

import pytest

from concurro.nodes import inspection as inspections
from concurro.nodes.inspection import Inspection
from concurro.nodes.surroundings import surroundings
from concurro.wire.messages import Kind


class Timers:
    """A loop of which only timers are used."""

    def __init__(self):
        self.calls = []

    def after(self, delay, call):
        self.calls.append(call)


class Asked:
    """An inspection, what slaves were sent, and what was answered."""

    def __init__(self):
        self.loop, self.sent, self.answers = Timers(), [], []
        self.inspection = Inspection(self.loop, lambda *sent: self.sent.append(sent))

    def ask(self, *slaves, own=""):
        self.inspection.ask(slaves, own, self.answers.append)


@pytest.fixture
def asked():
    return Asked()


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(inspections.time, "time", lambda: now[0])
    return now


def test_the_answer_comes_when_every_slave_has_said_something(asked):
    asked.ask("north-1", "south-2")

    asked.inspection.heard("north-1", 1, {"host": "north"})
    early = list(asked.answers)
    asked.inspection.heard("south-2", 1, {"host": "south"})

    assert sorted(asked.sent) == [(("slave", name), Kind.LOOK_AROUND, [1]) for name in ("north-1", "south-2")]
    assert early == []
    assert {name: each["host"] for name, each in asked.answers[0]["slaves"].items()} == {
        "north-1": "north",
        "south-2": "south",
    }


def test_a_silent_slave_is_left_out_after_a_while(asked):
    asked.ask("north-1", "south-2")
    asked.inspection.heard("north-1", 1, {})

    asked.loop.calls[0]()
    asked.inspection.heard("south-2", 1, {})

    assert [set(answer["slaves"]) for answer in asked.answers] == [{"north-1"}]


def test_a_slave_that_leaves_is_not_waited_for(asked):
    asked.ask("north-1", "south-2")
    asked.inspection.heard("north-1", 1, {})

    asked.inspection.left("south-2")

    assert [set(answer["slaves"]) for answer in asked.answers] == [{"north-1"}]


def test_without_slaves_the_master_answers_for_itself(asked):
    asked.ask()

    assert asked.answers[0]["slaves"] == {}
    assert asked.answers[0]["master"]["versions"]["python"]


def test_the_slave_inside_the_master_is_where_the_master_is(asked):
    asked.ask("here-1", own="here-1")

    assert asked.sent == []
    assert asked.answers[0]["slaves"]["here-1"]["pid"] == asked.answers[0]["master"]["pid"]


def test_a_clock_that_is_ahead_is_told_with_how_well_that_is_known(asked, clock):
    asked.ask("north-1")
    clock[0] += 0.5

    asked.inspection.heard("north-1", 1, {"time": 1060.25})

    (found,) = asked.answers[0]["slaves"].values()
    assert (found["ahead"], found["unsure"]) == (60.0, 0.25)


def test_what_nobody_asked_for_is_dropped(asked):
    asked.ask("north-1")

    asked.inspection.heard("north-1", 7, {})
    asked.inspection.heard("other-3", 1, {})

    assert asked.answers == []


def test_surroundings_name_versions_limits_and_memory():
    found = surroundings()

    assert {"python", "concurro", "msgpack", "cloudpickle"} <= set(found["versions"])
    assert found["limits"]["open files"][0] != 0
    assert 0 < found["memory"]["available"] <= found["memory"]["total"]
