"""Units: the pickles of code, as both ends know them."""

from __future__ import annotations

import weakref
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concurro.ids import BlobRef

_MISSING = object()
_INLINE_CODE = 4096  # a function that may be used once rides inline up to this size [B]


class Unit:
    """One pickle of code.

    Attributes:
        ref: Its blob.
        code: The pickle.
        members: Weak references to what it defines, in order.
        needs: The blobs that loading it takes, itself included, by digest.
        uses: The globals that it was made from.
    """

    __slots__ = ("__weakref__", "code", "members", "needs", "ref", "uses")

    def __init__(self, ref: BlobRef, code: bytes | memoryview) -> None:
        self.ref = ref
        self.code = code
        self.members: list[weakref.ref[Any]] = []
        self.needs: dict[bytes, BlobRef] = {ref.digest: ref}
        self.uses: list[Use] = []

    def defines(self, values: Sequence[Any]) -> bool:
        """Say whether it defines these very values, in this order."""
        return len(values) == len(self.members) and all(
            member() is value for member, value in zip(self.members, values, strict=True)
        )

    def is_current(self) -> bool:
        """Say whether the globals that it was made from are still the same."""
        return all(use.is_current() for use in self.uses)


class Use:
    """A global that a unit was made from, and what it was bound to."""

    __slots__ = ("_is_weak", "_name", "_namespace", "_value")

    def __init__(self, namespace: dict[str, Any], name: str, value: Any) -> None:
        self._namespace = namespace
        self._name = name
        # A class must be able to die although a unit was made from its name.
        self._is_weak = isinstance(value, (type, FunctionType))
        self._value = weakref.ref(value) if self._is_weak else value

    def is_current(self) -> bool:
        """Say whether the name is still bound to the same value."""
        value = self._value() if self._is_weak else self._value
        return self._bound() is value

    def _bound(self) -> Any:
        return self._namespace.get(self._name, _MISSING)


class CellUse(Use):
    """A variable of a closure that a unit was made from."""

    __slots__ = ("_cell",)

    def __init__(self, cell: CellType, value: Any) -> None:
        super().__init__({}, "", value)
        self._cell = cell

    def _bound(self) -> Any:
        try:
            return self._cell.cell_contents
        except ValueError:  # unbound
            return _MISSING


class Known:
    """Where a class or function is defined: the unit and the place in it.

    Attributes:
        member: The class or function.
        unit: Its unit.
        index: Its place in the unit.
        round: The round of `CodeTable.refresh` in which the unit was made.
        arrived: Whether it was rebuilt here; such a unit is never made again.
        rides_inline: Whether the code rides in the payload at its next use. A lambda is often
            used once, and a blob of its own would cost a round trip.
    """

    __slots__ = ("arrived", "index", "member", "rides_inline", "round", "unit")

    def __init__(self, member: weakref.ref[Any], unit: Unit, index: int, made_in: int, *, arrived: bool) -> None:
        self.member = member
        self.unit = unit
        self.index = index
        self.round = made_in
        self.arrived = arrived
        self.rides_inline = not arrived and _may_ride_inline(member(), unit)


def _may_ride_inline(value: Any, unit: Unit) -> bool:
    is_local = isinstance(value, FunctionType) and "<" in value.__qualname__
    return is_local and len(unit.needs) == 1 and len(unit.code) <= _INLINE_CODE
