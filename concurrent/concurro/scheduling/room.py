"""Where there is room: slaves by how full they are and what they offer.

The level of a slave is how many tasks each of its workers holds: 0 with a free worker, n
when n tasks per worker were leased, that is n - 1 sent ahead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from concurro.scheduling.depth import PREFETCH_LIMIT
from concurro.scheduling.resources import covers

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.records import SlaveRecord
    from concurro.scheduling.queue import ClassQueue

FULL = PREFETCH_LIMIT + 1
"""The level of a slave that takes nothing more."""


class Offer:
    """What slaves of one kind offer, and which of them have a free worker."""

    __slots__ = ("idle", "resources", "slaves")

    def __init__(self, resources: dict[str, float]) -> None:
        self.resources = dict(resources)
        self.slaves = 0
        self.idle: dict[str, SlaveRecord] = {}


class Room:
    """Usable slaves by level. Loop thread only.

    Attributes:
        idle: Slaves with a free worker.
        stocked: Slaves that hold more than they can run, usable or not.
        free_workers: Free workers of usable slaves.
    """

    def __init__(self) -> None:
        self._levels: list[dict[str, SlaveRecord]] = [{} for _ in range(FULL)]
        self.idle = self._levels[0]
        self.stocked: dict[str, SlaveRecord] = {}
        self.free_workers = 0
        self._level: dict[str, int] = {}
        self._free: dict[str, int] = {}
        self._lowest = 0
        self._offers: dict[Hashable, Offer] = {}
        self._offer_of: dict[str, Offer] = {}
        self._covering: dict[Hashable, list[Offer]] = {}

    def update(self, slave: SlaveRecord, *, held_back: bool = False) -> None:
        """Note how full a slave is now.

        Args:
            slave: Whose state changed.
            held_back: Whether nothing may be sent ahead to it.
        """
        name, held, workers = slave.id, len(slave.leases), slave.workers
        level = FULL
        free = 0
        if not slave.sick and not slave.draining and workers > 0:
            level = held // workers
            if not level:
                free = workers - held
            elif level > FULL or held_back:
                level = FULL
        known = self._level.get(name, FULL)
        if level != known:
            self._move(slave, known, level)
        if free != self._free.get(name, 0):
            self.free_workers += free - self._free.get(name, 0)
            self._free[name] = free
        if held > workers:
            self.stocked[name] = slave
        elif name in self.stocked:
            del self.stocked[name]

    def connect(self, slave: SlaveRecord) -> bool:
        """Note what a slave offers; return whether any offer is new or gone."""
        offer = self._offer_of.get(slave.id)
        if offer is not None and offer.resources == slave.resources:
            return False
        changed = offer is not None and self._withdraw(slave.id, offer)
        kind = tuple(sorted(slave.resources.items()))
        offer = self._offers.get(kind)
        if offer is None:
            offer = self._offers[kind] = Offer(slave.resources)
            self._covering.clear()
            changed = True
        offer.slaves += 1
        self._offer_of[slave.id] = offer
        if self._level.get(slave.id, FULL) == 0:
            offer.idle[slave.id] = slave
        return changed

    def disconnect(self, slave_id: str) -> bool:
        """Forget a slave; return whether any offer is gone."""
        level = self._level.pop(slave_id, FULL)
        if level < FULL:
            del self._levels[level][slave_id]
        self.free_workers -= self._free.pop(slave_id, 0)
        self.stocked.pop(slave_id, None)
        offer = self._offer_of.pop(slave_id, None)
        return offer is not None and self._withdraw(slave_id, offer)

    def lowest(self) -> int:
        """Return the level of the slave that holds least; FULL when there is none."""
        levels, lowest = self._levels, self._lowest
        while lowest < FULL and not levels[lowest]:
            lowest += 1
        self._lowest = lowest
        return lowest

    def covering(self, queue: ClassQueue) -> list[Offer]:
        """Return the offers that cover what a queue needs, free or not."""
        found = self._covering.get(queue.signature)
        if found is None:
            if len(self._covering) > MOST_SIGNATURES:
                self._covering.clear()
            found = [offer for offer in self._offers.values() if covers(offer.resources, queue.need)]
            self._covering[queue.signature] = found
        return found

    def up_to(self, level: int) -> Collection[str]:
        """Return the ids of the slaves of this level or less."""
        return UpTo(self._levels, self._level, level)

    def _move(self, slave: SlaveRecord, known: int, level: int) -> None:
        name = slave.id
        if known < FULL:
            del self._levels[known][name]
        if level < FULL:
            self._levels[level][name] = slave
            self._level[name] = level
            self._lowest = min(self._lowest, level)
        else:
            del self._level[name]
        offer = self._offer_of.get(name)
        if offer is not None:
            if level == 0:
                offer.idle[name] = slave
            else:
                offer.idle.pop(name, None)

    def _withdraw(self, slave_id: str, offer: Offer) -> bool:
        offer.idle.pop(slave_id, None)
        offer.slaves -= 1
        if offer.slaves:
            return False
        del self._offers[tuple(sorted(offer.resources.items()))]
        self._covering.clear()
        return True


MOST_SIGNATURES = 10_000
"""Requirements whose offers are remembered."""


class UpTo(Collection[str]):
    """Ids of slaves up to a level: looked up, not listed."""

    __slots__ = ("_known", "_level", "_levels")

    def __init__(self, levels: list[dict[str, SlaveRecord]], known: dict[str, int], level: int) -> None:
        self._levels = levels
        self._known = known
        self._level = level

    def __contains__(self, slave_id: object) -> bool:
        return self._known.get(slave_id, FULL) <= self._level  # type: ignore[call-overload,no-any-return]

    def __iter__(self) -> Iterator[str]:
        for slaves in self._levels[: self._level + 1]:
            yield from slaves

    def __len__(self) -> int:
        return sum(len(slaves) for slaves in self._levels[: self._level + 1])
