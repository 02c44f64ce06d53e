"""Sets that come out of a pickle in another order."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from concurro.wire.picklers import ValuePickler

if TYPE_CHECKING:
    import pickle

    from concurro.wire.code import CodeTable


def reordered_set(value: Any, table: CodeTable) -> str:
    """Name a set in `value` that a pickle gives back in another order.

    Empty: there is none. A set is loaded by adding its elements in the order in which it had them,
    and that leads to another table where elements collide, or have been removed.

    Raises:
        BaseException: It does not pickle.
    """
    watcher = _Watcher(_Nowhere(), table, _drop)
    watcher.dump(value)
    return watcher.found


class _Watcher(ValuePickler):
    """Looks at everything that is pickled.

    Attributes:
        found: The first set that comes back otherwise, for people.
    """

    found = ""

    def persistent_id(self, value: Any) -> None:
        """Look at a set; everything is pickled as it is."""
        if isinstance(value, set | frozenset) and not self.found and _changes(value):
            self.found = f"a {type(value).__qualname__} of {len(value)}"


def _changes(elements: set[Any] | frozenset[Any]) -> bool:
    """Say whether loading gives another order, or will after more was added."""
    order = list(elements)
    again = type(elements)(order) if type(elements) is frozenset else set(order)
    return any(one is not other for one, other in zip(order, again, strict=True)) or _room(again) != _room(elements)


def _room(elements: set[Any] | frozenset[Any]) -> int:
    return sys.getsizeof(elements) if type(elements) in (set, frozenset) else 0


class _Nowhere(io.BytesIO):
    """Takes what is written, and keeps nothing."""

    def write(self, content: Any, /) -> int:
        return len(content)


def _drop(buffer: pickle.PickleBuffer) -> None:
    buffer.release()
