"""How much our own objects hold: the length of every container that can be reached from some of them."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from typing import Any

CONTAINERS = (dict, list, set, deque)
BOUNDED = {"Agenda._deadlines", "Loop._timers", "Offer.idle", "Room.idle", "Roster._past", "SystemRecord.endings"}
"""Timers stay until they would have been due, slaves are idle or not, and the ends of a thousand systems are kept."""


def table_sizes(*roots: object) -> Counter[str]:
    """Return `Class.attribute` to how much all of these hold together."""
    while True:
        with contextlib.suppress(RuntimeError):  # a table of another thread changed while it was looked at
            return _table_sizes(roots)


def _table_sizes(roots: tuple[object, ...]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[Any] = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        for name, value in _attributes(one):
            where = f"{type(one).__name__}.{name}"
            if isinstance(value, CONTAINERS) and where not in BOUNDED:
                sizes[where] += len(value)
            waiting.extend(_ours(value))
    return sizes


def _attributes(one: object) -> list[tuple[str, Any]]:
    slots = [name for cls in type(one).__mro__ for name in getattr(cls, "__slots__", ()) if hasattr(one, name)]
    return [
        *list(vars(one).items() if hasattr(one, "__dict__") else ()),
        *((name, getattr(one, name)) for name in slots),
    ]


def _ours(value: Any, depth: int = 3) -> list[Any]:
    """Return the objects of our packages in a value, containers in containers too."""
    if type(value).__module__.partition(".")[0] == "concurro":
        return [value]
    if not depth or not isinstance(value, (*CONTAINERS, tuple)):
        return []
    parts = list(value.values()) if isinstance(value, dict) else list(value)
    return [found for part in parts for found in _ours(part, depth - 1)]
