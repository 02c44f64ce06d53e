"""The door: who may send which message, and what its fields must be.

    frames --Session.accept--> Message --check_message--> handlers, cores

`SCHEMA` says for each `Kind` who sends it and the shape of its body, as `wire/messages.py`
lays it out. What passes can be stored and passed on: types, signs, lengths and nesting are
right, and it can be packed again. What a number refers to is for the cores to judge.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from concurro.errors import ProtocolError
from concurro.ids import Role, SystemState
from concurro.wire.entries import (
    AMOUNTS,
    BLOBS,
    DIGEST,
    ENDED,
    NOTICES,
    NUMBERS,
    PROGRESS,
    PUBLICATIONS,
    finished,
    leases,
    results,
    tasks,
)
from concurro.wire.messages import CHUNK_SIZE, PROTOCOL, Kind, Message
from concurro.wire.segments import Descriptor
from concurro.wire.shapes import (
    amount,
    anything,
    choice,
    count,
    facts,
    flag,
    octets,
    optional,
    plain,
    record,
    scalar,
    sequence,
    table,
    text,
    unless,
    whole,
    within,
)

if TYPE_CHECKING:
    from concurro.wire.shapes import Shape

MOST_WORKERS = 1 << 20
"""Most workers of one slave."""

LAST_NUMBER = 1 << 53
"""Largest number of a task; what is counted on from it still fits into a frame."""

MOST_ARGUMENTS = 1024
"""Most arguments of a question."""


class Sender(Enum):
    """Who is at the other end of a link."""

    STRANGER = "stranger"  # has not said HELLO
    MASTER = "master"
    SLAVE = Role.SLAVE.value
    APPLICATION = Role.APPLICATION.value
    HOST = Role.HOST.value
    ADMIN = Role.ADMIN.value

    __hash__ = object.__hash__  # one is looked up per message, and that of enums is a call


class Rule(NamedTuple):
    """Who sends messages of a kind, and what their bodies are."""

    senders: frozenset[Sender]
    body: Shape


def check_message(message: Message, sender: Sender) -> None:
    """Refuse what `sender` must not send, and what is not as it should be.

    What a stranger says instead of HELLO is not looked at: it is refused whatever it is.

    Raises:
        ProtocolError: Names the kind and the field.
    """
    kind = message.kind
    if sender is Sender.STRANGER and kind not in (Kind.HELLO, Kind.BIND):
        return
    rule = SCHEMA.get(kind)
    if rule is None:
        refusal = f"there is no message of kind {kind}"
        raise ProtocolError(refusal)
    if sender not in rule.senders:
        refusal = f"{Kind(kind).name} is no message of a peer that is {sender.value}"
        raise ProtocolError(refusal)
    fault = rule.body(message.body)
    if not fault and kind == Kind.BLOB_CHUNK:
        fault = _fault_of_chunk(message.frames)
    elif not fault and kind == Kind.BLOB_MAPPED:
        fault = _fault_of_mapped(message.frames)
    if fault:
        refusal = f"{Kind(kind).name}{fault}"
        raise ProtocolError(refusal)


# The kinds, each with the fields of its body

_WORKERS = within(MOST_WORKERS)
_PIDS = sequence(count, MOST_WORKERS)
_SLAVE_FACTS: dict[str, Shape] = {
    "pid": count,
    "machine": text,
    "workers": _WORKERS,
    "resources": AMOUNTS,
    "worker_pids": _PIDS,
    "was": text,
}
_SURROUNDINGS = facts(
    time=amount,
    host=text,
    pid=count,
    executable=text,
    platform=text,
    versions=table(text),
    processors=count,
    load=sequence(amount, 3),
    memory=table(count),
    own_memory=count,
    limits=table(sequence(whole, 2)),
    shared_memory=table(scalar),
    backlog=count,
)
_PEER_FACTS = facts(pid=count, machine=text, client_id=text, output=flag)
_HELLO = record(
    ("protocol", whole),
    ("python", text),
    ("role", choice(Role.SLAVE.value, Role.APPLICATION.value, Role.ADMIN.value)),  # hosts are started, they do not dial
    ("session", octets),
    ("epoch", count),
    ("received", count),
    ("name", text),
    ("facts", anything),
)
_FACTS_OF_ROLE = {Role.SLAVE.value: facts(needed=("workers",), **_SLAVE_FACTS)}


def _hello(body: Any) -> str:
    if len(body) >= 8 and type(body[0]) is int and body[0] != PROTOCOL:  # noqa: PLR2004 - as `_HELLO`
        return ""  # of another protocol only this much is known; it is refused by its number
    fault = _HELLO(body)
    if not fault and (fault := _FACTS_OF_ROLE.get(body[2], _PEER_FACTS)(body[7])):
        fault = f".facts{fault}"
    return fault


def _fault_of_chunk(frames: tuple[Any, ...]) -> str:
    if not frames or isinstance(frames[0], Descriptor):
        return ".frames must hold the bytes of the chunk, got none"
    size = len(frames[0])
    return "" if size <= CHUNK_SIZE else f".frames must hold at most {CHUNK_SIZE} bytes, got {size}"


def _fault_of_mapped(frames: tuple[Any, ...]) -> str:
    return "" if all(isinstance(frame, Descriptor) for frame in frames) else ".frames must hold a descriptor at most"


_PLACE: tuple[tuple[str, Shape], ...] = (("digest", DIGEST), ("size", within(1 << 62)))
_OUT_CLASS = record(
    ("class", whole),
    ("name", text),
    ("priority", whole),
    ("timeout", optional(amount)),
    ("max_retries", optional(count)),
    ("requires", AMOUNTS),
    ("payload", octets),
    ("blobs", BLOBS),
    exact=True,
)
_END = record(
    ("state", choice(SystemState.COMPLETE.value, SystemState.FAILED.value, SystemState.CANCELLED.value)),
    ("result", ENDED),
    exact=True,
)
_OUT_FACTS = facts(exhausted=flag, more=flag, round=count, notices=NOTICES, retired=sequence(count), unstarted=NUMBERS)
_OPTIONS = facts(detach=flag, ttl=scalar, weight=scalar, restarts=count, speculate=flag)
_CLASS = record(
    ("system", whole),
    ("class", whole),
    ("name", text),
    ("timeout", optional(amount)),
    ("requires", AMOUNTS),
    ("payload", octets),
    ("blobs", BLOBS),
    ("system_id", text),
    ("generation", count),
    ("at_most_once", flag),
    needed=7,
)
_HELD = record(
    ("lease", whole),
    ("system", whole),
    ("generation", count),
    ("number", whole),
    ("attempt", whole),
    ("stamp", octets),
)
_LOST = within(LAST_NUMBER)  # they are added up, and the sum is sent on
_OUTPUT = record(
    ("lease", whole), ("name", text), ("stream", within(2)), ("text", text), ("dropped", _LOST), exact=True
)
_PRINTED = record(
    ("system", whole),
    ("number", optional(whole)),
    ("name", text),
    ("slave_id", optional(text)),
    ("stream", within(2)),
    ("text", text),
    ("dropped", _LOST),
)


def _from(*senders: Sender) -> frozenset[Sender]:
    return frozenset(senders)


_VIEW = optional(
    sequence(
        record(
            ("id", text),
            ("host", text),
            ("workers", count),
            ("running", count),
            ("queued", count),
            ("rating", scalar),
            ("resources", AMOUNTS),
        )
    )
)
_START_FACTS = facts(view=_VIEW, time=amount, snapshot=count)

_STRANGER = _from(Sender.STRANGER)
_MASTER = _from(Sender.MASTER)
_SLAVE = _from(Sender.SLAVE)
_EMITTER = _from(Sender.HOST, Sender.APPLICATION)
_ASKER = _from(Sender.APPLICATION, Sender.ADMIN)
_KNOWN = frozenset(Sender) - _STRANGER
_ON_LINES = _from(Sender.APPLICATION, Sender.SLAVE, Sender.MASTER)

_TOKEN = ("token", count)
_TUNNEL = ("tunnel", count)
_LINE = ("line", count)
_SYSTEM = ("system", whole)
_SYSTEM_ID = ("system_id", text)
_LEASE_LIST = ("leases", NUMBERS)
_IN = record(
    _SYSTEM,
    ("n", count),
    ("time", amount),
    ("finished", finished),
    ("tasks", count),
    ("bytes", count),
    ("cancel", optional(text)),
    ("view", _VIEW),
)
_OUT = record(
    _SYSTEM,
    ("n", count),
    ("first", within(LAST_NUMBER)),
    ("classes", sequence(_OUT_CLASS)),
    ("tasks", tasks),
    ("cancelled", NUMBERS),
    ("publications", PUBLICATIONS),
    ("progress", PROGRESS),
    ("end", optional(_END)),
    ("facts", _OUT_FACTS),
)


# Two kinds come once per task when tasks come one by one: what most of them are is told at a glance.


def _is_plain_in(body: Any) -> bool:
    """Say whether it is an IN with results and nothing else."""
    if body.__class__ is not list or len(body) != 8:  # noqa: PLR2004 - as `_IN`
        return False
    system, n, time, entries, pull, size, cancel, view = body
    return (
        system.__class__ is int is n.__class__ is pull.__class__ is size.__class__
        and time.__class__ is float
        and n >= 0
        and pull >= 0
        and size >= 0
        and 0.0 <= time < inf
        and cancel is None is view
        and not finished(entries)
    )


def _is_plain_out(body: Any) -> bool:
    """Say whether it is an OUT with tasks and nothing else."""
    if body.__class__ is not list or len(body) != 10:  # noqa: PLR2004 - as `_OUT`
        return False
    system, n, first, classes, entries, cancelled, publications, progress, end, more = body
    return (
        system.__class__ is int is n.__class__ is first.__class__
        and n >= 0
        and 0 <= first <= LAST_NUMBER
        and classes == [] == cancelled
        and publications == []
        and more == {}
        and progress is None is end
        and not tasks(entries)
    )


SCHEMA: dict[int, Rule] = {
    Kind.HELLO: Rule(_STRANGER, _hello),
    Kind.WELCOME: Rule(
        _MASTER,
        record(
            ("epoch", count),
            ("peer_id", text),
            ("received", count),
            ("tasks", count),
            ("bytes", count),
            ("facts", facts(data=octets, resumed=flag, journal=octets)),
        ),
    ),
    Kind.REFUSED: Rule(_MASTER, record(("code", text), ("text", text))),
    Kind.GOODBYE: Rule(_KNOWN, record(("reason", text), ("code", text), needed=0)),
    Kind.HEARTBEAT: Rule(_KNOWN, record()),
    Kind.CREDIT: Rule(_KNOWN, record(("tasks", count), ("bytes", count))),
    Kind.RESEND: Rule(_KNOWN, record()),
    Kind.BIND: Rule(_STRANGER, record(("token", octets))),
    Kind.SLAVE_STATE: Rule(
        _SLAVE,
        record(
            ("slots", _WORKERS),
            ("pids", _PIDS),
            ("sick", text),
            ("resources", AMOUNTS),
            ("draining", flag),
            ("lent", _WORKERS),
            ("stopped", _PIDS),
            needed=4,
        ),
    ),
    Kind.RESULTS: Rule(_SLAVE, results),
    Kind.RETURNED: Rule(_SLAVE, record(_LEASE_LIST, ("reason", text))),
    Kind.STARTED: Rule(_SLAVE, record(_LEASE_LIST)),
    Kind.OUTPUT: Rule(_SLAVE, sequence(_OUTPUT)),
    Kind.INVENTORY: Rule(_SLAVE, sequence(_HELD)),
    Kind.WAITS: Rule(_SLAVE, record(("lease", whole), ("text", text))),
    Kind.STUCK: Rule(_SLAVE, record()),
    Kind.SURROUNDINGS: Rule(_SLAVE, record(_TOKEN, ("facts", _SURROUNDINGS))),
    Kind.TUNNEL_OPEN: Rule(_SLAVE, record(_TUNNEL, ("lease", whole))),
    Kind.TUNNEL: Rule(_SLAVE | _MASTER, record(_TUNNEL)),
    Kind.TUNNEL_END: Rule(_SLAVE | _MASTER, record(_TUNNEL, ("reason", text))),
    Kind.CLASSES: Rule(_MASTER, sequence(_CLASS)),
    Kind.LEASES: Rule(_MASTER, leases),
    Kind.RECALL: Rule(_MASTER, record(_LEASE_LIST)),
    Kind.KILL: Rule(_MASTER, record(_LEASE_LIST)),
    Kind.RESULT_ACK: Rule(_MASTER, record(_LEASE_LIST)),
    Kind.FORGET: Rule(_MASTER, record(_SYSTEM)),
    Kind.DRAIN: Rule(_MASTER, record()),
    Kind.LOOK_AROUND: Rule(_MASTER, record(_TOKEN)),
    Kind.REFUSE_WAIT: Rule(_MASTER, record()),
    Kind.START: Rule(
        _MASTER,
        record(_SYSTEM, _SYSTEM_ID, ("payload", octets), ("blobs", BLOBS), ("seed", whole), ("facts", _START_FACTS)),
    ),
    Kind.IN: Rule(_MASTER, unless(_is_plain_in, _IN)),
    Kind.PUBLISHED: Rule(_MASTER, record(_SYSTEM, ("count", count))),
    Kind.SNAPSHOT_GET: Rule(_MASTER, record(_SYSTEM, ("n", count))),
    Kind.SNAPSHOT_DONE: Rule(_MASTER, record(_SYSTEM, ("n", count))),
    Kind.SNAPSHOT: Rule(
        _from(Sender.HOST),
        record(_SYSTEM, ("n", count), ("state", octets), ("blobs", BLOBS), ("published", count), ("fault", text)),
    ),
    Kind.OUT: Rule(_EMITTER, unless(_is_plain_out, _OUT)),
    Kind.SUBMIT: Rule(
        _ASKER - {Sender.ADMIN},
        record(_TOKEN, _SYSTEM_ID, ("name", text), ("payload", octets), ("blobs", BLOBS), ("options", _OPTIONS)),
    ),
    Kind.OPEN: Rule(_ASKER - {Sender.ADMIN}, record(_TOKEN, _SYSTEM_ID, ("name", text))),
    Kind.ATTACH: Rule(_ASKER, record(_TOKEN, _SYSTEM_ID)),
    Kind.SUBMITTED: Rule(
        _MASTER, record(_TOKEN, _SYSTEM, _SYSTEM_ID, ("error", optional(text)), ("code", optional(text)))
    ),
    Kind.CANCEL_SYSTEM: Rule(_ASKER, record(_SYSTEM_ID)),
    Kind.EVENT: Rule(
        _MASTER,
        record(
            _SYSTEM,
            ("publications", PUBLICATIONS),
            ("progress", PROGRESS),
            ("counts", optional(table(count))),
            ("elapsed", amount),
            ("notices", NOTICES),
            ("number", count),
            ("first", count),
            needed=5,
        ),
    ),
    Kind.ENDED: Rule(
        _MASTER,
        record(
            _SYSTEM,
            ("state", choice(*(state.value for state in SystemState if state.ended))),
            ("result", optional(ENDED)),
            _SYSTEM_ID,
        ),
    ),
    Kind.TAKEN: Rule(_ASKER, record(_SYSTEM, ("number", count))),
    Kind.RELEASE: Rule(_ASKER, record(_SYSTEM_ID)),
    Kind.REQUEST: Rule(_ASKER, record(_TOKEN, ("name", text), ("arguments", sequence(plain, MOST_ARGUMENTS)))),
    Kind.REPLY: Rule(_MASTER, record(_TOKEN, ("ok", flag), ("value", anything))),
    Kind.PRINTED: Rule(_MASTER, sequence(_PRINTED)),
    Kind.LINE_OPEN: Rule(
        _from(Sender.APPLICATION, Sender.MASTER),
        record(_LINE, ("service", text), ("worker", text), ("who", text), ("invitation", text), needed=4),
    ),
    Kind.LINE_OPENED: Rule(_SLAVE | _MASTER, record(_LINE, ("straight", flag))),
    Kind.LINE: Rule(_ON_LINES, record(_LINE)),
    Kind.LINE_END: Rule(_ON_LINES, record(_LINE, ("code", text), ("text", text))),
    Kind.HIRE: Rule(_MASTER, record()),
    Kind.STAFF: Rule(
        _SLAVE,
        record(
            ("alive", sequence(record(("number", count), ("pid", count)), MOST_WORKERS)),
            ("ended", sequence(record(("number", count), ("how", text)), MOST_WORKERS)),
        ),
    ),
    Kind.BLOB_GET: Rule(_KNOWN, record(*_PLACE, ("offset", count), ("length", count))),
    Kind.BLOB_CHUNK: Rule(_KNOWN, record(*_PLACE, ("offset", count))),
    Kind.BLOB_MISSING: Rule(_KNOWN, record(*_PLACE)),
    Kind.BLOB_MAP: Rule(_KNOWN, record(*_PLACE)),
    Kind.BLOB_MAPPED: Rule(_KNOWN, record(*_PLACE)),
}
"""Every kind of message."""
