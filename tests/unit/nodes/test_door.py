"""How long the master's door waits for a first word, with a clock and links in memory."""

from __future__ import annotations

import pytest

from concurro.nodes.door import CHECK_PERIOD, STRANGER_PATIENCE, Door
from concurro.nodes.tunnels import INSIDE
from concurro.wire.messages import Kind, pack_message, unpack_message
from tests.support.messages import hello_body


class Clock:
    """A loop whose time passes by hand."""

    def __init__(self):
        self.time = 100.0
        self.timers = []

    def now(self):
        return self.time

    def after(self, delay, callback):
        timer = Timer(self.time + delay, callback)
        self.timers.append(timer)
        return timer

    def request_flush(self, callback):
        callback()

    def pass_time(self, seconds):
        """Let so many seconds pass, timer by timer [s]."""
        until = self.time + seconds
        while due := [timer for timer in self.timers if timer.when <= until]:
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.time = timer.when
            if timer.callback is not None:
                timer.callback()
        self.time = until


class Timer:
    """A call that is due."""

    def __init__(self, when, callback):
        self.when = when
        self.callback = callback

    def cancel(self):
        self.callback = None


class Link:
    """A connection that notes what is sent."""

    ordered = True
    identity = INSIDE
    fault = None
    peer = "somebody"

    def __init__(self):
        self.sent = []
        self.closed = False

    def send(self, frames):
        self.sent.append(unpack_message(list(frames)))

    def close(self):
        self.closed = True

    def hear(self, kind, body, seq=0):
        """Deliver a message."""
        self.on_message([pack_message(kind, body, seq)])


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
