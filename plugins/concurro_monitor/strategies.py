"""Which worker gets the next tessera.

    round-robin     one after the other
    least-loaded    the fewest calls that have not ended
    memory-aware    the most memory that is free

What a worker does is told by its reports, at most ten a second; what was placed since is reckoned
with as well, so that many tesserae at once spread.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from concurro import Attribute, Component, Interface, implementer
from concurro_monitor.network import indices_of
from concurro_monitor.records import TESSERA_ENDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concurro_monitor.records import MonitoredNode, MonitoredTask, MonitoredTessera

MEMORY_GRAIN = 64 * 1024 * 1024
"""Workers whose free memory differs by less are alike; a new tessera may take as much [B]."""


class IMonitorStrategy(Interface):
    """Chooses workers for tesserae, in the master's loop.

    It must be quick, and never wait. What it raises is logged, and another worker than one that lives
    never taken: the first one is, then.
    """

    name = Attribute("How `[monitor] strategy` names it (str).")
    monitor = Attribute("What it chooses for: `workers` are the uids of those that live, in order.")

    def update_node(updated: MonitoredNode) -> None:
        """Learn the state of a node.

        It, or a worker of it, came, left, or told its figures.
        """

    def update_task(updated: MonitoredTask) -> None:
        """Learn the state of a task."""

    def update_tessera(updated: MonitoredTessera) -> None:
        """Learn the state of a tessera: placed, collected, lost."""

    def select_worker(sender_id: str) -> str:
        """Return the uid of one of `monitor.workers`.

        Of which there is at least one.
        """


class MonitorStrategy(Component):
    """What strategies have in common.

    A record of the nodes that they were told of.

    Args:
        monitor: What it chooses for; set later by the monitor that was configured with it.

    Attributes:
        nodes: Uid to node, of those that live.
    """

    def __init__(self, monitor: Any = None) -> None:
        super().__init__()
        self.monitor = monitor
        self.nodes: dict[str, MonitoredNode] = {}

    @property
    def workers(self) -> Sequence[str]:
        """Uids of the workers that live, in order."""
        listed = getattr(self.monitor, "workers", None)
        if listed:
            return [worker if isinstance(worker, str) else worker.uid for worker in listed]
        return sorted((uid for node in self.nodes.values() for uid in node.sub_resources), key=indices_of)

    def figures_of(self, worker: str) -> dict[str, Any]:
        """Return what a worker told last; empty before its first report."""
        for node in self.nodes.values():
            found = node.sub_resources.get(worker)
            if found is not None:
                return found.facts
        return {}

    def update_node(self, updated: MonitoredNode) -> None:
        """Keep the state of a node; forget one that left."""
        if updated.state == "left":
            self.nodes.pop(updated.uid, None)
        else:
            self.nodes[updated.uid] = updated

    def update_task(self, updated: MonitoredTask) -> None:
        """Learn the state of a task."""

    def update_tessera(self, updated: MonitoredTessera) -> None:
        """Learn the state of a tessera."""

    def select_worker(self, sender_id: str) -> str:
        """Return the uid of a worker."""
        raise NotImplementedError


@implementer(IMonitorStrategy)
class RoundRobin(MonitorStrategy):
    """One worker after the other, in the order in which they came."""

    name = "round-robin"

    def __init__(self, monitor: Any = None) -> None:
        super().__init__(monitor)
        self._next = 0

    def select_worker(self, sender_id: str) -> str:  # noqa: ARG002 - the contract's signature
        """Return the uid of the next worker."""
        workers = self.workers
        chosen = workers[self._next % len(workers)]
        self._next += 1
        return chosen


class _Reckoning(MonitorStrategy):
    """Counts what was placed on each worker.

    And what of it since its last report.
    """

    def __init__(self, monitor: Any = None) -> None:
        super().__init__(monitor)
        self._tesserae: Counter[str] = Counter()
        self._place_of: dict[str, str] = {}
        self._fresh: Counter[str] = Counter()
        self._reports: dict[str, int] = {}

    def update_node(self, updated: MonitoredNode) -> None:
        """Keep it, and what its workers told.

        What was placed on one before its newest report is in its figures.
        """
        super().update_node(updated)
        for uid, worker in updated.sub_resources.items():
            reports = worker.facts.get("reports", 0)
            if reports != self._reports.get(uid):
                self._reports[uid] = reports
                self._fresh.pop(uid, None)

    def update_tessera(self, updated: MonitoredTessera) -> None:
        """Count it where it is."""
        before = self._place_of.pop(updated.uid, None)
        if before is not None:
            self._tesserae[before] -= 1
        if updated.state in TESSERA_ENDS:
            return
        if before != updated.worker:
            self._fresh[updated.worker] += 1
        self._place_of[updated.uid] = updated.worker
        self._tesserae[updated.worker] += 1

    def select_worker(self, sender_id: str) -> str:  # noqa: ARG002 - the contract's signature
        """Return the uid of the worker with the least rating.

        The first of several.
        """
        return min(self.workers, key=self.rate)

    def rate(self, worker: str) -> tuple[float, ...]:
        """Return the rating of a worker: less is better."""
        raise NotImplementedError


@implementer(IMonitorStrategy)
class LeastLoaded(_Reckoning):
    """The worker with the fewest calls that have not ended.

    A tessera that was just placed counts as one; then the one with the fewest tesserae.
    """

    name = "least-loaded"

    def rate(self, worker: str) -> tuple[float, ...]:
        """Return its calls, and its tesserae."""
        facts = self.figures_of(worker)
        unfinished = facts.get("running", 0) + facts.get("queued", 0)
        return unfinished + self._fresh[worker], self._tesserae[worker]


@implementer(IMonitorStrategy)
class MemoryAware(_Reckoning):
    """The worker with the most free memory.

    Free is what its limit, or its machine, leaves beside what it holds and has promised to calls. Of
    those that are alike, the one that holds least, then the one with the fewest tesserae.
    """

    name = "memory-aware"

    def rate(self, worker: str) -> tuple[float, ...]:
        """Return its free memory, negative, and what it holds, both in grains.

        And its tesserae.

        Before its first report a worker holds next to nothing.
        """
        facts = self.figures_of(worker)
        if "memory_limit" not in facts:
            return float("-inf"), 0, self._tesserae[worker]
        fresh = self._fresh[worker]
        free, held = free_memory(facts) // MEMORY_GRAIN, facts["memory"] // MEMORY_GRAIN
        return fresh - free, held + fresh, self._tesserae[worker]


def free_memory(facts: dict[str, Any]) -> float:
    """Return how much memory a worker has left [B], as its report says."""
    left = facts["memory_limit"] - facts["memory"]
    return float(min(left, facts.get("memory_available", left)))
