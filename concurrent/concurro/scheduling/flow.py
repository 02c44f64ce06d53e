"""The numbered inputs of one host, and how much goes into each.

    finished tasks --+
    room to pull   --+--> IN n ---> host ---> OUT n ---> acknowledge what IN n carried
    cancel, view   --+

At most two inputs are under way, so that the host never waits for the master, and what
finishes meanwhile becomes the next batch. The size of a batch follows how long the host
takes for one: callbacks of a millisecond get few tasks at once, quick ones thousands.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

INPUTS_UNDER_WAY = 2

FIRST_UNITS = 64
MOST_UNITS = 8192
QUICK = 0.01
SLOW = 0.025


class InputFlow:
    """What was sent to a host, and what waits to be sent.

    Attributes:
        number: Of the last input.
        sent_at: When that was sent [s].
        waits_until: What finished waits until then for more, though the host could have it now [s]; None: it does not.
    """

    def __init__(self) -> None:
        self.number = 0
        self.sent_at = -inf
        self.waits_until: float | None = None
        self.finished: list[list[Any]] = []
        self.cancel: str | None = None
        self.exhausted = False
        self.units = FIRST_UNITS
        self._unsent: list[tuple[str, int] | None] = []  # leases of what is finished, as long
        self._under_way: deque[_Input] = deque()
        self._answered = False

    def add(self, entries: list[list[Any]], leases: Sequence[tuple[str, int] | None] = ()) -> None:
        """Queue final tasks, with leases to acknowledge once they were consumed.

        One for each, None where no slave told of it; empty: none of them.
        """
        self.finished.extend(entries)
        self._unsent.extend(leases or [None] * len(entries))

    @property
    def is_started(self) -> bool:
        """Whether the host has answered START, or more than that."""
        return self._answered

    def working_on(self) -> tuple[int, int, int] | None:
        """Return number, finished tasks and pull of the oldest unanswered input.

        None: there is none.
        """
        oldest = self._under_way[0] if self._under_way else None
        return None if oldest is None else (oldest.number, oldest.entries, oldest.pull)

    @property
    def pulling(self) -> int:
        """How many tasks the unanswered inputs ask for."""
        return sum(sent.pull for sent in self._under_way)

    @property
    def idle(self) -> bool:
        """Whether the host has answered everything."""
        return not self._under_way

    def oldest(self) -> float | None:
        """Return when the oldest unanswered input was sent [s]."""
        return self._under_way[0].sent if self._under_way else None

    def next_input(self, now: float, room: int, *, must_pull: bool) -> tuple[int, list[list[Any]], int] | None:
        """Return `(n, finished, tasks to pull)` of the next input, if one is due.

        Args:
            now: Monotonic time [s].
            room: Tasks that may still become open.
            must_pull: Whether nothing is open, so that only a pull moves the system on.
        """
        if len(self._under_way) >= INPUTS_UNDER_WAY:
            return None
        pull = min(room, self.units)
        wanted = pull > 0 and self.idle and (must_pull or not self.exhausted)
        if not (self.finished or wanted or self.cancel is not None):
            return None
        units = self.units
        entries, self.finished = self.finished[:units], self.finished[units:]
        leases, self._unsent = self._unsent[:units], self._unsent[units:]
        self.number += 1
        self.sent_at = now
        self._under_way.append(_Input(self.number, now, pull, leases))
        return self.number, entries, pull

    def started(self, now: float) -> None:
        """Note that START, the input of number 0, is under way."""
        self._under_way.append(_Input(0, now, 0, []))

    def answered(self, number: int, emitted: int, now: float) -> list[tuple[str, int] | None]:
        """Note OUT `number`; return the leases to acknowledge."""
        acknowledged: list[tuple[str, int] | None] = []
        self._answered = True
        while self._under_way and self._under_way[0].number <= number:
            sent = self._under_way.popleft()
            acknowledged += sent.leases
            if sent.number == number:
                self._adapt(now - sent.sent, sent.entries + emitted)
        return acknowledged

    def rest(self) -> list[tuple[str, int] | None]:
        """Return every lease that was not acknowledged: the system ended."""
        left: list[tuple[str, int] | None] = []
        for sent in self._under_way:
            left += sent.leases
            sent.leases = []
        left += self._unsent
        self._unsent = []
        return left

    def _adapt(self, took: float, units: int) -> None:
        if took < QUICK and units * 2 >= self.units:
            self.units = min(MOST_UNITS, self.units * 2)
        elif took > SLOW and units:
            self.units = max(1, min(self.units, units) // 2)


class _Input:
    __slots__ = ("entries", "leases", "number", "pull", "sent")

    def __init__(self, number: int, sent: float, pull: int, leases: list[tuple[str, int] | None]) -> None:
        self.number = number
        self.sent = sent
        self.pull = pull
        self.entries = len(leases)
        self.leases = leases
