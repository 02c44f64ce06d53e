"""Class queues that wait until what they require is free.

    nothing fits now --> park --> a slave gets room --> best_for(slave) --> picked again
    overtaken by smaller ones for a second --> a slave is reserved for it

A slave that gets room is asked for one queue after the other that fits on it, so what is
parked fits nowhere. Queues are filed under each resource that they need, by the power of
two of the amount: who needs more than is free is not looked at, however many wait.
"""

from __future__ import annotations

import heapq
from itertools import islice
from math import frexp, inf
from typing import TYPE_CHECKING

from concurro.scheduling.queue import Standing
from concurro.scheduling.resources import SLACK, covers

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from concurro.records import SlaveRecord
    from concurro.scheduling.queue import ClassQueue, FairQueue, SystemQueue

    Entry = tuple[int, int, int, ClassQueue, int]

RESERVE_AFTER = 1.0
"""How long smaller tasks may overtake one before a slave is reserved for it [s]."""

CHECK_PERIOD = 0.02
"""How often it is looked at who is overtaken [s]."""

LOOK = 16
"""Queues of one heap that are looked at for a slave."""


class Bucket:
    """Parked queues by the share of their system, then priority, then age.

    Systems are in one heap, the queues of each in another: when a system is charged, it moves
    in one step, however many of its queues wait here.
    """

    __slots__ = ("_entries", "_queues", "_systems", "size")

    def __init__(self) -> None:
        self._systems: list[tuple[float, tuple[int, float], int, SystemQueue]] = []
        self._queues: dict[int, list[Entry]] = {}
        self._entries = 0
        self.size = 0

    def file(self, queue: ClassQueue) -> None:
        """Add a queue that was parked just now."""
        self._entries += 1
        head = queue.tasks[0].number if queue.tasks else 0
        self.put((-queue.task_class.priority, head, self._entries, queue, queue.version))

    def put(self, entry: Entry) -> None:
        """Put an entry in its place."""
        system = entry[3].owner
        queues = self._queues.get(system.record.number)
        if queues is None:
            queues = self._queues[system.record.number] = []
            self._entries += 1
            within = (system.rank, system.virtual_time)
            heapq.heappush(self._systems, (system.application.virtual_time, within, self._entries, system))
        heapq.heappush(queues, entry)
        self.size += 1

    def top(self) -> Entry | None:
        """Return the first entry that stands."""
        systems = self._systems
        while systems:
            share, within, number, system = systems[0]
            queues = self._queues[system.record.number]
            while queues and not _stands(queues[0]):
                heapq.heappop(queues)
                self.size -= 1
            if not queues:
                heapq.heappop(systems)
                del self._queues[system.record.number]
                continue
            application = system.application.virtual_time
            if share >= application and (share > application or within[1] >= system.virtual_time):
                return queues[0]
            heapq.heapreplace(systems, (application, (system.rank, system.virtual_time), number, system))
        return None

    def pop(self) -> Entry:
        """Take the entry that `top` returned."""
        self.size -= 1
        return heapq.heappop(self._queues[self._systems[0][3].record.number])

    def standing(self) -> list[Entry]:
        """Return every entry that stands; costs their number."""
        return [entry for queues in self._queues.values() for entry in queues if _stands(entry)]


