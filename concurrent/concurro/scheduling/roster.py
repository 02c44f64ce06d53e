"""The systems of a master, by number and by id. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from concurro.scheduling.life import count_emitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concurro.scheduling.life import SystemLife

PAST_SYSTEMS = 1000
"""Of so many systems that were forgotten it is known how many tasks they had."""

LEAST_BEGINNING = 4
"""Characters of an id that are enough to find a system; fewer would match by accident."""


class Roster:
    """Every system that is known. Loop thread only.

    Args:
        first: Number of the first system; none of them was given before.
    """

    def __init__(self, first: int = 1) -> None:
        self._by_number: dict[int, SystemLife] = {}
        self._by_id: dict[str, SystemLife] = {}
        self._past: OrderedDict[str, int] = OrderedDict()  # tasks of systems that were forgotten
        self._last = first - 1

    def __iter__(self) -> Iterator[SystemLife]:
        return iter(self._by_number.values())

    def __getitem__(self, number: int) -> SystemLife:
        return self._by_number[number]

    def numbers(self) -> Iterable[int]:
        """Return the number of every system."""
        return self._by_number.keys()

    def get(self, number: int) -> SystemLife | None:
        """Return a system by its number."""
        return self._by_number.get(number)

    def of_id(self, system_id: str) -> SystemLife | None:
        """Return a system by its whole id."""
        return self._by_id.get(system_id)

    def find(self, system_id: str) -> SystemLife | None:
        """Return a system by its id, or by a unique beginning of it."""
        life = self._by_id.get(system_id)
        if life is None and len(system_id) >= LEAST_BEGINNING:
            matches = [life for known, life in self._by_id.items() if known.startswith(system_id)]
            life = matches[0] if len(matches) == 1 else None
        return life

    def emitted(self, system_id: str) -> int | None:
        """Return how many tasks a system has emitted.

        None when it is not known, or was long ago.
        """
        life = self._by_id.get(system_id)
        return self._past.get(system_id) if life is None else count_emitted(life.record)

    def next_number(self) -> int:
        """Return a number that no system has or had."""
        self._last += 1
        return self._last

    def add(self, life: SystemLife) -> None:
        """Take a system."""
        self._by_number[life.record.number] = life
        self._by_id[life.record.system_id] = life

    def drop(self, life: SystemLife) -> None:
        """Forget a system, but for how many tasks it had."""
        self._past[life.record.system_id] = count_emitted(life.record)
        if len(self._past) > PAST_SYSTEMS:
            self._past.popitem(last=False)
        self._by_number.pop(life.record.number, None)
        self._by_id.pop(life.record.system_id, None)
