"""Prefer the slave that finishes most: a strategy in a file."""

from typing import Any

from concurro import Component, FloatOption, ITaskScheduleStrategy, implementer


@implementer(ITaskScheduleStrategy)
class FastestFirst(Component):
    """Prefer the slave that finished most tasks per second lately."""

    name = "fastest-first"
    half_life = FloatOption(30.0, "Half-life of the measured rate [s].", minimum=0.001)

    def setup(self, scheduler: Any, master: Any) -> None:
        """Learn whose slaves are rated; nothing was measured yet."""
        self._master = master
        self._ratings: dict[str, float] = {}
        self._rates: dict[str, float] = {}
        self._seen: dict[str, tuple[float, int, bool]] = {}  # time, attempts finished, busy

    def rate(self, slave: Any) -> float:
        """Return how long the slave needs for one task more than it holds [s]."""
        now = self._master.now()
        rate = self._rates.get(slave.id, float(slave.workers))
        since, finished, was_busy = self._seen.get(slave.id, (now, slave.finished, False))
        if was_busy and now > since:
            kept = 0.5 ** ((now - since) / self.half_life)
            rate = kept * rate + (1 - kept) * (slave.finished - finished) / (now - since)
        self._rates[slave.id] = rate
        self._seen[slave.id] = (now, slave.finished, bool(slave.leases))
        self._ratings[slave.id] = (len(slave.leases) + 1) / max(rate, 1e-9)
        return self._ratings[slave.id]

    def get_next_slave(self, task: Any = None, slaves: Any = None) -> str | None:
        """Return the slave that would finish one more task first."""
        known = self._master.slaves
        candidates = [one for one in (known if slaves is None else slaves) if one in known and one in self._ratings]
        return min(candidates, key=self._ratings.__getitem__, default=None)