class Parking:
    """Class queues that fit on no slave now. Loop thread only.

    Attributes:
        reserved: Slave id to the queue for which it is kept.
        size: How many are parked.
    """

    def __init__(self, queue: FairQueue) -> None:
        self._queue = queue
        self._by_name: dict[str, dict[int, Bucket]] = {}
        self._parked: dict[ClassQueue, None] = {}
        self._all: Bucket | None = None  # while so many names are needed that nobody looks at each
        self._waiting: dict[Hashable, int] = {}
        self.size = 0
        self._check_at = -inf
        self.reserved: dict[str, ClassQueue] = {}

    def waits(self, signature: Hashable) -> bool:
        """Say whether a queue of the same need is parked, as it fits nowhere."""
        return signature in self._waiting

    def park(self, queue: ClassQueue, now: float) -> None:
        """Set a queue aside until one of its resources is free."""
        self._queue.set_aside(queue, Standing.PARKED)
        if queue.waits_since is None:
            queue.waits_since = now
        self.size += 1
        self._parked[queue] = None
        self._waiting[queue.signature] = self._waiting.get(queue.signature, 0) + 1
        by_name = self._by_name
        for name, amount in queue.need.items():
            sizes = by_name.get(name)
            if sizes is None:
                sizes = by_name[name] = {}
            exponent = frexp(amount)[1]
            sizes[exponent] = self._file(sizes.get(exponent) or Bucket(), queue)
        if len(by_name) > LOOK:
            self._all = _bucket_of(self._parked) if self._all is None else self._file(self._all, queue)

    def unpark(self, queue: ClassQueue) -> bool:
        """Let a queue be picked again; return whether it has a task."""
        self._forget(queue)
        return self._queue.make_ready(queue)

    def drop(self, queue: ClassQueue) -> None:
        """Forget a parked queue; its system ended."""
        self._forget(queue)
        queue.version += 1
        queue.standing = Standing.EMPTY

    def parked(self) -> list[ClassQueue]:
        """Return every parked queue; costs their number."""
        return list(self._parked)

    def best_for(self, slave: SlaveRecord) -> ClassQueue | None:
        """Return the parked queue that is next of those that fit on a slave."""
        kept = self.reserved.get(slave.id)
        if kept is not None and kept.standing is Standing.PARKED and covers(slave.free, kept.need):
            return kept
        best: ClassQueue | None = None
        names, by_name = slave.resources, self._by_name
        if len(by_name) <= LOOK:
            self._all = None
        elif len(names) > LOOK and self._all is not None:
            best = self._first_fitting(self._all, slave)
            if best is not None:
                return best
        for name in list(islice((one for one in by_name if one in names), LOOK)):
            found = self._first_of(name, slave)
            if found is not None and (best is None or self._queue.order_of(found) < self._queue.order_of(best)):
                best = found
        return best

    def may_use(self, slave: SlaveRecord, queue: ClassQueue) -> bool:
        """Say whether no other has a slave reserved that needs the same."""
        kept = self.reserved.get(slave.id)
        return kept is None or kept is queue or kept.need.keys().isdisjoint(queue.need)

    def reserve_before(self, queue: ClassQueue, slave: SlaveRecord, now: float) -> bool:
        """Reserve a slave for one that was overtaken too long.

        Return whether it was, so that `queue` must not be placed there.
        """
        if not self.size or now < self._check_at:
            return False
        self._check_at = now + CHECK_PERIOD
        order = self._queue.order_of(queue)
        for name in queue.need:
            sizes = self._by_name.get(name, {})
            for exponent, bucket in sizes.items():
                if 2.0**exponent <= slave.free.get(name, 0.0):
                    continue
                entry = bucket.top()
                if entry is None or covers(slave.free, entry[3].need):
                    continue
                large = entry[3]
                if self._queue.order_of(large) >= order:
                    continue
                if large.overtaken_at is None:
                    large.overtaken_at = now
                overdue = now - large.overtaken_at >= RESERVE_AFTER and not large.reserved_on
                if overdue and covers(slave.resources, large.need):
                    large.reserved_on = slave.id
                    self.reserved[slave.id] = large
                    return True
        return False

    def release(self, queue: ClassQueue) -> str:
        """Let go of what is reserved for a queue; return the slave's id, or ""."""
        slave_id, queue.reserved_on = queue.reserved_on, ""
        if slave_id:
            self.reserved.pop(slave_id, None)
        return slave_id

    def _forget(self, queue: ClassQueue) -> None:
        self.size -= 1
        del self._parked[queue]
        count = self._waiting[queue.signature] - 1
        if count:
            self._waiting[queue.signature] = count
        else:
            del self._waiting[queue.signature]

    def _file(self, bucket: Bucket, queue: ClassQueue) -> Bucket:
        """File a queue; return the bucket.

        A new one, when most entries were out of date.
        """
        bucket.file(queue)
        if bucket.size <= 64 + 4 * self.size:
            return bucket
        return _bucket_of(entry[3] for entry in bucket.standing())

    def _first_of(self, name: str, slave: SlaveRecord) -> ClassQueue | None:
        """Return the queue that is next of those that need one resource."""
        free = slave.free.get(name, 0.0) + SLACK
        sizes = self._by_name[name]
        best: ClassQueue | None = None
        for exponent in list(sizes):
            if 2.0 ** (exponent - 1) > free:
                continue
            found = self._first_fitting(sizes[exponent], slave)
            if found is None:
                if not sizes[exponent].size:
                    del sizes[exponent]
            elif best is None or self._queue.order_of(found) < self._queue.order_of(best):
                best = found
        if not sizes:
            del self._by_name[name]
        return best

    def _first_fitting(self, bucket: Bucket, slave: SlaveRecord) -> ClassQueue | None:
        """Return the first queue that fits on a slave, of those in front."""
        passed: list[Entry] = []
        found = None
        while len(passed) < LOOK:
            entry = bucket.top()
            if entry is None:
                break
            queue = entry[3]
            if queue.head() is None:
                bucket.pop()
                self._forget(queue)
                queue.owner.drained(queue)
            elif covers(slave.free, queue.need) and self.may_use(slave, queue):
                found = queue
                break
            else:
                passed.append(bucket.pop())
        for entry in passed:
            bucket.put(entry)
        return found


def _bucket_of(queues: Iterable[ClassQueue]) -> Bucket:
    bucket = Bucket()
    for queue in queues:
        bucket.file(queue)
    return bucket


def _stands(entry: Entry) -> bool:
    return entry[4] == entry[3].version and entry[3].standing is Standing.PARKED
