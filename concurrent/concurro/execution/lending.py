"""Slots that are lent: a task that waits for others needs none. Pure.

    runs --waits--> may it lend? --yes--> another task runs in its place
                         |                  |
                         no: told so     goes on: its slot is back; the extra worker
                                         rests, and ends after a while without use

Without it, tasks that wait for tasks of their own would fill every slot, and nothing could
run that they wait for. The limit keeps the processes bounded.
"""

from __future__ import annotations

LENT_PER_WORKER = 4
"""A slave lends at most so many slots for each of its workers."""

REST_LIMIT = 2.0
"""An extra worker that nobody needs ends after so long: its imports may be of use again [s]."""


class Lending:
    """Which workers' tasks wait, and since when there are extra workers.

    Attributes:
        waiting: Ids of the workers whose task waits.
        used: Whether any slot was ever lent.
        surplus_since: Since when there are more workers than slots [s]; None when there are not.
    """

    def __init__(self) -> None:
        self.waiting: set[int] = set()
        self.used = False
        self.surplus_since: float | None = None

    def grant(self, worker_id: int, workers: int) -> bool:
        """Lend the slot of a worker's task, if that is within the limit."""
        if worker_id not in self.waiting and len(self.waiting) >= LENT_PER_WORKER * workers:
            return False
        self.waiting.add(worker_id)
        self.used = True
        return True

    def end(self, worker_id: int) -> bool:
        """Take a slot back; return whether it was lent."""
        if worker_id not in self.waiting:
            return False
        self.waiting.discard(worker_id)
        return True

    def rests_since(self, surplus: int, now: float) -> float | None:
        """Return since when there are extra workers [s]; None: there are none."""
        if surplus <= 0:
            self.surplus_since = None
        elif self.surplus_since is None:
            self.surplus_since = now
        return self.surplus_since
