"""Slots that are lent: a task that waits for others needs none. Pure.

    runs --waits--> is one left to lend? --yes--> another task runs in its place
                         |                          |
                         no: it waits and keeps   goes on: its slot is back; the extra worker
                         its slot, until one is   rests, and ends after a while without use
                         left, or until nothing
                         runs any more, here or
                         elsewhere: refused

Without it, tasks that wait for tasks of their own would fill every slot, and nothing could
run that they wait for. The limit keeps the processes bounded. At the limit nobody is refused as
long as something runs, or has just ended: whoever waits for that is about to go on. What runs
elsewhere the master knows, so it is asked.
"""

from __future__ import annotations

LENT_PER_WORKER = 4
"""A slave lends at most so many slots for each of its workers."""

REFUSE_AFTER = 2.0
"""When every task of a slave waits for so long, and nothing more can be lent, its master is asked [s]."""

REST_LIMIT = 2.0
"""An extra worker that nobody needs ends after so long: its imports may be of use again [s]."""


class Lending:
    """Which workers' tasks wait, and since when there are extra workers.

    Attributes:
        waiting: Ids of the workers whose task waits, its slot lent.
        asking: Ids of those whose task waits and would lend its slot, the first to ask first.
        used: Whether any slot was ever lent.
        stuck_since: Since when nothing can run here but what is not lent yet [s]; None when something can.
        surplus_since: Since when there are more workers than slots [s]; None when there are not.
    """

    def __init__(self) -> None:
        self.waiting: set[int] = set()
        self.asking: dict[int, None] = {}
        self.used = False
        self.stuck_since: float | None = None
        self.surplus_since: float | None = None

    def ask(self, worker_id: int) -> None:
        """Notice that a worker's task waits; `decide` answers."""
        self.asking[worker_id] = None

    def decide(self, workers: int, running: int, now: float) -> tuple[list[int], bool]:
        """Return whose slots are lent, and whether to ask the master.

        It is asked now, and again after a while, whether anything runs elsewhere.

        Args:
            workers: How many tasks run at once.
            running: How many run and do not wait.
            now: Monotonic time [s].
        """
        granted: list[int] = []
        while self.asking and len(self.waiting) < LENT_PER_WORKER * workers:
            worker_id = next(iter(self.asking))
            del self.asking[worker_id]
            self.waiting.add(worker_id)
            self.used = True
            granted.append(worker_id)
        if granted or running or not self.asking or len(self.asking) < workers:
            self.stuck_since = None
        elif self.stuck_since is None:
            self.stuck_since = now
        elif self.stuck_since + REFUSE_AFTER <= now:
            self.stuck_since = now
            return granted, True
        return granted, False

    def refuse(self) -> int | None:
        """Return who is refused, the last to ask.

        None: something runs here again, or can.
        """
        if self.stuck_since is None or not self.asking:
            return None
        self.stuck_since = None
        return self.asking.popitem()[0]

    def end(self, worker_id: int) -> bool:
        """Take a slot back; return whether it was lent."""
        if worker_id not in self.waiting:
            return False
        self.waiting.discard(worker_id)
        return True

    def withdraw(self, worker_id: int) -> bool:
        """Drop what a worker asked for; return whether it had no answer yet."""
        return self.asking.pop(worker_id, self) is None

    def times(self) -> list[float]:
        """Return when something may be due [s]."""
        due = (self.stuck_since, REFUSE_AFTER), (self.surplus_since, REST_LIMIT)
        return [since + limit for since, limit in due if since is not None]

    def rests_since(self, surplus: int, now: float) -> float | None:
        """Return since when there are extra workers [s]; None: there are none."""
        if surplus <= 0:
            self.surplus_since = None
        elif self.surplus_since is None:
            self.surplus_since = now
        return self.surplus_since
