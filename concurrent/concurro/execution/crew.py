"""The workers of a slave as its core knows them: how many, and how well.

Pure: it decides who is started, retired and ended, and says who can be posted to.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from concurro.execution.lending import REST_LIMIT, Lending
from concurro.execution.restarts import WELL_AFTER, Restarts
from concurro.execution.slave_records import (
    Command,
    StartWorker,
    StateChanged,
    StopWorker,
    Tell,
    WaitAnswered,
    WorkerRecord,
    WorkerState,
)
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

NUDGE_AFTER = 0.02
"""A worker that is silent for so long inside a chunk is told to report [s].

Longer than it may have to wait for a processor that others use as well: being told costs the launcher, the
worker and the master as much as ten short tasks each.
"""

STEAL_AFTER = 0.002
"""Seconds without news after which an idle worker takes over what waits in another [s]."""

_LIVING = (WorkerState.STARTING, WorkerState.READY)


class Crew:
    """The records of the workers, and when dead ones are replaced.

    Args:
        wanted: How many workers to keep.
        first_id: The id of the first worker.

    Attributes:
        running: Whether workers are started.
        wanted: How many workers to keep.
        restarts: When the next one may start, and whether the slave is sick.
        lending: Whose slots are lent.
    """

    def __init__(self, wanted: int, first_id: int) -> None:
        self.running = False
        self.wanted = wanted
        self.restarts = Restarts()
        self.lending = Lending()
        self._ids = itertools.count(first_id)
        self._workers: dict[int, WorkerRecord] = {}

    def __iter__(self) -> Iterator[WorkerRecord]:
        return iter(self._workers.values())

    def get(self, worker_id: int) -> WorkerRecord | None:
        """Return a worker; None when there is none of that id."""
        return self._workers.get(worker_id)

    def remove(self, worker_id: int) -> WorkerRecord | None:
        """Drop a worker and return it."""
        self.lending.end(worker_id)
        self.lending.withdraw(worker_id)
        return self._workers.pop(worker_id, None)

    def resize(self, wanted: int) -> list[WorkerRecord]:
        """Keep another number; return who retires, the least busy first."""
        self.wanted = wanted
        living = [worker for worker in self if worker.state in _LIVING]
        spare = sorted(living, key=lambda worker: len(worker.chunks))[: max(0, len(living) - wanted)]
        for worker in spare:
            worker.state = WorkerState.RETIRING
        return spare

    @property
    def slots(self) -> int:
        """How many tasks it may hold at once, those that wait included."""
        return self.wanted + len(self.lending.waiting)

    def answer_waits(self, now: float) -> list[Command]:
        """Answer tasks that wait whether their slots are lent."""
        lending = self.lending
        if not lending.asking:
            return []
        running = sum(w.id not in lending.waiting and w.id not in lending.asking for w in self if w.chunks)
        granted, in_doubt = lending.decide(self.wanted, running, now)
        if in_doubt:
            return [Tell(Kind.STUCK, [])]
        commands: list[Command] = [StateChanged()] if granted else []
        return commands + [WaitAnswered(worker_id, granted=True) for worker_id in granted]

    def refuse_wait(self) -> list[Command]:
        """Refuse the wait that began last, unless something runs again."""
        refused = self.lending.refuse()
        return [] if refused is None else [WaitAnswered(refused, granted=False)]

    def end_loan(self, worker_id: int) -> tuple[bool, list[Command]]:
        """Notice that a task waits no more.

        Return whether its slot was lent, and what is to be done.
        """
        if self.lending.withdraw(worker_id):
            return False, [WaitAnswered(worker_id, granted=False)]
        lent = self.lending.end(worker_id)
        return lent, [StateChanged()] if lent else []

    def fill(self, now: float, queued: int = 0) -> list[Command]:
        """Start workers that are missing, for lent slots when tasks are queued."""
        if now < self.restarts.at:
            return []
        started: list[Command] = []
        missing = self.missing()
        if queued and self.lending.used:
            starting = sum(worker.state is WorkerState.STARTING for worker in self)
            missing = max(missing, min(queued - len(self.idle()) - starting, self._free_slots()))
        for _ in range(missing):
            worker = WorkerRecord(next(self._ids), now)
            self._workers[worker.id] = worker
            started.append(StartWorker(worker.id))
        return started

    def missing(self) -> int:
        """Return how many workers are too few; a sick slave tries with one."""
        missing = min(1, self.wanted) if self.restarts.sick else self.wanted
        for worker in self._workers.values():  # a loop of its own: it runs several times per task
            if worker.state in _LIVING:
                missing -= 1
        return missing

    def _free_slots(self) -> int:
        """Return how many more workers could run a task, lent slots counted."""
        if self.restarts.sick:
            return 0
        waiting = self.lending.waiting
        return self.wanted - sum(worker.state in _LIVING and worker.id not in waiting for worker in self)

    def rest(self, now: float) -> None:
        """Retire extra workers that nobody needed for a while."""
        if not self.lending.used:
            return
        resting = [worker for worker in self if worker.may_be_posted()]
        extra = min(sum(worker.state in _LIVING for worker in self) - self.slots, len(resting))
        since = self.lending.rests_since(extra, now)
        if since is not None and since + REST_LIMIT <= now:
            self.lending.surplus_since = None
            for worker in resting[-extra:]:
                worker.state = WorkerState.RETIRING

    def end_idle(self) -> list[Command]:
        """End those that retire and have nothing left to do."""
        ended: list[Command] = []
        for worker in self._workers.values():
            if worker.state is WorkerState.RETIRING and not worker.chunks:
                worker.state = WorkerState.ENDING
                ended.append(StopWorker(worker.id))
        return ended

    def recovers(self, now: float) -> bool:
        """Say whether a sick slave is well again: a worker lives here."""
        if not self.restarts.sick or not any(w.is_ready and now - w.started_at >= WELL_AFTER for w in self):
            return False
        self.restarts.worked()
        return True

    def idle(self) -> list[WorkerRecord]:
        """Return who can be posted to and has nothing, as far as slots go."""
        idle = [worker for worker in self if worker.may_be_posted()]
        if not self.lending.used:
            return idle
        waiting = self.lending.waiting
        busy = sum(bool(worker.chunks) and worker.id not in waiting for worker in self)
        return idle[: max(0, self.wanted - busy)]

    def holders(self, leases: set[int]) -> list[WorkerRecord]:
        """Return who was posted any of these leases."""
        return [
            worker for worker in self if worker.chunks and any(entry[0] in leases for entry in worker.outstanding())
        ]

    def to_nudge(self, now: float) -> list[WorkerRecord]:
        """Return who holds back results behind a long task."""
        return [worker for worker in self if worker.may_hold_back() and _nudge_due(worker) <= now]

    def to_rob(self, now: float) -> WorkerRecord | None:
        """Return from whom an idle worker should take over what waits."""
        if not self._has_room():
            return None
        late = [worker for worker in self if worker.has_waiting() and worker.progress + STEAL_AFTER <= now]
        return max(late, key=lambda worker: len(worker.outstanding()), default=None)

    def _has_room(self) -> bool:
        """Say whether a task that waits behind another could run now."""
        if not self.lending.used:
            return any(worker.may_be_posted() for worker in self)
        return bool(self.idle()) or self._free_slots() > 0

    def times(self, *, queued: bool, draining: bool) -> list[float]:
        """Return when something may be due [s].

        Args:
            queued: Whether tasks wait for a worker.
            draining: Whether no worker is started any more.
        """
        times: list[float] = []
        behind: list[float] = []
        for worker in self:
            if worker.deadline is not None:
                times.append(worker.deadline)
            if worker.chunks:
                if worker.may_hold_back():
                    times.append(_nudge_due(worker))
                if not queued and worker.has_waiting():
                    behind.append(worker.progress + STEAL_AFTER)
        if behind and self._has_room():
            times += behind
        if self.running and not draining and self.missing() > 0:
            times.append(self.restarts.at)
        if self.restarts.sick:
            times += [worker.started_at + WELL_AFTER for worker in self if worker.is_ready]
        return times + self.lending.times()


def _nudge_due(worker: WorkerRecord) -> float:
    """Return when a worker is to be told to report [s].

    One that had nothing to report yet, or was between two tasks, did not hear it: it is told again,
    each time after four times as long.
    """
    return worker.progress + NUDGE_AFTER * 4.0**worker.nudges
