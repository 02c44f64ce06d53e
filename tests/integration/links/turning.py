"""Turns a loop by hand, with a deadline for what it waits for; notes what links deliver."""

from __future__ import annotations

import time

from concurro.transport.loop import Loop

DEADLINE = 30.0


class Turner:
    """A loop and what waits for it.

    Attributes:
        loop: The loop.
    """

    def __init__(self):
        self.loop = Loop()

    def until(self, condition):
        """Turn until the condition holds."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            self.loop.turn(0.05)

    def settle(self):
        """Turn until nothing is ready any more."""
        for _ in range(5):
            self.loop.turn(0.0)


class Inbox:
    """What a link delivers."""

    def __init__(self, link):
        self.link = link
        self.messages = []
        self.closed = []
        link.on_message = lambda frames: self.messages.append([bytes(frame) for frame in frames])
        link.on_closed = self.closed.append
