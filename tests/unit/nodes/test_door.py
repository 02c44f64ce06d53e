"""How long the master's door waits for a first word, with a clock and links in memory."""

from __future__ import annotations

import pytest

from concurro.nodes.door import CHECK_PERIOD, STRANGER_PATIENCE, Door
from concurro.wire.messages import Kind
from tests.support.messages import hello_body
from tests.unit.nodes.hand_clock import Clock, Link


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def door(clock):
    door = Door(clock, 1, 60.0, lambda reason: None)
    door._check()
    return door


def test_a_stranger_who_says_nothing_is_sent_away(clock, door):
    link = Link()

    door.knock(link)
    clock.pass_time(STRANGER_PATIENCE + 2 * CHECK_PERIOD + 1.0)

    assert [message.body for message in link.sent if message.kind == Kind.REFUSED] == [
        ["hello", "nothing was said in time"]
    ]
    assert link.closed


def test_who_is_inside_a_job_may_say_its_first_word_whenever_its_code_asks_for_us(clock, door):
    link = Link()
    joined = []
    door.on_joined = lambda peer, role, name, facts: joined.append(peer.outer)

    door.knock(link, "the system of a callback")
    clock.pass_time(3600.0)
    link.hear(Kind.HELLO, hello_body("application", client_id="c"))

    assert joined == ["the system of a callback"]
    assert [message.kind for message in link.sent] == [Kind.WELCOME]


def test_who_comes_back_and_still_takes_nothing_is_said_to_be_full_again(clock, door):
    link, again, news = Link(ordered=False), Link(ordered=False), []
    door.on_full = lambda peer, full: news.append(full)
    door.on_back = lambda peer: news.append("back")
    door.knock(link)
    link.hear(Kind.HELLO, hello_body("application", client_id="c"), seq=1)
    (peer,) = door.peers.values()
    while peer.may_send():
        peer.send(Kind.BLOB_CHUNK, [bytes(32), 1 << 20, 0], [bytes(1 << 20)])
    clock.pass_time(2 * CHECK_PERIOD)
    link.on_closed("it broke")

    door.knock(again)
    again.hear(Kind.HELLO, [*hello_body("application", client_id="c")[:4], 1, 0, "north", {"client_id": "c"}])

    assert again.sent[0].kind == Kind.WELCOME
    assert news == [True, "back", True]
