"""Results with large parts: what comes when, and what waits where it is."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome
from concurro.nodes.arrivals import ROOM, ResultArrivals

NORTH = "north"
HALF, WHOLE = ROOM // 2, ROOM


class Spool:
    """Stands in for the relay: blobs arrive when the test says so."""

    def __init__(self):
        self.asked = {}
        self.dropped = []

    def spool(self, peer, blobs, owner, done):
        self.asked[owner[1]] = done

    def drop(self, owner):
        self.dropped.append(owner[1])


class World:
    """Arrivals, what they applied, and whose the leases are."""

    def __init__(self):
        self.relay = Spool()
        self.applied = []
        self.systems = {}
        self.arrivals = ResultArrivals(self.relay, self.apply, lambda slave_id, lease: self.systems.get(lease))

    def apply(self, slave_id, results):
        for result in results:
            self.systems.pop(result[0], None)
            self.applied.append((result[0], result[1]))

    def take(self, lease, size, system="system"):
        self.systems[lease] = system
        blobs = [[0, bytes([lease]) * 32, size]] if size else None
        self.arrivals.take(NORTH, [[lease, 0, b"", blobs, 1000]])


@pytest.fixture
def world():
    return World()


def test_a_result_without_parts_counts_at_once(world):
    world.take(1, 0)

    assert world.applied == [(1, 0)]


def test_a_large_result_counts_once_its_parts_are_here(world):
    world.take(1, HALF)
    before = list(world.applied)

    world.relay.asked[1](None)

    assert before == []
    assert world.applied == [(1, 0)]


def test_what_is_more_than_the_room_of_a_system_waits_at_the_slave_until_some_was_consumed(world):
    for lease in (1, 2, 3, 4):
        world.take(lease, HALF)
    at_first = list(world.relay.asked)
    world.relay.asked[1](None)
    world.relay.asked[2](None)
    arrived = list(world.relay.asked)

    world.arrivals.settled([1])

    assert at_first == arrived == [1, 2]
    assert list(world.relay.asked) == [1, 2, 3]
    assert world.relay.dropped == [1]


def test_the_results_of_one_system_do_not_keep_those_of_another_waiting(world):
    world.take(1, WHOLE, "slow")
    world.take(2, WHOLE, "slow")

    world.take(3, WHOLE, "quick")

    assert list(world.relay.asked) == [1, 3]


def test_a_single_result_may_be_larger_than_the_room(world):
    world.take(1, 3 * WHOLE)

    assert list(world.relay.asked) == [1]


def test_results_of_a_system_come_in_their_order_small_ones_too(world):
    world.take(1, HALF)
    world.take(2, WHOLE)
    world.take(3, 100_000)

    world.arrivals.settled([1])
    at_first = list(world.relay.asked)
    world.arrivals.settled([2])

    assert at_first == [1, 2]
    assert list(world.relay.asked) == [1, 2, 3]


def test_nothing_is_fetched_of_a_result_that_does_not_count(world):
    world.arrivals.take(NORTH, [[1, 0, b"", [[0, bytes(32), HALF]], 1000]])

    assert world.applied == [(1, 0)]
    assert world.relay.asked == {}


def test_a_result_that_counts_no_more_when_its_turn_comes_is_not_fetched(world):
    for lease in (1, 2, 3):
        world.take(lease, WHOLE)
    del world.systems[2]

    world.arrivals.settled([1])

    assert list(world.relay.asked) == [1, 3]
    assert world.applied == [(2, 0)]


def test_parts_that_were_lost_with_their_slave_make_room_too(world):
    world.take(1, WHOLE)
    world.take(2, WHOLE)

    world.relay.asked[1]("nobody has it any more")

    assert world.applied == [(1, int(Outcome.SLAVE_LOST))]
    assert list(world.relay.asked) == [1, 2]
    assert world.relay.dropped == [1]


def test_a_result_that_is_told_twice_is_fetched_once(world):
    world.take(1, HALF)

    world.take(1, HALF)
    world.take(2, HALF)

    assert list(world.relay.asked) == [1, 2]


def test_nothing_is_remembered_of_what_was_settled(world):
    for lease in range(1, 20):
        world.take(lease, HALF, system=lease % 3)
    for lease in range(1, 20):
        if lease in world.relay.asked:
            world.relay.asked[lease](None)
    for _ in range(20):
        world.arrivals.settled(range(1, 20))

    assert world.arrivals._spooled == {}
    assert world.arrivals._waiting == {}
    assert world.arrivals._taken == {}
