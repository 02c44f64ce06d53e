"""Arguments of a call on their way.

values ---------------> as they are, when all are plain and small; else one parcel
tasks, outputs, refs -> dependencies: waited for, and fetched, where the call runs
outputs.done ---------> a dependency without a value, which leaves no argument
proxies, nested tasks -> references; whoever sends them keeps them until the call is over
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from concurro_monitor import WarehouseRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro import Parcel

PLAIN = frozenset({type(None), bool, int, float, str, bytes})
"""What needs no parcel: it names nothing, and has no buffers."""

SMALL = 1024
"""A text or bytes up to so long travel plainly [B]."""

_keeping: ContextVar[list[Any] | None] = ContextVar("concurro_tessera_keeping", default=None)


class Dependency(NamedTuple):
    """What stands for an argument until it is there.

    Attributes:
        at: Position or name of the argument; None: it is no argument.
        task: Uid of a task; empty for a value of the warehouse.
        tessera: Uid of the tessera that runs it; uid of the value.
        address: Worker of the tessera, if it is known.
        incarnation: Of the tessera.
        key: Which part of the result; see `whole`.
        whole: Whether the whole result is meant.
    """

    at: int | str | None
    task: str
    tessera: str
    address: str
    incarnation: int
    key: Any = None
    whole: bool = True


class Packed(NamedTuple):
    """Arguments, ready to travel.

    Attributes:
        payload: None for none, `(args, kwargs)`, or a parcel of that.
        dependencies: What is filled in where the call runs; None for nothing.
        kept: What must live until the call is over.
    """

    payload: Any
    dependencies: list[tuple[Any, ...]] | None
    kept: list[Any] | None


NOTHING = Packed(None, None, None)


def is_plain(value: Any) -> bool:
    """Say whether a value travels without a parcel."""
    kind = value.__class__
    return kind in PLAIN and ((kind is not str and kind is not bytes) or len(value) <= SMALL)


def keep(value: Any) -> bool:
    """Let whoever packs keep a value until it has arrived.

    Return whether anybody does.
    """
    kept = _keeping.get()
    if kept is None:
        return False
    kept.append(value)
    return True


def pack_keeping(pack: Callable[[Any], Parcel], value: Any) -> tuple[Parcel, list[Any]]:
    """Return a parcel, and what must live until it is opened.

    Raises:
        NotPicklableError: It cannot travel; names the culprit.
    """
    kept: list[Any] = []
    token = _keeping.set(kept)
    try:
        return pack(value), kept
    finally:
        _keeping.reset(token)


def pack_arguments(pack: Callable[[Any], Parcel], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Packed:
    """Return the arguments of a call, ready to travel.

    Raises:
        NotPicklableError: One cannot travel; names the culprit.
    """
    if not args and not kwargs:
        return NOTHING
    if all(map(is_plain, args)) and (not kwargs or all(map(is_plain, kwargs.values()))):
        return Packed((args, kwargs), None, None)
    dependencies: list[tuple[Any, ...]] = []
    kept: list[Any] = []
    values: list[Any] = []
    for value in args:
        stands = _dependency(len(values), value, dependencies, kept)
        if stands is not _LEFT_OUT:
            values.append(stands)
    named = {}
    for name, value in kwargs.items():
        stands = _dependency(name, value, dependencies, kept)
        if stands is not _LEFT_OUT:
            named[name] = stands
    if all(map(is_plain, values)) and all(map(is_plain, named.values())):
        return Packed((tuple(values), named), dependencies or None, kept)
    parcel, inside = pack_keeping(pack, (tuple(values), named))
    return Packed(parcel, dependencies or None, kept + inside)


def unpack_arguments(payload: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments, another copy each time.

    Loading runs code of users, and may raise anything.
    """
    if payload is None:
        return [], {}
    args, kwargs = payload if payload.__class__ is tuple else payload.open()
    return list(args), dict(kwargs)


_LEFT_OUT = object()


def _dependency(at: int | str, value: Any, dependencies: list[tuple[Any, ...]], kept: list[Any]) -> Any:
    """Return what stands for an argument; note a dependency."""
    if value.__class__ in PLAIN:
        return value
    if isinstance(value, WarehouseRef):
        dependencies.append(tuple(Dependency(at, "", value.uid, "", 0)))
        return None
    depend = getattr(type(value), "as_dependency", None)
    if depend is None:
        return value
    found: Dependency | None = depend(value, at)
    if found is None:
        return value
    kept.append(value)
    dependencies.append(tuple(found))
    return None if found.at is not None else _LEFT_OUT
