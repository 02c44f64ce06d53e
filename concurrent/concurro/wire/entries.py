"""Entries: the shapes that many messages carry.

Results, finished tasks, tasks and leases come by the hundred thousand per second: their
usual form is recognized in one tight loop, and only an entry of another form is looked at
field by field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.ids import Outcome
from concurro.wire.blobs import DIGEST_SIZE
from concurro.wire.shapes import (
    amount,
    anything,
    count,
    octets,
    octets_of,
    optional,
    record,
    sequence,
    table,
    text,
    whole,
    within,
)

if TYPE_CHECKING:
    from concurro.wire.shapes import Shape

MOST_NOTICES = 1024
"""Most texts that one message carries for people."""

DIGEST = octets_of(DIGEST_SIZE)
_BLOB = record(("purpose", within(255)), ("digest", DIGEST), ("size", within(1 << 62)), exact=True)
BLOBS = optional(sequence(_BLOB))
AMOUNTS = table(amount)
NUMBERS = sequence(whole)
_FAILURE = record(
    ("type_name", text),
    ("message", text),
    ("traceback", text),
    ("pickled", optional(octets)),
    ("where", text),
    needed=2,
    exact=True,
)
PUBLICATIONS = sequence(record(("value", octets), ("blobs", BLOBS), exact=True))
PROGRESS = optional(record(("done", whole), ("total", optional(whole)), ("message", text), exact=True))
NOTICES = sequence(text, MOST_NOTICES)


def _with_outcome(*fields: tuple[str, Shape], exact: bool = False) -> Shape:
    """Return the shape of a record whose `outcome` says what its `value` is."""
    inner = record(*fields, exact=exact)
    names = [name for name, _ in fields]
    outcome, content = names.index("outcome"), names.index("value")

    def shape(value: Any) -> str:
        fault = inner(value)
        if fault:
            return fault
        fault = octets(value[content]) if value[outcome] == Outcome.DONE else _FAILURE(value[content])
        return f".value{fault}" if fault else ""

    return shape


_OUTCOME: tuple[tuple[str, Shape], ...] = (("outcome", within(max(Outcome))), ("value", anything), ("blobs", BLOBS))
ENDED = _with_outcome(*_OUTCOME, exact=True)

# The entries that come in great numbers

_RESULT = _with_outcome(("lease", whole), *_OUTCOME, ("duration", count), exact=True)
_TASK = record(("class", whole), ("payload", octets), ("blobs", BLOBS), needed=2)
_FINISHED = _with_outcome(
    ("number", whole), *_OUTCOME, ("slave_id", optional(text)), ("attempt", whole), ("duration", count)
)
_LEASE = record(
    ("lease", whole),
    ("system", whole),
    ("class", whole),
    ("number", whole),
    ("attempt", whole),
    ("payload", octets),
    ("blobs", BLOBS),
)


def results(entries: Any) -> str:
    """Take the body of RESULTS."""
    if type(entries) is not list:
        return _no_entries(entries)
    for entry in entries:
        if entry.__class__ is list and len(entry) == 5:  # noqa: PLR2004 - as `_RESULT`
            lease, outcome, value, blobs, duration = entry
            if (
                value.__class__ is bytes
                and blobs is None
                and lease.__class__ is int is outcome.__class__ is duration.__class__
                and outcome == 0 <= duration
            ):
                continue
        if fault := _RESULT(entry):
            return f"[{_index(entries, entry)}]{fault}"
    return ""


def finished(entries: Any) -> str:
    """Take what IN says of tasks that are final."""
    if type(entries) is not list:
        return _no_entries(entries)
    for entry in entries:
        if entry.__class__ is list and len(entry) == 7:  # noqa: PLR2004 - as `_FINISHED`
            number, outcome, value, blobs, slave_id, attempt, duration = entry
            if (
                value.__class__ is bytes
                and blobs is None
                and slave_id.__class__ is str
                and number.__class__ is int is outcome.__class__ is attempt.__class__ is duration.__class__
                and outcome == 0 <= duration
            ):
                continue
        if fault := _FINISHED(entry):
            return f"[{_index(entries, entry)}]{fault}"
    return ""


def tasks(entries: Any) -> str:
    """Take the tasks of OUT."""
    if type(entries) is not list:
        return _no_entries(entries)
    for entry in entries:
        if entry.__class__ is list and len(entry) == 2:  # noqa: PLR2004 - as `_TASK` without blobs
            task_class, payload = entry
            if task_class.__class__ is int and payload.__class__ is bytes:
                continue
        if fault := _TASK(entry):
            return f"[{_index(entries, entry)}]{fault}"
    return ""


def leases(entries: Any) -> str:
    """Take the body of LEASES."""
    if type(entries) is not list:
        return _no_entries(entries)
    for entry in entries:
        if entry.__class__ is list and len(entry) == 7:  # noqa: PLR2004 - as `_LEASE`
            lease, system, task_class, number, attempt, payload, blobs = entry
            if (
                payload.__class__ is bytes
                and blobs is None
                and lease.__class__ is int is system.__class__ is task_class.__class__
                and number.__class__ is int is attempt.__class__
            ):
                continue
        if fault := _LEASE(entry):
            return f"[{_index(entries, entry)}]{fault}"
    return ""


def _no_entries(entries: Any) -> str:
    return sequence(anything)(entries)


def _index(entries: list[Any], wanted: Any) -> int:
    return next(index for index, entry in enumerate(entries) if entry is wanted)
