"""A loop whose time passes by hand, and links in memory."""

from __future__ import annotations

from concurro.nodes.tunnels import INSIDE
from concurro.wire.messages import pack_message, unpack_message


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

    identity = INSIDE
    fault = None
    peer = "somebody"

    def __init__(self, *, ordered=True):
        self.ordered = ordered
        self.sent = []
        self.closed = False

    def send(self, frames):
        self.sent.append(unpack_message(list(frames)))

    def close(self):
        self.closed = True

    def hear(self, kind, body, seq=0):
        """Deliver a message."""
        self.on_message([pack_message(kind, body, seq)])
