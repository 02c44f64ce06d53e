"""Find what in a value does not pickle, and where it sits."""

from __future__ import annotations

import types
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_TRIALS = 2000  # pickling attempts before the search ends with what it has
_DEPTH = 50


class Culprit(NamedTuple):
    """The innermost part that does not pickle.

    Attributes:
        path: Where it sits, e.g. `task.options['lock']`.
        type_name: Its type, e.g. `_thread.lock`.
    """

    path: str
    type_name: str


def find_culprit(value: object, name: str, pickles: Callable[[object], bool]) -> Culprit:
    """Return the innermost part of `value` that does not pickle.

    Args:
        value: Something that does not pickle.
        name: What the path starts with.
        pickles: Says whether a part pickles by itself; must not raise.
    """
    path, part = name, value
    trials = 0
    seen = {id(value)}
    for _ in range(_DEPTH):
        for step, child in _parts(part):
            trials += 1
            if id(child) in seen or pickles(child):
                continue
            seen.add(id(child))
            path, part = path + step, child
            break
        else:
            break
        if trials > _TRIALS:
            break
    return Culprit(path, type_name_of(part))


def type_name_of(value: object) -> str:
    """Return the name of a value's type as people write it."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    return islice(_all_parts(value), _TRIALS)


def _all_parts(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        yield from _parts_of_container(value)
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, type):
        yield from _parts_of_class(value)
    elif not isinstance(value, types.ModuleType):
        yield from _parts_of_instance(value)


def _parts_of_container(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f"[{_shown(key)}]", item) for key, item in value.items())
        yield from ((f" key {_shown(key)}", key) for key in value)
    elif isinstance(value, (list, tuple)):
        names = getattr(type(value), "_fields", None)
        for index, item in enumerate(value):
            yield (f".{names[index]}" if names else f"[{index}]"), item
    else:
        yield from ((" element", item) for item in value)


def _parts_of_class(cls: type) -> Iterator[tuple[str, object]]:
    for attribute, item in vars(cls).items():
        if not attribute.startswith("__") or isinstance(item, types.FunctionType):
            yield f".{attribute}", getattr(item, "__func__", item)


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f" closure {variable}", cell.cell_contents
        except ValueError:  # an empty cell
            continue
    for variable in function.__code__.co_names:
        if variable in function.__globals__:
            yield f" global {variable}", function.__globals__[variable]
    yield from ((f" default {position}", item) for position, item in enumerate(function.__defaults__ or ()))


def _parts_of_instance(value: Any) -> Iterator[tuple[str, object]]:
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        yield from ((f".{name}", item) for name, item in attributes.items())
    for slot in _slots(type(value)):
        try:
            yield f".{slot}", getattr(value, slot)
        except AttributeError:  # never set
            continue
    if isinstance(value, BaseException):
        yield from ((f".args[{index}]", item) for index, item in enumerate(value.args))


def _slots(cls: type) -> Iterable[str]:
    for each in cls.__mro__:
        slots = each.__dict__.get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def _shown(key: object) -> str:
    if isinstance(key, (str, int, float, bytes, bool, type(None))):
        return repr(key)
    return f"<{type_name_of(key)}>"
