"""A strategy that raises or answers nonsense: named, and nothing hangs."""

from __future__ import annotations

import pickle

import pytest

from concurro import StrategyError
from concurro.scheduling.rated import RatedScheduler
from tests.unit.scheduling.cluster import Cluster, task_class


class Spoiled:
    """Answers what it is told to; an exception is raised."""

    name = "spoiled"

    def __init__(self, rating=0.0, choice=None, setup=None):
        self.answers = {"rate": rating, "get_next_slave": choice, "setup": setup}

    def setup(self, scheduler, master):
        return self._answer("setup")

    def rate(self, slave):
        return self._answer("rate")

    def get_next_slave(self, task=None, slaves=None):
        return self._answer("get_next_slave")

    def _answer(self, method):
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Unprintable:
    def __repr__(self):
        raise ValueError


def spoiled_cluster(**answers):
    scheduler = RatedScheduler()
    vars(scheduler)["strategy"] = Spoiled(**answers)
    return Cluster(scheduler)


def run_a_task(answers):
    """Let a strategy be set up, rate and choose."""
    cluster = spoiled_cluster(**answers)
    cluster.join("north")
    cluster.emit(cluster.system())
    cluster.step()


@pytest.mark.parametrize("method", ["setup", "rating", "choice"])
def test_what_a_strategy_raises_names_it_its_class_and_the_method(method):
    with pytest.raises(StrategyError) as caught:
        run_a_task({method: RuntimeError("boom")})

    where = {"rating": "rate", "choice": "get_next_slave"}.get(method, method)
    who = "'spoiled' (tests.unit.scheduling.test_strategy_faults.Spoiled)"
    assert str(caught.value) == f"strategy {who} raised RuntimeError in {where}: boom"
    assert caught.value.strategy == who
    assert "raise answer" in caught.value.traceback


def test_the_error_of_a_strategy_travels_with_its_facts():
    error = StrategyError("message", "'spoiled'", "Traceback ...")

    copy = pickle.loads(pickle.dumps(error))

    assert (str(copy), copy.strategy, copy.traceback) == ("message", "'spoiled'", "Traceback ...")


def test_a_rating_that_is_no_number_is_refused():
    cluster = spoiled_cluster(rating="high")
    cluster.join("north")

    with pytest.raises(StrategyError, match="rated slave north 'high', which is no number"):
        cluster.step()


@pytest.mark.parametrize("rating", [3, True])
def test_a_rating_may_be_any_number(rating):
    cluster = spoiled_cluster(rating=rating, choice="north")
    cluster.join("north")

    cluster.step()

    assert cluster.core.slaves["north"].rating == float(rating)


@pytest.mark.parametrize("choice", ["nobody", "south", 5, ["north"], Unprintable(), "n" * 1000])
def test_a_choice_that_cannot_be_is_told_once_and_another_slave_is_taken(choice):
    cluster = spoiled_cluster(choice=choice)
    cluster.join("south", resources={"disk": 1.0})
    cluster.join("north", resources={"gpu": 8.0}, workers=2)
    system = cluster.system(classes=[task_class(requires={"gpu": 1.0})])

    cluster.emit(system, 2)
    cluster.step()

    assert cluster.loads() == {"south": 0, "north": 2}
    ((number, text),) = cluster.warnings
    assert number == system.number
    assert text.startswith("strategy 'spoiled' (tests.unit.scheduling.test_strategy_faults.Spoiled) chose ")
    assert "for task system-1:0" in text
    assert "slave north gets it" in text
    assert len(text) < 500


def test_a_choice_that_cannot_be_is_told_to_each_system():
    cluster = spoiled_cluster(choice="nobody")
    cluster.join("north", workers=4)

    for number in (1, 2):
        cluster.emit(cluster.system(number))
        cluster.step()

    assert [number for number, _ in cluster.warnings] == [1, 2]
