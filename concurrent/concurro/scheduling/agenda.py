"""Which systems are to be looked at: never all of them.

    something happened to a system --> note ---+
                                               +--> take(now) --> those, each once
    a deadline of a system passed  --> arm  ---+

A system that is forgotten here waits for ever, so whoever touches a system notes it; one
too often costs a look.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Agenda:
    """The numbers of systems that are due, and when others will be.

    Loop thread only.
    """

    def __init__(self) -> None:
        self._due: set[int] = set()
        self._deadlines: list[tuple[float, int]] = []
        self._armed: dict[int, float] = {}

    def note(self, number: int) -> None:
        """Look at a system in the next turn."""
        self._due.add(number)

    def note_all(self, numbers: Iterable[int]) -> None:
        """Look at systems in the next turn."""
        self._due.update(numbers)

    def arm(self, number: int, when: float | None) -> None:
        """Look at a system once a time has passed, monotonic [s]; None for never.

        An earlier time that it was armed for stays: it is looked at then, too.
        """
        if when is None or when >= self._armed.get(number, float("inf")):
            return
        self._armed[number] = when
        heapq.heappush(self._deadlines, (when, number))

    def take(self, now: float) -> list[int]:
        """Return what is due, in the order of their numbers, and start anew."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] < now:
            when, number = heapq.heappop(deadlines)
            if self._armed.get(number) == when:
                del self._armed[number]
                self._due.add(number)
        due = sorted(self._due)
        self._due.clear()
        return due

    @property
    def next_time(self) -> float | None:
        """The first time that was armed [s], or one before; None for none."""
        return self._deadlines[0][0] if self._deadlines else None

    def drop(self, number: int) -> None:
        """Forget a system."""
        self._due.discard(number)
        self._armed.pop(number, None)
