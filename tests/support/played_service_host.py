"""A master around a service, played by a test: its loop, its clock, its journal."""

from __future__ import annotations

import logging
from concurrent.futures import Future

import msgpack


class PlayedTimer:
    """Something that happens later."""

    def __init__(self, due, callback):
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self):
        """Let it not happen."""
        self.cancelled = True


class PlayedServiceHost:
    """What a service of the master sees; rows come to the disk when the test says so.

    Args:
        disk: What the journal has, as packed values; None for a master without one.
    """

    def __init__(self, disk=None):
        self.log = logging.getLogger("played")
        self.durable = disk is not None
        self.disk = {} if disk is None else disk
        self.kept = {key: msgpack.unpackb(value) for key, value in self.disk.items()}
        self.ending = False
        self.time = 0.0
        self._timers = []
        self._written = []

    def now(self):
        """Return the time."""
        return self.time

    def after(self, delay, callback):
        """Call later."""
        timer = PlayedTimer(self.time + delay, callback)
        self._timers.append(timer)
        return timer

    def keep_all(self, values, done=None):
        """Write values, all or none, some time."""
        self._written.append(({key: msgpack.packb(value) for key, value in values.items()}, done))

    def commit(self, count=None):
        """Let what was written first come to the disk; all of it without a count."""
        count = len(self._written) if count is None else count
        arrived, self._written = self._written[:count], self._written[count:]
        nothing = msgpack.packb(None)
        for values, done in arrived:
            for key, value in values.items():
                self.disk.pop(key, None)
                if value != nothing:
                    self.disk[key] = value
            if done is not None:
                done()

    def pass_time(self, seconds):
        """Let time pass, and what is due happen."""
        self.time += seconds
        while due := [timer for timer in self._timers if timer.due <= self.time]:
            self._timers = [timer for timer in self._timers if timer not in due]
            for timer in sorted(due, key=lambda timer: timer.due):
                if not timer.cancelled:
                    timer.callback()


class PlayedPeer:
    """Somebody who calls."""

    name = "peer"


def answer_of(called):
    """Return what a service answered, by a future or at once; None while it has not."""
    if isinstance(called, Future):
        return called.result(0) if called.done() else None
    return called
