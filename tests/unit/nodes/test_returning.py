"""Slaves that come back to a restarted master."""

from __future__ import annotations

import pytest

from concurro.nodes.returning import Returning
from concurro.wire.messages import Kind, Message

HELD = [1, 7, 1, 0, 1, b"stamp"]


class RecoveryStandIn:
    """Knows which systems are on their way back."""

    def __init__(self):
        self.settled = True
        self.coming = {7}
        self.adopted = []
        self.unwanted = []

    def is_coming(self, number):
        return number in self.coming

    def adopt(self, slave_id, entries):
        self.adopted.append((slave_id, entries))
        return self.unwanted

    def settle(self):
        self.settled = True


class Scene:
    """A master that had the slaves north and south."""

    def __init__(self):
        self.recovery = RecoveryStandIn()
        self.heard = []
        self.admitted = []
        self.killed = []
        self.returning = Returning(
            self.recovery,
            {"north", "south"},
            lambda slave_id, host, facts: self.admitted.append(slave_id),
            lambda slave_id, message: self.heard.append((slave_id, message.kind)),
            lambda slave_id, leases: self.killed.append((slave_id, leases)),
        )

    def comes(self, slave_id, was, *held):
        self.returning.joined(slave_id, "host", {"was": was})
        self.says(slave_id, Kind.INVENTORY, list(held))
        self.says(slave_id, Kind.RESULTS)
        self.returning.look()

    def says(self, slave_id, kind, body=()):
        self.returning.take(slave_id, Message(kind, 1, 0, list(body)))


@pytest.fixture
def scene():
    return Scene()


def test_a_slave_waits_for_the_systems_that_it_holds_leases_of(scene):
    scene.comes("host-1", "north", HELD)
    before = list(scene.admitted)

    scene.recovery.coming.clear()
    scene.returning.look()

    assert before == []
    assert scene.admitted == ["host-1"]
    assert scene.recovery.adopted == [("host-1", [HELD])]
    assert scene.heard == [("host-1", Kind.RESULTS)]


def test_leases_that_nobody_wants_are_killed(scene):
    scene.recovery.coming.clear()
    scene.recovery.unwanted = [1]

    scene.comes("host-1", "north", HELD)

    assert scene.killed == [("host-1", [1])]


def test_nothing_is_queued_before_every_slave_is_back_or_its_time_is_over(scene):
    scene.comes("host-1", "south")
    after_one = scene.recovery.settled
    scene.returning.miss_no_longer()

    assert (after_one, scene.recovery.settled) == (False, True)


def test_a_slave_that_waits_for_a_long_replay_is_not_missed(scene):
    scene.comes("host-1", "south", HELD)

    scene.returning.miss_no_longer()
    before = scene.recovery.settled
    scene.returning.give_up()

    assert (before, scene.recovery.settled) == (False, True)
    assert scene.admitted == ["host-1"]


def test_a_slave_that_leaves_before_it_is_admitted_is_forgotten(scene):
    scene.comes("host-1", "north", HELD)

    scene.returning.left("host-1")
    scene.recovery.coming.clear()
    scene.returning.look()

    assert scene.admitted == []


def test_any_other_slave_is_heard_at_once(scene):
    scene.says("host-9", Kind.SLAVE_STATE)

    assert scene.heard == [("host-9", Kind.SLAVE_STATE)]
