"""Straggler copies: an attempt that takes far too long runs once more.

Only where workers have nothing else to do, for systems that ask for it, and never for
tasks that may run at most once, or that could take one worker too many with them: both
attempts may crash. The first result wins.

Source: J. Dean, S. Ghemawat, "MapReduce: Simplified Data Processing on Large Clusters",
2004, section 3.6; M. Zaharia et al., "Improving MapReduce Performance in Heterogeneous
Environments" (LATE), 2008, section 4.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from concurro.scheduling.resources import covers

if TYPE_CHECKING:
    from concurro.records import SlaveRecord, SystemRecord, TaskClass, TaskRecord
    from concurro.scheduling.placing import Placing

SPECULATE_AFTER = 0.5
"""An attempt that takes less is never copied [s]."""

SLOWNESS = 2.0
"""How many times the mean of its class an attempt takes before it is a straggler."""

LEAST_MEASURED = 3
"""Attempts of a class to measure before any of it is a straggler."""

COPIED_SHARE = 0.1
"""Share of the leased tasks of a system that may have a copy; one always may."""

LOOK_PERIOD = 0.05
"""How often the attempts of a system are looked at, at most [s]."""

MOST_LOOKED_AT = 4096
"""Oldest open tasks of a system that are looked at."""

MOST_CHOICES = 256
"""Free slaves that the strategy may choose from."""


def straggles_after(task_class: TaskClass) -> float | None:
    """Return how long an attempt may take [s]; None when nobody can say."""
    if task_class.measured < LEAST_MEASURED or task_class.mean is None or task_class.max_retries == 0:
        return None
    return max(SPECULATE_AFTER, SLOWNESS * task_class.mean)


def is_straggler(elapsed: float, task_class: TaskClass) -> bool:
    """Say whether an attempt takes far too long."""
    limit = straggles_after(task_class)
    return limit is not None and elapsed > limit


class Speculation:
    """Copies the stragglers of the systems that ask for it. Loop thread only.

    Args:
        host: Leases the copies.
        placing: Knows the queues and who is free.
        crash_limit: Workers that a task may take with it.
    """

    def __init__(self, host: Any, placing: Placing, crash_limit: int) -> None:
        self._host = host
        self._crash_limit = crash_limit
        self._placing = placing
        self._systems: dict[int, SystemRecord] = {}
        self._look_at = 0.0

    def start(self, system: SystemRecord) -> None:
        """Notice a system."""
        if system.speculate:
            self._systems[system.number] = system

    def end(self, system: SystemRecord) -> None:
        """Forget a system."""
        self._systems.pop(system.number, None)

    def look(self, now: float) -> float | None:
        """Copy what straggles if workers are free; return when to look again."""
        if not self._systems or not self._placing.room.idle:
            return None
        if now < self._look_at:
            return self._look_at
        self._look_at = now + LOOK_PERIOD
        due = [self._look_at_system(system, now) for system in list(self._systems.values())]
        times = [time for time in due if time is not None]
        return max(self._look_at, min(times)) if times and self._placing.room.idle else None

    def _look_at_system(self, system: SystemRecord, now: float) -> float | None:
        """Copy the stragglers of a system; return when the next is one [s]."""
        queued = self._placing.queue.systems.get(system.number)
        if queued is not None and queued.backlog:
            return None
        running = [task for task in islice(system.open.values(), MOST_LOOKED_AT) if task.lease]
        room = max(1, int(COPIED_SHARE * system.leased)) - sum(1 for task in running if task.copy is not None)
        due = None
        for task in running:
            if room <= 0:
                break
            limit = straggles_after(task.task_class)
            if limit is None or task.copied or task.crashes + 2 > self._crash_limit or self._waits(task):
                continue
            if is_straggler(now - task.leased_at, task.task_class):
                room -= self._copy(task)
            else:
                time = task.leased_at + limit
                due = time if due is None else min(due, time)
        return due

    def _copy(self, task: TaskRecord) -> bool:
        """Lease a copy of a task; return whether a slave could take it."""
        slave = self._choose(task)
        if slave is None:
            return False
        self._host.lease_copy(task, slave.id)
        queue = self._placing.queue
        system = queue.systems.get(task.system.number)
        if system is not None:
            queue.charge(system, queue.expected_cost(task.task_class))
        self._placing.rate(slave)
        return True

    def _choose(self, task: TaskRecord) -> SlaveRecord | None:
        """Return a slave with a free worker, another than the task's if any."""
        idle = self._placing.room.idle
        others = (slave for slave in idle.values() if slave.id != task.slave_id and covers(slave.free, task.requires))
        choices = {slave.id: slave for slave in islice(others, MOST_CHOICES)}
        own = idle.get(task.slave_id or "")
        if not choices and own is not None and covers(own.free, task.requires):
            choices = {own.id: own}
        return self._placing.ask(task, choices) if choices else None

    def _waits(self, task: TaskRecord) -> bool:
        """Say whether a task waits for others, its slot lent."""
        slave = self._host.slaves.get(task.slave_id or "")
        return slave is not None and task.lease in slave.waits
