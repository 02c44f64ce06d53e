"""The strategy `throughput`: where is a task expected to be done first?

What is taken into account:

    durations measured per slave and class --+--> slowness of each slave --> rating
    leases held, workers                   --+
    the best by rating ---> their expected completion for this very task ---> the choice,
                            or None: a faster slave that is busy now is there sooner
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from concurro.config import BoolOption
from concurro.interfaces import ITaskScheduleStrategy, implementer
from concurro.scheduling.depth import PREFETCH_SECONDS
from concurro.scheduling.expectation import can_ever_run, expected_duration, expected_rest, expected_wait
from concurro.scheduling.patience import Patience
from concurro.scheduling.ranked import RankedStrategy
from concurro.scheduling.strategies import tasks_per_worker

if TYPE_CHECKING:
    from collections.abc import Collection

    from concurro.records import SlaveRecord, TaskClass, TaskRecord

CANDIDATES = 4
"""The best by rating, so many, are compared for the very task."""

COMPARED_SECONDS = 0.005
"""Tasks below go by rating alone: comparing for each would cost more than it gains [s]."""

AS_SOON = 1.05
"""Completions that differ by less count as equal: of equals, the least loaded has it."""

CLASSES = 32
"""Classes of tasks by which a slave's slowness is measured: its newest ones."""

REFRESH = 64
"""Slowness is measured again after so many tasks at the latest, early on after fewer."""

WORTH_WAITING = 1.25
"""A free slave is passed by when it takes so many times longer than waiting."""

MOST_SYSTEMS = 64
"""With more systems than these at work, nobody waits: who is next is anybody's guess."""


