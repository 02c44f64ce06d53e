"""Results that are safe: told to their slaves many at once."""

from __future__ import annotations

import pytest

from concurro.nodes.settlements import MOST_UNTOLD, Settlements
from concurro.wire.messages import Kind

LARGE = 77


class FakeLoop:
    """Keeps what is to be called later."""

    def __init__(self):
        self.later = []

    def after(self, delay, callback):
        """Keep a call."""
        self.later.append((delay, callback))


@pytest.fixture
def loop():
    return FakeLoop()


@pytest.fixture
def told():
    return []


@pytest.fixture
def settlements(loop, told):
    def send(peer, kind, body):
        told.append((peer, kind, body))

    return Settlements(loop, send, lambda leases: LARGE in leases)


def test_small_results_are_told_together_after_a_moment(settlements, loop, told):
    settlements.settle("a", [1, 2])
    settlements.settle("b", [3])
    settlements.settle("a", [4])
    before = list(told)

    [(_, tell)] = loop.later
    tell()

    assert before == []
    assert told == [(("slave", "a"), Kind.RESULT_ACK, [[1, 2, 4]]), (("slave", "b"), Kind.RESULT_ACK, [[3]])]


def test_a_result_with_large_parts_is_told_at_once_with_what_waits(settlements, loop, told):
    settlements.settle("a", [1])

    settlements.settle("a", [LARGE])
    settlements.tell_all()

    assert told == [(("slave", "a"), Kind.RESULT_ACK, [[1, LARGE]])]


def test_many_results_are_told_at_once(settlements, told):
    settlements.settle("a", list(range(100, 100 + MOST_UNTOLD)))

    assert [len(body[0]) for _, _, body in told] == [MOST_UNTOLD]


def test_what_comes_later_is_told_later_again(settlements, loop, told):
    settlements.settle("a", [1])
    loop.later.pop()[1]()

    settlements.settle("a", [2])
    loop.later.pop()[1]()

    assert [body for _, _, body in told] == [[[1]], [[2]]]


def test_a_slave_that_is_gone_is_told_nothing(settlements, loop, told):
    settlements.settle("a", [1])

    settlements.forget("a")
    settlements.tell_all()

    assert told == []
