"""Checks what the processes of one slave say to each other.

Each says it in notes: a number of an enum, then fields of known shapes. Code of users runs in
the process that says it, so that what arrives may be anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import IntEnum

    from concurro.wire.shapes import Shape


def check_fields(who: str, shapes: Mapping[Any, tuple[Shape, ...]], note: Any, body: list[Any]) -> None:
    """Check a note as a whole, before any of it counts.

    Args:
        who: Says it, in words.
        shapes: Notes that it may say, members of one enum, to the shapes of their fields.
        note: What it says.
        body: The fields.

    Raises:
        ProtocolError: It does not say that.
    """
    fields = shapes.get(note) if type(note) is int else None
    if fields is None:
        message = f"{who} does not say {note!r:.40}"
        raise ProtocolError(message)
    if len(body) != len(fields):
        message = f"{_name_of(note, shapes)} with {len(body)} fields, expected {len(fields)}"
        raise ProtocolError(message)
    for index, (shape, field) in enumerate(zip(fields, body, strict=True)):
        if fault := shape(field):
            message = f"{_name_of(note, shapes)}[{index}]{fault}"
            raise ProtocolError(message)


def _name_of(note: int, shapes: Mapping[Any, object]) -> str:
    member: IntEnum = next(known for known in shapes if known == note)
    return member.name
