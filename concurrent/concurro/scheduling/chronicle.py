"""What is kept of the course of a system, for reports: bounded, and cheap.

    OUT ------> when its tasks came          |
    RESULTS --> every `stride`-th attempt    +--> Chronicle --end--> Chronicles, of the last systems
            --> failed attempts, slaves      |

Nothing is done per task: a batch of results is a slice, and the slice is empty for most
batches once the stride has grown. Pure.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from concurro.ids import Outcome
from concurro.scheduling.life import count_tasks
from concurro.scheduling.roster import find_by_beginning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concurro.ids import Failure
    from concurro.records import SlaveRecord, SystemRecord, TaskRecord

CHRONICLE_VERSION = 1

ROW = struct.Struct("<QddfHHHQq")
"""An attempt: task, leased at [s], result at [s], seconds it ran, attempt, slave, class, bytes in, bytes out or -1."""

ROW_BYTES = 100
"""Of a kept row in memory, or of a rating of a slave, about [B]."""

SYSTEM_BYTES = 4096
"""Of a system beside its rows, about [B]."""

MOST_FAILURES = 1000
"""Failed attempts of one system of which it is known when and where they were."""

MOST_ARRIVALS = 1024
"""Moments at which tasks of one system came; beyond it every second one goes."""

MOST_SAMPLES = 240
"""Moments at which slaves were looked at; beyond it every second one goes."""

MOST_SLAVES = 64
"""Of so many slaves the rating is kept."""

SAMPLE_PERIOD = 0.25
"""How often slaves are looked at in the beginning [s]."""

KEPT_BYTES = 16 * 1024 * 1024
"""So much is kept of all systems that ended; the oldest go first [B]."""

_LARGEST_SHORT = 0xFFFF
_LARGEST_SIZE = 1 << 62


class Chronicle:
    """The course of one system. Loop thread only.

    Args:
        slaves: Those that are connected, by id; looked at now and then.
        limit: Attempts that are kept one by one.
        began: When the system was submitted [s].
        wall: The same, since the epoch [s].
    """

    def __init__(self, slaves: dict[str, SlaveRecord], limit: int, began: float, wall: float) -> None:
        self.began = began
        self.wall = wall
        self.ended: float | None = None
        self._facts: dict[str, Any] = {}
        self.stride = 1
        self._slaves = slaves
        self._limit = max(2, limit - limit % 2)  # even: what is thinned out goes on in step
        self._count = 0
        self._rows: list[bytes] = []
        self._failures: list[list[Any]] = []
        self._failed = 0
        self._longest = 0.0  # of all attempts, kept or not [s]
        self._classes: dict[str, int] = {}
        self._met: dict[str, list[Any]] = {}  # slave id to number, host, workers, attempts, seconds of work
        self._arrivals: list[tuple[int, float]] = []
        self._arrival_stride = 1
        self._arrived = 0
        self._last_arrival: list[tuple[int, float]] = []  # the last one, when it is not among those
        self._samples: list[list[Any]] = []
        self._period = SAMPLE_PERIOD
        self._next_sample = began

    @property
    def size(self) -> int:
        """About what it takes in memory [B]."""
        rows = len(self._rows) + len(self._arrivals) + sum([2 + len(ratings) for *_, ratings in self._samples])
        return SYSTEM_BYTES + ROW_BYTES * (rows + 5 * len(self._failures) + 5 * len(self._met))

    def emitted(self, first: int, now: float) -> None:
        """Note that tasks came, numbered on from `first`."""
        if self._arrived % self._arrival_stride:
            self._last_arrival = [(first, now)]
        else:
            self._last_arrival = []
            self._arrivals.append((first, now))
            if len(self._arrivals) > MOST_ARRIVALS:
                del self._arrivals[1::2]
                self._arrival_stride *= 2
        self._arrived += 1

    def done(  # noqa: PLR0913 - a batch of results, as it is
        self,
        tasks: Sequence[TaskRecord],
        seconds: Sequence[float],
        slave: SlaveRecord,
        now: float,
        results: Sequence[list[Any]],
        offset: int,
    ) -> None:
        """Note tasks of one class that are done.

        Args:
            tasks: They, as results named them.
            seconds: How long each ran [s].
            slave: Where.
            now: Monotonic time [s].
            results: Entries of RESULTS; empty when nobody knows which is whose.
            offset: Place of the first of the tasks in these.
        """
        met = self._met.get(slave.id) or self._meet(slave)
        count = len(tasks)
        met[3] += count
        met[4] += sum(seconds)
        self._longest = max(self._longest, *seconds)
        index = -self._count % self.stride
        self._count += count
        while index < count:
            result = results[offset + index] if results else None
            self._keep(tasks[index], seconds[index], met[0], now, result)
            index += self.stride
        if now >= self._next_sample:
            self._sample(now)

    def _keep(self, task: TaskRecord, seconds: float, slave: int, now: float, result: list[Any] | None) -> None:
        """Keep one attempt; half of what there is goes when that is too much."""
        blobs = task.blobs
        size = len(task.payload) if blobs is None else min(task.size, _LARGEST_SIZE)
        out = -1 if result is None else _size_of(result)
        attempt, number = min(task.attempt, _LARGEST_SHORT), self._class_number(task)
        self._rows.append(ROW.pack(task.number, task.leased_at, now, seconds, attempt, slave, number, size, out))
        if len(self._rows) > self._limit:
            del self._rows[1::2]
            self.stride *= 2

    def failed(
        self, task: TaskRecord, outcome: Outcome, failure: Failure | None, slave: SlaveRecord, now: float
    ) -> None:
        """Note an attempt that was not done."""
        seconds = 0.0 if outcome is Outcome.SLAVE_LOST else task.seconds  # nobody measured it
        met = self._meet(slave)
        met[3] += 1
        met[4] += seconds
        self._longest = max(self._longest, seconds)
        self._failed += 1
        if len(self._failures) < MOST_FAILURES:
            why = outcome.name if failure is None else failure.brief
            where = [task.attempt, met[0], self._class_number(task)]
            self._failures.append([task.number, task.leased_at, now, seconds, *where, int(outcome), why])
        if now >= self._next_sample:
            self._sample(now)

    def end(self, record: SystemRecord, now: float) -> None:
        """Note what is told of its system once its record is gone."""
        self.ended = now
        self._facts = _facts_of(record)

    def describe(self, record: SystemRecord | None, now: float) -> dict[str, Any]:
        """Return it as it travels; times are those of this machine's clock [s].

        Args:
            record: The system's; None when that is over.
            now: Monotonic time [s].
        """
        return {
            "version": CHRONICLE_VERSION,
            **(self._facts if record is None else _facts_of(record)),
            "wall": self.wall,
            "began": self.began,
            "ended": now if self.ended is None else self.ended,
            "stride": self.stride,
            "longest": self._longest,
            "rows": b"".join(self._rows),
            "failed": self._failed,
            "failures": self._failures,
            "classes": list(self._classes),
            "slaves": [[slave_id, *met[1:]] for slave_id, met in self._met.items()],
            "arrivals": self._arrivals + self._last_arrival,
            "arrival_stride": self._arrival_stride,
            "samples": self._samples,
        }

    def _meet(self, slave: SlaveRecord) -> list[Any]:
        met = self._met.get(slave.id)
        if met is None:
            number = min(len(self._met), _LARGEST_SHORT)
            met = self._met[slave.id] = [number, slave.host, slave.workers, 0, 0.0]
        return met

    def _class_number(self, task: TaskRecord) -> int:
        number = self._classes.setdefault(task.task_class.name, len(self._classes))
        return min(number, _LARGEST_SHORT)

    def _sample(self, now: float) -> None:
        """Note how many workers there are, and how slaves are rated."""
        rated = list(self._slaves.values())
        for slave in rated:
            met = self._met.get(slave.id)
            if met is not None and slave.workers > met[2]:
                met[2] = slave.workers
        running, workers = sum(slave.running for slave in rated), sum(slave.workers for slave in rated)
        ratings = [[slave.id, float(slave.rating)] for slave in rated[:MOST_SLAVES]]
        self._samples.append([now, workers, running, ratings])
        if len(self._samples) > MOST_SAMPLES:
            del self._samples[1::2]
            self._period *= 2
        self._next_sample = now + self._period


class Chronicles:
    """The courses of the systems of a master. Loop thread only.

    Args:
        slaves: Those that are connected, by id.
        limit: Attempts of one system that are kept one by one; 0 to keep nothing at all.
    """

    def __init__(self, slaves: dict[str, SlaveRecord], limit: int) -> None:
        self._slaves = slaves
        self._limit = limit
        self._known: OrderedDict[str, tuple[SystemRecord | None, Chronicle]] = OrderedDict()
        self._kept: OrderedDict[str, int] = OrderedDict()
        self._size = 0

    def begin(self, record: SystemRecord, submitted_at: float, now: float, wall: float) -> None:
        """Keep the course of a system from now on.

        Args:
            record: It.
            submitted_at: When it was [s].
            now: Monotonic time [s].
            wall: The same since the epoch [s].
        """
        if self._limit:
            chronicle = Chronicle(self._slaves, self._limit, submitted_at, wall - (now - submitted_at))
            record.chronicle = chronicle
            self._size -= self._kept.pop(record.system_id, 0)  # it was here before, and ended, and comes again
            self._known[record.system_id] = record, chronicle

    def end(self, record: SystemRecord, now: float) -> None:
        """Take that a system is over; forget the oldest if they are too much."""
        chronicle, record.chronicle = record.chronicle, None
        if chronicle is None:
            return
        chronicle.end(record, now)
        self._known[record.system_id] = None, chronicle
        self._kept[record.system_id] = chronicle.size
        self._size += chronicle.size
        while self._size > KEPT_BYTES and len(self._kept) > 1:
            system_id, size = self._kept.popitem(last=False)
            self._size -= size
            self._known.pop(system_id, None)

    def describe(self, system_id: str, now: float) -> dict[str, Any]:
        """Return the course of a system, by its id or a unique beginning of it.

        Raises:
            LookupError: Nothing is kept of it.
        """
        known = find_by_beginning(self._known, system_id)
        if known is None:
            why = "it has none of that id, or forgot it, as it ended long ago"
            if not self._limit:
                why = "it keeps none, as [master] report_tasks is 0"
            message = f"the master keeps no course of a system {system_id}: {why}"
            raise LookupError(message)
        return known[1].describe(known[0], now)


def _facts_of(record: SystemRecord) -> dict[str, Any]:
    return {
        "system_id": record.system_id,
        "name": record.name,
        "state": record.state.value,
        "counts": count_tasks(record),
    }


def _size_of(result: list[Any]) -> int:
    """Return the bytes of a result, its large parts included [B]."""
    value, blobs = result[2], result[3]
    size = len(value) if isinstance(value, bytes) else 0
    return size if not blobs else min(size + sum([int(blob[2]) for blob in blobs]), _LARGEST_SIZE)
