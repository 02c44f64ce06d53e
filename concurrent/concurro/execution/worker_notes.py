"""What a worker may say: the shapes of its notes.

A task shares process and channel with its worker, so that what arrives may be anything. It
is checked as a whole before any of it counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.execution.note_fields import check_fields
from concurro.execution.worker import NAME_LIMIT, Note
from concurro.wire.entries import DIGEST, results
from concurro.wire.shapes import count, sequence, text, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from concurro.wire.shapes import Shape


def _name(value: Any) -> str:
    return text(value) or (f" has more than {NAME_LIMIT} characters" if len(value) > NAME_LIMIT else "")


_SHAPES: Mapping[Note, tuple[Shape, ...]] = {
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
    check_fields("a worker", _SHAPES, note, body)
