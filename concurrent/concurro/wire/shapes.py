"""Shapes: what a value that came over the wire must look like.

A shape is a function that returns what is wrong with a value, or "" when nothing is. What
is wrong begins with the place, so that the shapes around it only put theirs in front:
`RESULTS` + `[3]` + `.duration` + ` must be an integer of 0 or more, got 'soon'`.
"""

from __future__ import annotations

import reprlib
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Shape = Callable[[Any], str]

MOST_ENTRIES = 1 << 24
"""Longest list of a message; what fits into a frame is far less."""

DEEPEST = 16
"""Lists inside lists, at most, where the content is free."""

_SCALARS = (type(None), bool, int, float, str, bytes)


def anything(value: Any) -> str:  # noqa: ARG001 - the signature of a shape
    """Take every value: nobody looks into it here."""
    return ""


def scalar(value: Any) -> str:
    """Take a value that holds no others."""
    return "" if type(value) in _SCALARS else _not("a plain value", value)


def plain(value: Any, depth: int = DEEPEST) -> str:
    """Take scalars, and lists and tables of them, not too deep."""
    if depth == 0:
        return f" is nested more than {DEEPEST} levels deep"
    if type(value) is dict:
        value = [*value.keys(), *value.values()]
    if type(value) is list:
        return next((fault for one in value if (fault := plain(one, depth - 1))), "")
    return scalar(value)


def text(value: Any) -> str:
    """Take a text."""
    return "" if type(value) is str else _not("a text", value)


def octets(value: Any) -> str:
    """Take bytes."""
    return "" if type(value) is bytes else _not("bytes", value)


def flag(value: Any) -> str:
    """Take True or False."""
    return "" if type(value) is bool else _not("true or false", value)


def whole(value: Any) -> str:
    """Take any integer."""
    return "" if type(value) is int else _not("an integer", value)


def amount(value: Any) -> str:
    """Take a finite number that is not negative."""
    if type(value) in (int, float) and isfinite(value) and value >= 0:
        return ""
    return _not("a finite number of 0 or more", value)


def count(value: Any) -> str:
    """Take an integer that is not negative."""
    return "" if type(value) is int and value >= 0 else _not("an integer of 0 or more", value)


def within(most: int) -> Shape:
    """Return the shape of an integer from 0 to `most`."""

    def shape(value: Any) -> str:
        return "" if type(value) is int and 0 <= value <= most else _not(f"an integer from 0 to {most}", value)

    return shape


def octets_of(size: int) -> Shape:
    """Return the shape of that many bytes."""

    def shape(value: Any) -> str:
        return "" if type(value) is bytes and len(value) == size else _not(f"{size} bytes", value)

    return shape


def choice(*allowed: str) -> Shape:
    """Return the shape of one of some texts."""

    def shape(value: Any) -> str:
        return "" if type(value) is str and value in allowed else _not(f"one of {', '.join(allowed)}", value)

    return shape


def optional(inner: Shape) -> Shape:
    """Return the shape of None or that."""
    return lambda value: "" if value is None else inner(value)


def unless(is_plain: Callable[[Any], bool], inner: Shape) -> Shape:
    """Return the shape of what is plainly right, or else of that."""
    return lambda value: "" if is_plain(value) else inner(value)


def sequence(inner: Shape, most: int = MOST_ENTRIES) -> Shape:
    """Return the shape of a list of such values, `most` of them at most."""

    def shape(value: Any) -> str:
        if type(value) is not list or len(value) > most:
            return _not(f"a list of at most {most}", value)
        for index, one in enumerate(value):
            if fault := inner(one):
                return f"[{index}]{fault}"
        return ""

    return shape


def table(inner: Shape, most: int = 1024) -> Shape:
    """Return the shape of a table from texts to such values."""

    def shape(value: Any) -> str:
        if type(value) is not dict or len(value) > most:
            return _not(f"a table of at most {most}", value)
        for name, one in value.items():
            if type(name) is not str:
                return _not("a table with texts as names", name)
            if fault := inner(one):
                return f"[{reprlib.repr(name)}]{fault}"
        return ""

    return shape


def facts(needed: tuple[str, ...] = (), **known: Shape) -> Shape:
    """Return the shape of named facts; unknown ones are ignored."""

    def shape(value: Any) -> str:
        if type(value) is not dict:
            return _not("a table", value)
        for name in needed:
            if name not in value:
                return f".{name} is missing"
        for name, inner in known.items():
            if name in value and (fault := inner(value[name])):
                return f".{name}{fault}"
        return ""

    return shape


def record(*fields: tuple[str, Shape], needed: int | None = None, exact: bool = False) -> Shape:
    """Return the shape of a positional array.

    Args:
        fields: Name and shape of each field.
        needed: How many must be there; None for all.
        exact: Whether more than these are refused. Else a later version's are ignored.
    """
    least = len(fields) if needed is None else needed
    size = f"{least} fields" if least == len(fields) else f"{least} to {len(fields)} fields"
    if not exact:
        size = f"{least} fields or more"

    def shape(value: Any) -> str:
        if type(value) is not list or len(value) < least or (exact and len(value) > len(fields)):
            return _not(f"an array of {size}", value)
        for (name, inner), one in zip(fields, value, strict=False):
            if fault := inner(one):
                return f".{name}{fault}"
        return ""

    return shape


def _not(expected: str, value: Any) -> str:
    if isinstance(value, bytes | list | dict):
        return f" must be {expected}, got {type(value).__name__} of length {len(value)}"
    return f" must be {expected}, got {reprlib.repr(value)}"
