"""Chunks of blobs that a lost connection took along, with a clock and links in memory."""

from __future__ import annotations

import pytest

from concurro.nodes.peer import DATA_LINK_PATIENCE, Peer
from concurro.wire.schema import Sender
from tests.unit.nodes.hand_clock import Clock, Link


class Ends:
    """A lasting session, and when it asked again for chunks."""

    def __init__(self, *, data_link=True):
        self.clock = Clock()
        self.link = Link(ordered=False)
        self.peer = Peer(self.clock, self.link, Sender.MASTER)
        self.peer.lasting = True
        if data_link:
            self.peer.bind_data(Link())
        self.asked = []
        self.peer.on_chunks_lost = lambda: self.asked.append(self.clock.now())

    def come_back(self):
        """Lose the connection, and have another."""
        self.link.on_closed("it broke")
        self.link = Link(ordered=False)
        self.peer.rebind(self.link, 0)


@pytest.fixture
def ends():
    return Ends()


def test_chunks_are_asked_for_again_although_no_data_link_comes(ends):
    ends.come_back()
    back = ends.clock.now()
    at_once = list(ends.asked)

    ends.clock.pass_time(3 * DATA_LINK_PATIENCE)

    assert at_once == []
    assert ends.asked == [back + DATA_LINK_PATIENCE]


def test_chunks_are_asked_for_once_when_a_data_link_comes(ends):
    ends.come_back()

    ends.peer.bind_data(Link())
    ends.clock.pass_time(3 * DATA_LINK_PATIENCE)

    assert len(ends.asked) == 1


def test_chunks_wait_for_a_connection(ends):
    ends.come_back()
    ends.link.on_closed("it broke again")
    ends.clock.pass_time(3 * DATA_LINK_PATIENCE)
    away = list(ends.asked)

    ends.come_back()
    ends.clock.pass_time(3 * DATA_LINK_PATIENCE)

    assert away == []
    assert len(ends.asked) == 1


def test_nothing_is_asked_for_again_where_chunks_had_no_link_of_their_own():
    ends = Ends(data_link=False)

    ends.come_back()
    ends.clock.pass_time(3 * DATA_LINK_PATIENCE)

    assert ends.asked == []
