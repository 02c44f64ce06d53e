"""Prefer the slave that needs least for a task."""

from typing import Any

from concurro import Component, ITaskScheduleStrategy, implementer


@implementer(ITaskScheduleStrategy)
class QuickestFirst(Component):
    """Prefer the slave whose tasks took least; one without a measure first."""

    name = "quickest-first"

    def setup(self, scheduler: Any, master: Any) -> None:
        """Learn whose slaves are rated."""
        self._slaves = master.slaves
        self._ratings: dict[str, float] = {}

    def rate(self, slave: Any) -> float:
        """Return how long a task takes there [s], more if it holds others."""
        mean = sum(slave.durations.values()) / max(1, len(slave.durations))
        self._ratings[slave.id] = mean * (1 + len(slave.leases) / slave.workers)
        return self._ratings[slave.id]

    def get_next_slave(self, task: Any = None, slaves: Any = None) -> str | None:
        """Return the slave of least rating among those that may be chosen."""
        candidates = [one for one in (self._slaves if slaves is None else slaves) if one in self._slaves]
        return min(candidates, key=self._ratings.__getitem__, default=None)
