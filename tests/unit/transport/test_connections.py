"""How many connections a listener bears, and which go first."""

from __future__ import annotations

import pytest

from concurro.transport import connections as connections_module
from concurro.transport.connections import Connections


@pytest.fixture
def dropped(monkeypatch):
    dropped = []
    monkeypatch.setattr(connections_module, "hang_up", dropped.append)
    return dropped


@pytest.fixture
def connections(dropped):
    return Connections(40)


def test_of_too_many_silent_ones_the_oldest_is_dropped(connections, dropped):
    for descriptor in range(12):
        connections.opened(descriptor)

    assert dropped == [0, 1]
    assert len(connections) == 10


def test_who_spoke_is_not_dropped_for_strangers(connections, dropped):
    for descriptor in range(30):
        connections.opened(descriptor)
        connections.heard(descriptor)

    for descriptor in range(100, 150):
        connections.opened(descriptor)

    assert all(descriptor in connections for descriptor in range(30))
    assert min(dropped) == 100


def test_beyond_the_most_a_newcomer_is_dropped(connections, dropped):
    for descriptor in range(40):
        connections.opened(descriptor)
        connections.heard(descriptor)

    connections.opened(99)

    assert dropped == [99]
    assert len(connections) == 40


def test_one_that_ended_makes_room(connections, dropped):
    for descriptor in range(10):
        connections.opened(descriptor)
    connections.ended(3)
    connections.ended(3)

    connections.opened(50)

    assert dropped == []
    assert 3 not in connections


def test_a_descriptor_that_is_used_again_is_a_stranger_again(connections, dropped):
    connections.opened(7)
    connections.heard(7)

    for descriptor in (7, *range(20, 30)):
        connections.opened(descriptor)

    assert dropped == [7]


def test_a_process_that_may_open_few_files_bears_fewer(monkeypatch):
    monkeypatch.setattr(connections_module.resource, "getrlimit", lambda kind: (64, 64))

    assert Connections(4096).most == 32
