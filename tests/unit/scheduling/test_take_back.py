"""What was sent ahead is taken back when it waits behind something and another slave idles."""

from __future__ import annotations

import pytest

from concurro.scheduling.rated import STALL_SECONDS
from tests.unit.scheduling.cluster import MICROSECOND, Cluster


@pytest.fixture
def stuck():
    """Return a cluster where `north` holds much and `south` has just joined."""
    cluster = Cluster()
    cluster.join("north")
    system = cluster.system()
    cluster.measure(system, MICROSECOND)
    cluster.emit(system, 100)
    cluster.step()
    cluster.join("south")
    cluster.step()
    assert cluster.loads() == {"north": 100, "south": 0}
    return cluster


def test_wakes_up_to_look_whether_a_slave_is_stuck(stuck):
    assert stuck.core.wake_at == pytest.approx(stuck.now + STALL_SECONDS)
    assert stuck.recalled["north"] == []


def test_asks_a_stuck_slave_for_its_latest_leases(stuck):
    latest = list(stuck.held["north"])[50:]

    stuck.step(STALL_SECONDS)

    assert set(stuck.recalled["north"]) <= set(latest)
    assert len(stuck.recalled["north"]) >= 40


def test_what_comes_back_goes_to_the_idle_slave(stuck):
    stuck.step(STALL_SECONDS)

    stuck.give_back("north", stuck.recalled["north"])
    stuck.step()

    assert stuck.loads()["south"] > 0
    assert sum(stuck.loads().values()) == 100


def test_asks_only_once_while_the_answer_is_under_way(stuck):
    stuck.step(STALL_SECONDS)
    asked = list(stuck.recalled["north"])

    stuck.step(1.0)

    assert stuck.recalled["north"] == asked


def test_asks_again_when_what_was_asked_for_had_started(stuck):
    stuck.step(STALL_SECONDS)
    asked = list(stuck.recalled["north"])

    stuck.core.started("north", asked)
    stuck.step(0)
    stuck.step(STALL_SECONDS)

    assert len(stuck.recalled["north"]) > len(asked)


def test_asks_again_when_what_was_asked_for_had_ended_already(stuck):
    stuck.step(STALL_SECONDS)
    asked = list(stuck.recalled["north"])
    tasks = [stuck.core.slaves["north"].leases[lease] for lease in asked]

    for task in tasks:
        stuck.end(task, seconds=MICROSECOND)
    stuck.step()
    stuck.step(STALL_SECONDS)

    assert len(stuck.recalled["north"]) > len(asked)


def test_a_slave_that_goes_on_is_left_alone(stuck):
    for _ in range(20):
        stuck.step(STALL_SECONDS / 2)
        task = next(iter(stuck.core.slaves["north"].leases.values()))
        stuck.end(task, seconds=MICROSECOND)

    assert stuck.recalled["north"] == []


def test_nothing_is_taken_back_when_nobody_idles(stuck):
    system = stuck.core.systems[1]
    stuck.emit(system, 5000)
    stuck.step()

    stuck.step(1.0)

    assert stuck.recalled == {"north": [], "south": []}
    assert stuck.core.wake_at is None


def test_a_slave_that_was_idle_for_long_is_not_taken_for_stuck_when_it_gets_work():
    cluster = Cluster()
    cluster.join("north", "south", workers=1)
    system = cluster.system()
    cluster.measure(system, MICROSECOND)
    cluster.step(3600.0)

    cluster.emit(system, 8)
    cluster.step()

    assert cluster.recalled == {"north": [], "south": []}


def test_leases_asked_back_of_a_slave_that_left_are_queued_again(stuck):
    stuck.step(STALL_SECONDS)

    stuck.leave("north")
    stuck.step()

    assert stuck.loads() == {"south": 100}
