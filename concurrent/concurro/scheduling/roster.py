"""The systems of a master, by number and by id. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from concurro.scheduling.life import count_emitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from concurro.scheduling.life import SystemLife

_S = TypeVar("_S")

PAST_SYSTEMS = 1000
"""Of so many systems that were forgotten it is known how they ended."""

LEAST_BEGINNING = 4
"""Characters of an id that are enough to find a system; fewer would match by accident."""


@dataclass(frozen=True, slots=True)
class PastSystem:
    """A system that was forgotten.

    Attributes:
        system_id: Its id.
        name: Class name.
        state: How it ended.
        emitted: Tasks that it had.
        done: Of them, those that were done.
        failed: Of them, those that failed.
        ended_at: When it ended [s]; None when nobody knows.
        detached: Whether its result was kept without an application.
    """

    system_id: str
    name: str
    state: str
    emitted: int
    done: int
    failed: int
    ended_at: float | None
    detached: bool


class Roster:
    """Every system that is known. Loop thread only.

    Args:
        first: Number of the first system; none of them was given before.
    """

    def __init__(self, first: int = 1) -> None:
        self._by_number: dict[int, SystemLife] = {}
        self._by_id: dict[str, SystemLife] = {}
        self._past: OrderedDict[str, PastSystem] = OrderedDict()
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
        return find_by_beginning(self._by_id, system_id)

    def past(self, system_id: str) -> PastSystem | None:
        """Return a system that was forgotten, by its id or a unique beginning.

        None when it was never known, or long ago.
        """
        return find_by_beginning(self._past, system_id)

    def emitted(self, system_id: str) -> int | None:
        """Return how many tasks a system has emitted.

        None when it is not known, or was long ago.
        """
        life = self._by_id.get(system_id)
        if life is not None:
            return count_emitted(life.record)
        past = self._past.get(system_id)
        return None if past is None else past.emitted

    def next_number(self) -> int:
        """Return a number that no system has or had."""
        self._last += 1
        return self._last

    def add(self, life: SystemLife) -> None:
        """Take a system."""
        self._by_number[life.record.number] = life
        self._by_id[life.record.system_id] = life

    def drop(self, life: SystemLife) -> None:
        """Forget a system, but for how it ended."""
        record = life.record
        self._past[record.system_id] = PastSystem(
            record.system_id,
            record.name,
            record.state.value,
            count_emitted(record),
            record.done,
            record.failed,
            life.ended_at,
            bool(life.options.get("detach")),
        )
        if len(self._past) > PAST_SYSTEMS:
            self._past.popitem(last=False)
        self._by_number.pop(life.record.number, None)
        self._by_id.pop(life.record.system_id, None)


def find_by_beginning(known: Mapping[str, _S], system_id: str) -> _S | None:
    """Return what has an id, or is the only one whose id begins so."""
    found = known.get(system_id)
    if found is None and len(system_id) >= LEAST_BEGINNING:
        matches = [one for known_id, one in known.items() if known_id.startswith(system_id)]
        found = matches[0] if len(matches) == 1 else None
    return found
