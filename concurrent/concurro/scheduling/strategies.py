"""The strategies that look at the load alone: who gets the next task."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from concurro.interfaces import ITaskScheduleStrategy, implementer
from concurro.kernel import Component
from concurro.scheduling.ranked import RankedStrategy

if TYPE_CHECKING:
    from collections.abc import Collection

    from concurro.records import SlaveRecord, TaskRecord

DRAWS = 16
"""How often `two-choices` draws before it looks at those that may be chosen."""

LOOKS = 32
"""At so many of those it looks then."""


@implementer(ITaskScheduleStrategy)
class LeastLoaded(RankedStrategy):
    """Prefer the slave with the fewest tasks per worker."""

    name = "least-loaded"

    def rating(self, slave: SlaveRecord) -> float:
        """Return tasks per worker."""
        return tasks_per_worker(slave)


@implementer(ITaskScheduleStrategy)
class RoundRobin(RankedStrategy):
    """Take the slaves in turn, whatever their load."""

    name = "round-robin"

    def setup(self, scheduler: Any, master: Any) -> None:
        """Start with the slave that joined first."""
        super().setup(scheduler, master)
        self._turns = itertools.count()

    def rating(self, slave: SlaveRecord) -> float:
        """Return the slave's place in the circle."""
        latest = self._latest.get(slave.id)
        return float(next(self._turns)) if latest is None else latest[0]

    def get_next_slave(self, task: TaskRecord | None = None, slaves: Collection[str] | None = None) -> str | None:
        """Return the slave whose turn is longest ago, and put it at the end."""
        chosen = super().get_next_slave(task, slaves)
        if chosen is not None:
            self._enter(chosen, float(next(self._turns)))
        return chosen


@implementer(ITaskScheduleStrategy)
class TwoChoices(Component):
    """Prefer the less loaded of two slaves drawn at random.

    Choosing costs O(1), and the largest load stays close to the mean one.

    Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing",
    IEEE Transactions on Parallel and Distributed Systems 12(10), 2001, section 1.
    """

    name = "two-choices"

    def setup(self, scheduler: Any, master: Any) -> None:  # noqa: ARG002 - the interface's signature
        """Learn whose slaves are drawn."""
        self._master = master
        self._ids: list[str] = []
        self._places: dict[str, int] = {}

    def rate(self, slave: SlaveRecord) -> float:
        """Return tasks per worker; from now on the slave may be drawn."""
        if slave.id not in self._places:
            self._places[slave.id] = len(self._ids)
            self._ids.append(slave.id)
            if len(self._ids) > 64 + 2 * len(self._master.slaves):
                self._ids = [slave_id for slave_id in self._ids if slave_id in self._master.slaves]
                self._places = {slave_id: place for place, slave_id in enumerate(self._ids)}
        return tasks_per_worker(slave)

    def get_next_slave(self, task: TaskRecord | None = None, slaves: Collection[str] | None = None) -> str | None:  # noqa: ARG002
        """Return the less loaded of two that may be chosen."""
        known = self._master.slaves
        drawn = self._draw(slaves) or self._look(slaves)
        return min(drawn, key=lambda slave_id: tasks_per_worker(known[slave_id]), default=None)

    def _draw(self, slaves: Collection[str] | None) -> list[str]:
        """Return up to two slaves, each as likely as any other."""
        ids, known, draw = self._ids, self._master.slaves, self._master.random.random
        drawn: list[str] = []
        for _ in range(DRAWS):
            if not ids:
                break
            slave_id = ids[int(draw() * len(ids))]
            if slave_id not in known:
                self._drop(slave_id)
            elif slave_id not in drawn and (slaves is None or slave_id in slaves):
                drawn.append(slave_id)
                if len(drawn) == 2:  # noqa: PLR2004 - the two choices
                    break
        return drawn

    def _look(self, slaves: Collection[str] | None) -> list[str]:
        """Return up to two of the first slaves that may be chosen, at random.

        Hardly any may be chosen when this is needed.
        """
        known = self._master.slaves
        ids = (slave_id for slave_id in (self._ids if slaves is None else slaves) if slave_id in known)
        seen = list(itertools.islice((slave_id for slave_id in ids if slave_id in self._places), LOOKS))
        return seen if len(seen) < 2 else self._master.random.sample(seen, 2)  # noqa: PLR2004 - the two choices

    def _drop(self, slave_id: str) -> None:
        place, last = self._places.pop(slave_id), self._ids.pop()
        if last != slave_id:
            self._ids[place] = last
            self._places[last] = place


def tasks_per_worker(slave: SlaveRecord) -> float:
    """Return how many tasks a slave holds for each of its workers."""
    return len(slave.leases) / max(1, slave.workers)
