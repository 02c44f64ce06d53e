"""How fast something counts up lately. Pure."""

from __future__ import annotations

from collections import deque

WINDOW = 15.0
"""What is older says nothing of the rate now, unless there is little else [s]."""

LEAST_STEPS = 8
"""So many are looked at however long ago they were: tasks of a minute have a rate too."""

LEAST_TIME = 1.0
"""After a shorter time nobody knows a rate [s]."""

SPACING = WINDOW / 64
"""Seconds between two counts that are remembered, at least [s]."""


class RateMeter:
    """The rate of a count that grows, over its last seconds.

    What stands still slows down with every look, so an estimate made from it grows.

    Args:
        now: Monotonic time [s].
        count: Of what there is at that time.
    """

    def __init__(self, now: float, count: int) -> None:
        self._seen: deque[tuple[float, int]] = deque([(now, count)])
        self._count = count

    def note(self, now: float, count: int) -> None:
        """Take a count; one that is smaller than before begins anew."""
        seen = self._seen
        if count < self._count:
            seen.clear()
            seen.append((now, count))
        self._count = count
        if count > seen[-1][1] and now - seen[-1][0] >= SPACING:
            seen.append((now, count))
        while len(seen) > 1 and seen[1][0] <= now - WINDOW and count - seen[1][1] >= LEAST_STEPS:
            seen.popleft()

    def rate(self, now: float) -> float | None:
        """Return how much it grows per second [1/s]; None when nobody knows yet."""
        began, before = self._seen[0]
        if now - began < LEAST_TIME or self._count <= before:
            return None
        return (self._count - before) / (now - began)
