"""The built-in strategies: who gets the next task.

    a slave's state changed ---> rate(slave) ---> a heap of ratings
    a task waits            ---> get_next_slave ---> the best slave that may be chosen

A rating that is out of date stays in the heap until it comes up; choosing costs
O(log slaves).
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Any

from concurro.interfaces import ITaskScheduleStrategy, implementer
from concurro.kernel import Component

if TYPE_CHECKING:
    from collections.abc import Collection

    from concurro.ids import SlaveRecord, TaskRecord


class RankedStrategy(Component):
    """Picks the slave of least rating; subclasses say what the rating is."""

    def setup(self, scheduler: Any, master: Any) -> None:  # noqa: ARG002 - the interface's signature
        """Learn whose slaves are rated."""
        self._master = master
        self._heap: list[tuple[float, int, str]] = []
        self._latest: dict[str, int] = {}
        self._order = itertools.count()

    def rating(self, slave: SlaveRecord) -> float:
        """Return the slave's rating; less is better."""
        raise NotImplementedError

    def rate(self, slave: SlaveRecord) -> float:
        """Rate a slave whose state changed."""
        rating = self.rating(slave)
        entry = next(self._order)
        self._latest[slave.id] = entry
        heapq.heappush(self._heap, (rating, entry, slave.id))
        if len(self._heap) > 64 + 8 * len(self._master.slaves):
            self._compact()
        return rating

    def get_next_slave(self, task: TaskRecord | None = None, slaves: Collection[str] | None = None) -> str | None:  # noqa: ARG002
        """Return the best slave that may be chosen."""
        heap, latest, known = self._heap, self._latest, self._master.slaves
        skipped = []
        chosen = None
        while heap:
            _, entry, slave_id = heap[0]
            if latest.get(slave_id) != entry or slave_id not in known:
                heapq.heappop(heap)
            elif slaves is None or slave_id in slaves:
                chosen = slave_id
                break
            else:
                skipped.append(heapq.heappop(heap))
        for item in skipped:
            heapq.heappush(heap, item)
        return chosen

    def _compact(self) -> None:
        known = self._master.slaves
        self._latest = {slave_id: entry for slave_id, entry in self._latest.items() if slave_id in known}
        self._heap = [item for item in self._heap if self._latest.get(item[2]) == item[1]]
        heapq.heapify(self._heap)


@implementer(ITaskScheduleStrategy)
class LeastLoaded(RankedStrategy):
    """Prefer the slave with the fewest tasks per worker."""

    name = "least-loaded"

    def rating(self, slave: SlaveRecord) -> float:
        """Return tasks per worker."""
        return len(slave.leases) / max(1, slave.workers)


@implementer(ITaskScheduleStrategy)
class RoundRobin(RankedStrategy):
    """Take the slaves in turn, whatever their load."""

    name = "round-robin"

    def setup(self, scheduler: Any, master: Any) -> None:
        """Start with the slave that joined first."""
        super().setup(scheduler, master)
        self._turns = itertools.count()
        self._turn: dict[str, int] = {}

    def rating(self, slave: SlaveRecord) -> float:
        """Return the slave's place in the circle."""
        if slave.id not in self._turn:
            self._turn[slave.id] = next(self._turns)
        return float(self._turn[slave.id])

    def _compact(self) -> None:
        super()._compact()
        self._turn = {slave_id: turn for slave_id, turn in self._turn.items() if slave_id in self._latest}

    def get_next_slave(self, task: TaskRecord | None = None, slaves: Collection[str] | None = None) -> str | None:
        """Return the slave whose turn is longest ago, and put it at the end."""
        chosen = super().get_next_slave(task, slaves)
        if chosen is not None:
            self._turn[chosen] = next(self._turns)
            record = self._master.slaves[chosen]
            record.rating = self.rate(record)
        return chosen