@implementer(ITaskScheduleStrategy)
class Throughput(RankedStrategy):
    """Prefer the slave where the task is expected to be done first.

    A slave's *slowness* is the geometric mean, over the classes of tasks that it and others
    ran, of its measured duration over the mean of the slaves; 1 without such classes. A
    slave that was never measured and holds nothing goes first, to be measured.

    Near the end of a job, a task may wait for a faster slave that is busy: when the faster
    ones are expected to be through with all that is queued before the best free slave were
    done with this one task. It waits for no longer than it would run there.

    Source: M. Maheswaran et al., "Dynamic Mapping of a Class of Independent Tasks onto
    Heterogeneous Computing Systems", Journal of Parallel and Distributed Computing 59(2),
    1999, section 3 (minimum completion time).
    """

    name = "throughput"
    wait = BoolOption(default=True, documentation="Whether a task may wait for a faster slave that is busy.")

    def setup(self, scheduler: Any, master: Any) -> None:
        """Learn whose slaves are rated; nothing was measured yet."""
        super().setup(scheduler, master)
        self._patience = Patience(master)
        self._slowness: dict[str, float | None] = {}
        self._measured_at: dict[str, int] = {}
        self._shares: dict[str, dict[str, float]] = {}
        self._classes: dict[str, list[float]] = {}  # class name to sum of durations, number of slaves

    @property
    def wake_at(self) -> float | None:
        """When a task that waits is to be placed at last, monotonic [s]."""
        return self._patience.wake_at(self._master.now())

    def rating(self, slave: SlaveRecord) -> float:
        """Return the expected completion of a mean task, in its mean durations."""
        if slave.finished != self._measured_at.get(slave.id):
            self._measure(slave)
        held = len(slave.leases)
        if not held and not slave.durations:
            return 0.0
        workers = max(1, slave.workers)
        queued = max(0, held + 1 - workers)
        return self.slowness(slave.id) * (1.0 + queued / workers + 0.01 * min(held, workers) / workers)

    def slowness(self, slave_id: str) -> float:
        """Return how much longer a slave takes than the others do; 1 if unknown."""
        measured = self._slowness.get(slave_id)
        return 1.0 if measured is None else measured

    def get_next_slave(self, task: TaskRecord | None = None, slaves: Collection[str] | None = None) -> str | None:
        """Return the slave that is expected to be done first; None to wait."""
        if task is None or (task.task_class.mean or math.inf) < COMPARED_SECONDS:
            return super().get_next_slave(task, slaves)
        candidates, passed = self.best(slaves, CANDIDATES)
        if not candidates or not self._latest[candidates[0]][0]:
            return candidates[0] if candidates else None
        known = self._master.slaves
        completions = {slave_id: self._completion(known[slave_id], task) for slave_id in candidates}
        soonest = min(completions.values())
        if passed and self.wait and self._is_sooner_elsewhere(task, soonest, passed):
            return None
        equals = [slave_id for slave_id in candidates if completions[slave_id] <= soonest * AS_SOON]
        return min(equals, key=lambda slave_id: tasks_per_worker(known[slave_id]))

    def forget(self, slave_id: str) -> None:
        """Forget what was measured at a slave that left."""
        self._slowness.pop(slave_id, None)
        self._measured_at.pop(slave_id, None)
        for name, duration in self._shares.pop(slave_id, {}).items():
            self._share(name, -duration, -1)

    def _completion(self, slave: SlaveRecord, task: TaskRecord) -> float:
        """Return when a task is expected to be done at a slave, from now [s]."""
        slowness = self.slowness(slave.id)
        duration = self._duration(slave, task.task_class, slowness)
        return expected_wait(slave, slowness) + (slowness * 1e-9 if duration is None else duration)

    def _duration(self, slave: SlaveRecord, task_class: TaskClass, slowness: float) -> float | None:
        """Return what a task is expected to take at a slave [s], if known."""
        duration = expected_duration(slave, task_class, slowness)
        if duration is None and task_class.name in self._classes:  # another system had a class of that name
            total, slaves = self._classes[task_class.name]
            return total / slaves * slowness
        return duration

    def _is_sooner_elsewhere(self, task: TaskRecord, completion: float, passed: list[str]) -> bool:
        """Say whether faster slaves are through with all that is queued.

        That is, before `completion`, from now [s].
        """
        if (task.task_class.mean or 0.0) <= PREFETCH_SECONDS:
            return False  # it would be over before anybody could wait for it
        now = self._master.now()
        first, rate = math.inf, 0.0
        for slave_id in passed:
            slave = self._master.slaves[slave_id]
            slowness = self.slowness(slave_id)
            duration = self._duration(slave, task.task_class, slowness)
            if duration and slave.leases and can_ever_run(slave, task):
                rest = expected_rest(slave, now, slowness)
                if rest is not None and rest + duration < completion:
                    first = min(first, rest + duration)
                    rate += slave.workers / duration
        if not rate or len(self._master.systems) > MOST_SYSTEMS:
            return False
        queued = sum(len(system.open) - system.leased for system in self._master.systems.values())
        last = first + max(0, queued - 1) / rate
        return last * WORTH_WAITING < completion and self._patience.grants(task, completion, now)

    def _measure(self, slave: SlaveRecord) -> None:
        """Compare a slave's measured durations with those of the others."""
        before = self._measured_at.get(slave.id)
        if before is not None and before < slave.finished < before + min(REFRESH, before // 8):
            return
        self._measured_at[slave.id] = slave.finished
        for name, duration in self._shares.pop(slave.id, {}).items():
            self._share(name, -duration, -1)
        newest = itertools.islice(reversed(slave.durations.items()), CLASSES)
        shares = self._shares[slave.id] = {name: duration for name, duration in newest if duration > 0.0}
        logarithms = 0.0
        count = 0
        for name, duration in shares.items():
            total, slaves = self._share(name, duration, 1)
            if slaves > 1:
                logarithms += math.log(duration * slaves / total)
                count += 1
        self._slowness[slave.id] = math.exp(logarithms / count) if count else None

    def _share(self, name: str, duration: float, slaves: int) -> tuple[float, int]:
        measure = self._classes.setdefault(name, [0.0, 0])
        measure[0] += duration
        measure[1] += slaves
        if not measure[1]:
            del self._classes[name]
        return max(measure[0], duration), int(measure[1])  # what is subtracted leaves rounding errors
