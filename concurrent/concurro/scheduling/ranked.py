"""A strategy by rating: the slave of least rating that may be chosen.

    a slave's state changed ---> rate(slave) ---> a heap of ratings
    a task waits            ---> best(...)   ---> the best slaves that may be chosen

A rating that is out of date stays in the heap until it comes up, or until there are too
many. Choosing costs O(log slaves): where many slaves with a better rating may not be
chosen, the heap and those that may be chosen are searched side by side, and whichever
search is through first has the answer.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Any

from concurro.kernel import Component

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from concurro.records import SlaveRecord, TaskRecord

FREE_STEPS = 8
"""Slaves that may not be chosen are passed over one by one, so many of them."""

STRIDE = 16
"""Then, for each further one, so many of those that may be chosen are looked at."""


class RankedStrategy(Component):
    """Picks the slave of least rating; subclasses say what the rating is."""

    def setup(self, scheduler: Any, master: Any) -> None:  # noqa: ARG002 - the interface's signature
        """Learn whose slaves are rated."""
        self._master = master
        self._heap: list[tuple[float, int, str]] = []
        self._latest: dict[str, tuple[float, int, str]] = {}
        self._order = itertools.count()

    def rating(self, slave: SlaveRecord) -> float:
        """Return the slave's rating; less is better."""
        raise NotImplementedError

    def forget(self, slave_id: str) -> None:
        """Forget a slave that left; called before its id is rated again."""

    def rate(self, slave: SlaveRecord) -> float:
        """Rate a slave whose state changed."""
        rating = self.rating(slave)
        latest = self._latest.get(slave.id)
        if latest is None or latest[0] != rating:
            self._enter(slave.id, rating)
        return rating

    def get_next_slave(self, task: TaskRecord | None = None, slaves: Collection[str] | None = None) -> str | None:  # noqa: ARG002
        """Return the best slave that may be chosen."""
        if self._heap:
            first = self._heap[0]
            slave_id = first[2]
            allowed = slaves is None or slave_id in slaves
            if allowed and self._latest.get(slave_id) is first and slave_id in self._master.slaves:
                return slave_id
        chosen, _ = self.best(slaves)
        return chosen[0] if chosen else None

    def best(self, slaves: Collection[str] | None, count: int = 1) -> tuple[list[str], list[str]]:
        """Return the best slaves, best first.

        Args:
            slaves: Ids that may be chosen; None for all.
            count: How many at most.

        Returns:
            Those that may be chosen, and those passed over before the last of them.
        """
        heap, latest, known = self._heap, self._latest, self._master.slaves
        chosen: list[str] = []
        passed: list[str] = []
        taken: list[tuple[float, int, str]] = []
        others: Iterator[str] | None = None
        seen: list[str] = []
        while heap and len(chosen) < count:
            slave_id = heap[0][2]
            if latest.get(slave_id) is not heap[0]:
                heapq.heappop(heap)
                continue
            if slave_id not in known:
                heapq.heappop(heap)
                self._drop(slave_id)
                continue
            if slaves is None or slave_id in slaves:
                chosen.append(slave_id)
                if len(chosen) == count:
                    break
            else:
                passed.append(slave_id)
                if len(passed) > FREE_STEPS:
                    others = iter(slaves) if others is None else others
                    stride = list(itertools.islice(others, STRIDE))
                    seen += [other for other in stride if other in latest and other in known]
                    if len(stride) < STRIDE:
                        chosen = heapq.nsmallest(count, seen, key=latest.__getitem__)
                        break
            taken.append(heapq.heappop(heap))
        for item in taken:
            heapq.heappush(heap, item)
        return chosen, passed

    def _enter(self, slave_id: str, rating: float) -> None:
        heap, outdated = self._heap, self._latest.get(slave_id)
        entry = self._latest[slave_id] = (rating, next(self._order), slave_id)
        if heap and heap[0] is outdated:
            heapq.heapreplace(heap, entry)
            return
        heapq.heappush(heap, entry)
        if len(heap) > 64 + 4 * len(self._master.slaves):
            self._compact()

    def _drop(self, slave_id: str) -> None:
        del self._latest[slave_id]
        self.forget(slave_id)

    def _compact(self) -> None:
        known = self._master.slaves
        for slave_id in [slave_id for slave_id in self._latest if slave_id not in known]:
            self._drop(slave_id)
        self._heap = list(self._latest.values())
        heapq.heapify(self._heap)
