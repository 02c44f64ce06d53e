"""What a worker may say: the shapes of its notes.

A task shares process and channel with its worker, so that what arrives may be anything. It
is checked as a whole before any of it counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.execution.worker import NAME_LIMIT, Note
from concurro.wire.entries import DIGEST, results
from concurro.wire.shapes import count, sequence, text, whole

if TYPE_CHECKING:
    from concurro.wire.shapes import Shape


def _name(value: Any) -> str:
    return text(value) or (f" has more than {NAME_LIMIT} characters" if len(value) > NAME_LIMIT else "")


_SHAPES: dict[int, tuple[Shape, ...]] = {
    Note.READY: (),
    Note.RESULTS: (count, results),
    Note.BLOB: (DIGEST, count, count),
    Note.GET: (sequence(DIGEST),),
    Note.MAPPED: (DIGEST, count),
    Note.RECYCLE: (text,),
    Note.SPEAKS: (whole, _name),
    Note.STARTS: (whole,),
}


def check_note(note: Any, body: list[Any]) -> None:
    """Check a message of a worker.

    Raises:
        ProtocolError: No worker sends it.
    """
    shapes = _SHAPES.get(note) if type(note) is int else None
    if shapes is None:
        message = f"a worker does not say {note!r:.40}"
        raise ProtocolError(message)
    if len(body) != len(shapes):
        message = f"{Note(note).name} with {len(body)} fields, expected {len(shapes)}"
        raise ProtocolError(message)
    for index, (shape, field) in enumerate(zip(shapes, body, strict=True)):
        if fault := shape(field):
            message = f"{Note(note).name}[{index}]{fault}"
            raise ProtocolError(message)
