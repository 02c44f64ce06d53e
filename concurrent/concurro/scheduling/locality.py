"""The strategy `locality`: run a task where its bytes are.

What is taken into account:

    blobs of the task and its code ---> slaves that hold some ---> fewest bytes to move
                                                              ---> of equals, least loaded
    a holder that is busy ---> None, for a while: it may be free before the bytes were moved
"""

from __future__ import annotations

import itertools
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from concurro.config import DurationOption, SizeOption
from concurro.interfaces import ITaskScheduleStrategy, implementer
from concurro.scheduling.expectation import ASSUMED_RATE, bytes_to_move, can_ever_run, parts_of
from concurro.scheduling.patience import Patience
from concurro.scheduling.ranked import RankedStrategy
from concurro.scheduling.strategies import tasks_per_worker

if TYPE_CHECKING:
    from collections.abc import Collection

    from concurro.records import SlaveRecord, TaskRecord

CANDIDATES = 4
"""The least loaded, so many, are compared beside the holders."""

MOST_HOLDERS = 16
"""So many slaves that hold some of a task's bytes are compared."""

LOOKS = 64
"""Of a blob that many slaves hold, so many of them are looked at."""


@implementer(ITaskScheduleStrategy)
class Locality(RankedStrategy):
    """Prefer the slave to which fewest bytes must move.

    Of equals, the least loaded.

    A task with large blobs whose holders are all busy may wait for one of them: for as long
    as moving what it would save may take, and at most `patience`. Others never wait.

    Source: M. Zaharia et al., "Delay Scheduling: A Simple Technique for Achieving Locality
    and Fairness in Cluster Scheduling", EuroSys 2010, section 3 (with time in place of a
    count, so that a cluster where nothing happens does not wait for ever).
    """

    name = "locality"
    patience = DurationOption(0.5, "How long a task may wait at most for a busy slave that holds its bytes [s].")
    threshold = SizeOption("1 MiB", "Bytes that must be saved for a task to wait.", minimum=1)

    def setup(self, scheduler: Any, master: Any) -> None:
        """Learn whose slaves are rated."""
        super().setup(scheduler, master)
        self._waiting = Patience(master)

    @property
    def wake_at(self) -> float | None:
        """When a task that waits is to be placed at last, monotonic [s]."""
        return self._waiting.wake_at(self._master.now())

    def rating(self, slave: SlaveRecord) -> float:
        """Return tasks per worker."""
        return tasks_per_worker(slave)

    def get_next_slave(self, task: TaskRecord | None = None, slaves: Collection[str] | None = None) -> str | None:
        """Return the slave that lacks least of what the task needs; None to wait."""
        if task is None or not (task.blobs or task.task_class.code[1]):
            return super().get_next_slave(task, slaves)
        candidates, passed = self.best(slaves, CANDIDATES)
        if not candidates:
            return None
        known, latest = self._master.slaves, self._latest
        parts = parts_of(task)
        near, busy = self._holders(parts, slaves)
        eligible = {*candidates, *near}
        lacking, _, chosen = min((bytes_to_move(known[one], parts), latest[one], one) for one in eligible)
        if lacking < (self.threshold or 1):
            return chosen
        others = (known[one] for one in (*busy, *passed) if one not in eligible)
        saved = (lacking - bytes_to_move(one, parts) for one in others if one.leases and can_ever_run(one, task))
        most = max(saved, default=0)
        if most < (self.threshold or 1):
            return chosen
        seconds = min(self.patience, most / ASSUMED_RATE)
        return None if self._waiting.grants(task, seconds, self._master.now()) else chosen

    def _holders(self, parts: list[tuple[bytes, int]], slaves: Collection[str] | None) -> tuple[list[str], list[str]]:
        """Return holders of some parts that may be chosen, and others."""
        by_digest = getattr(self._master, "holders", None) or {}
        near: dict[str, None] = {}
        busy: dict[str, None] = {}
        for digest, _ in sorted(parts, key=itemgetter(1), reverse=True):
            for slave_id in itertools.islice(by_digest.get(digest, ()), LOOKS):
                if slave_id in self._latest and slave_id in self._master.slaves:
                    table = near if slaves is None or slave_id in slaves else busy
                    if len(table) < MOST_HOLDERS:
                        table[slave_id] = None
            if len(near) == MOST_HOLDERS:
                break
        return list(near), list(busy)
