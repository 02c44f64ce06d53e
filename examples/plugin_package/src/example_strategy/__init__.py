"""A strategy for Concurrent: fill the slave with most workers first."""

from typing import Any

from concurro import Component, FloatOption, ITaskScheduleStrategy, implementer


@implementer(ITaskScheduleStrategy)
class BigMachinesFirst(Component):
    """Prefer the slave with most workers until it holds enough."""

    name = "big-machines-first"
    fill = FloatOption(1.0, "Tasks per worker at which the next slave gets its share.", minimum=1.0)

    def setup(self, scheduler: Any, master: Any) -> None:
        """Learn whose slaves are rated."""
        self._master = master
        self._ratings: dict[str, float] = {}

    def rate(self, slave: Any) -> float:
        """Return how full the slave is; the larger of two equally full is better."""
        rounds = len(slave.leases) // max(1, int(self.fill * slave.workers))
        self._ratings[slave.id] = rounds + 1 / (1 + slave.workers)
        return self._ratings[slave.id]

    def get_next_slave(self, task: Any = None, slaves: Any = None) -> str | None:
        """Return the least full slave that may be chosen."""
        known = self._master.slaves
        candidates = [one for one in (known if slaves is None else slaves) if one in known and one in self._ratings]
        return min(candidates, key=self._ratings.__getitem__, default=None)
