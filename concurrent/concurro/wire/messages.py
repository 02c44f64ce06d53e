"""Every message, its layout, and the code that packs and checks frame 0.

Frame 0 of a message is a msgpack array `[version, kind, seq, ack, body]`; `body` is a
positional array. New fields go to the end of an array, and a reader ignores what it
does not know. Further frames are raw bytes (chunks of blobs) and are forwarded untouched.

Two layouts appear in many messages:

    blobs    [[purpose, digest, size], ...] or None; purpose is a `BlobPurpose`
    result   [outcome, value, blobs]: for DONE `value` is an opaque payload (bytes), else
             a failure [type_name, message, traceback, pickled exception or None]

              application                 master                    slave agent
                   | HELLO ----------------> | <---------------- HELLO |
                   | <-------------- WELCOME | WELCOME --------------> |
    a system       | SUBMIT ---------------> |                         |
                   | <------------ SUBMITTED |   host                  |
                   |                         | START ->|               |
                   |                         | IN n -->|               |
                   |                         | <-- OUT n               |
                   |                         | LEASES ---------------> |
                   |                         | <-------------- RESULTS |
                   |                         | IN n+1 ->| ... RESULT_ACK>
                   | <---------------- EVENT |                         |
                   | TAKEN ----------------> |                         |
                   | <---------------- ENDED |                         |
    output         | <-------------- PRINTED | <--------------- OUTPUT |
    inside a task  |                         | <----------- TUNNEL_OPEN |
                   |                         | <-- TUNNEL (HELLO, ...) |
                   |                         | TUNNEL (WELCOME, ...) > |
    services       | LINE_OPEN ------------> | LINE_OPEN ------------> | == worker for services
                   | <---------- LINE_OPENED | <---------- LINE_OPENED |
                   | LINE <---------------> LINE <------------------> LINE |
    plain tasks    | OPEN -----------------> |                         |
                   | OUT ------------------> | (the application is the host
                   | <------------------- IN |  of an implicit system)
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import msgpack

from concurro.errors import ProtocolError

PROTOCOL = 1
"""Major version of the protocol; peers of another one are refused."""

INLINE_LIMIT = 64 * 1024
"""Payloads up to this size ride inline [B]; larger ones are blobs."""

CHUNK_SIZE = 512 * 1024
"""Bytes of a blob in one BLOB_CHUNK [B]."""

MESSAGE_LIMIT = 256 * 1024 * 1024
"""Largest frame that a peer accepts [B]."""


UNCOUNTED = 1024 * 1024
"""Up to this size nobody counts what frame 0 holds: it cannot be much [B]."""

MOST_VALUES = 1 << 21
"""Values in a frame 0 that is larger: an empty list takes 1 byte there, and 60 in memory."""


class Kind(IntEnum):
    """The kinds of messages, with the body of each."""

    # Every session.
    HELLO = 1  # [protocol, python "3.11", role, session id, known epoch, received seq, name, facts {}]
    WELCOME = 2  # [epoch, peer id, received seq, task credit, byte credit, facts
    #             {"data": token, "resumed": bool, "journal": its name or absent}]
    REFUSED = 3  # [code, text]; code "session": that one has ended, say HELLO with another
    GOODBYE = 4  # [reason, code]; code is a `Farewell`
    HEARTBEAT = 5  # []
    CREDIT = 6  # [tasks, bytes]: as many more may be sent
    RESEND = 7  # []: something behind the acknowledgement is missing; say it again
    BIND = 8  # [token]: this connection carries the blobs of the session that was given the token

    # Slave to master.
    SLAVE_STATE = 16  # [slots, worker pids, why it is sick or "", resources {}, draining, slots lent, stopped pids]
    RESULTS = 17  # [[lease, outcome, value, blobs, duration ns], ...]
    RETURNED = 18  # [leases, reason]: not started, given back
    STARTED = 19  # [leases]: of a RECALL, those that had started; they stay
    OUTPUT = 20  # [[lease, task name or "", stream 1|2, text, bytes dropped before it], ...], ahead of the results
    INVENTORY = 22  # [[lease, system, generation, number, attempt, stamp], ...]: what it holds from the master before,
    #                  first of all when HELLO said `was`; the results of these follow
    WAITS = 21  # [lease, for what, and whether its slot is lent]: its task waits; "" when it goes on
    STUCK = 23  # []: every task here waits, and no further slot may be lent; said again after a while
    SURROUNDINGS = 33  # [token, facts {}]: to LOOK_AROUND; the facts are what nodes/surroundings.py finds

    # Master to slave.
    CLASSES = 24  # [[system, class, name, timeout or None, requires {}, code payload, blobs, system id,
    #               generation, at most once], ...]
    LEASES = 25  # [[lease, system, class, number, attempt, payload, blobs], ...]
    RECALL = 26  # [leases]
    KILL = 27  # [leases]: running or not, no result is wanted
    RESULT_ACK = 28  # [leases]: results that are safe; their blobs may go
    FORGET = 29  # [system]: its classes are not needed any more
    DRAIN = 30  # []: finish what runs, return the rest, say GOODBYE
    LOOK_AROUND = 32  # [token]: somebody wants to know where you run
    REFUSE_WAIT = 31  # []: to STUCK: nothing runs elsewhere either; refuse a wait

    # Master to host, and to an application for its implicit system.
    START = 40  # [system, system id, payload, blobs, seed, facts {}]: with the fact `snapshot` the payload is a state
    IN = 41  # [system, n, time, [[number, outcome, value, blobs, slave id, attempt, duration ns], ...],
    #           tasks to pull, bytes to pull, cancel reason or None, cluster view or None]
    PUBLISHED = 43  # [system, count]: as many publications are safe, or nobody wants them; their blobs may go
    SNAPSHOT_GET = 44  # [system, n]: pickle yourself as you are after IN n
    SNAPSHOT_DONE = 46  # [system, n]: it is kept, or nobody wants it; its blobs may go
    # Host to master.
    SNAPSHOT = 45  # [system, n, state, blobs, publications up to n, why there is none or ""]
    # Host to master, and an application for its implicit system.
    OUT = 42  # [system, n, number of the first task, classes, tasks, cancelled numbers, publications,
    #           progress or None, end or None, facts {}]
    #   classes: [[class, name, priority, timeout, max_retries, requires {}, code payload, blobs], ...]
    #   tasks: [[class, payload] or [class, payload, blobs], ...], numbered on from the first
    #   publications: [[value, blobs], ...]; progress: [done, total, message]
    #   end: [state, result] with state "complete" or "failed" and result as above
    #   facts: {"exhausted": bool, "round": int, "notices": [text, ...] or absent,
    #           "unstarted": numbers of tasks to be cancelled unless they have started, or absent}

    # Application and master.
    SUBMIT = 56  # [token, system id, name, payload, blobs, options {detach, ttl, weight, restarts, speculate}]
    OPEN = 57  # [token, system id, name]: an implicit system
    ATTACH = 58  # [token, system id]
    SUBMITTED = 59  # [token, system, system id, error text or None, error code or None]
    CANCEL_SYSTEM = 60  # [system id]
    EVENT = 61  # [system, publications, progress or None, counts {} or None, elapsed s, notices, number,
    #             number of the first publication]
    ENDED = 62  # [system, state, result]
    RELEASE = 63  # [system id]: the result arrived; it may go
    REQUEST = 64  # [token, name, arguments []]
    REPLY = 65  # [token, ok, value or error text]
    PRINTED = 66  # [[system, number or None for its host, name, slave id, stream 1|2, text, bytes dropped], ...]
    TAKEN = 67  # [system, number]: every EVENT up to that one was taken; its blobs may go

    # Slave and master: the application of a task goes through the slave, its frames untouched.
    TUNNEL_OPEN = 70  # [tunnel, lease]: of the slave; the task of that lease, or with 0 services, speak to the master
    TUNNEL = 71  # [tunnel], and the frames of one message, from frame 1 on
    TUNNEL_END = 72  # [tunnel, reason]

    # Services: an application speaks to one of the master, or of a worker, on a line (wire/lines.py).
    LINE_OPEN = 90  # [line, service, address of a worker or "", who, invitation to meet (transport/meeting.py) or ""]:
    #                 application to master, master to slave; with a socket as frame 1 where descriptors can be passed
    LINE_OPENED = 91  # [line, straight]: the service is there; straight: it took the socket, and speaks through it
    LINE = 92  # [line], and the frames of one message
    LINE_END = 93  # [line, code, text]; code is a `LineCode`
    HIRE = 94  # []: master to slave: keep workers for services
    STAFF = (
        95  # [[[number, pid], ...] of workers for services that live, [[number, how it ended], ...]]: slave to master
    )

    # Blobs, either way.
    BLOB_GET = 80  # [digest, size, offset, length]
    BLOB_CHUNK = 81  # [digest, size, offset], and the bytes as frame 1
    BLOB_MISSING = 82  # [digest, size]
    BLOB_MAP = 83  # [digest, size]: its pages are wanted; only where descriptors can be passed
    BLOB_MAPPED = 84  # [digest, size], and a descriptor as frame 1; without one it comes in chunks


class Farewell(StrEnum):
    """Why one end says GOODBYE."""

    LEFT = "left"  # it may come back
    STOPPED = "stopped"  # the node was stopped on purpose
    FAILED = "failed"  # the node ended with an error
    SILENT = "silent"  # the other end was not heard for too long
    PROTOCOL = "protocol"  # the other end sends nonsense


class LineCode(StrEnum):
    """Why a line ends."""

    CLOSED = "closed"  # the caller, or the service, closed it
    UNKNOWN = "unknown"  # there is no such service, or it cannot be used
    LOST = "lost"  # who was at the other end is gone
    BUSY = "busy"  # there are too many


class BlobPurpose(IntEnum):
    """What a blob of a payload is for."""

    BUFFER = 0  # an out-of-band buffer, in order
    CODE = 1  # a class or function that travels by value
    PICKLE = 2  # the pickle itself, too large to ride inline
    PARCEL = 3  # of a parcel among the values, which stays unopened


class Message(NamedTuple):
    """A checked message."""

    kind: int
    seq: int
    ack: int
    body: list[Any]
    frames: tuple[Any, ...] = ()


def pack_message(kind: int, body: list[Any] | tuple[Any, ...], seq: int = 0, ack: int = 0) -> bytes:
    """Return frame 0."""
    packed: bytes = msgpack.packb((PROTOCOL, kind, seq, ack, body), use_bin_type=True)
    return packed


def unpack_values(frame: bytes | memoryview) -> Any:
    """Unpack what may come from anybody, within bounds of memory.

    Raises:
        Exception: It is not msgpack, or holds too much.
    """
    if len(frame) <= UNCOUNTED:
        return msgpack.unpackb(frame, use_list=True, raw=False, strict_map_key=False)
    left = MOST_VALUES

    def count(values: Any) -> Any:
        nonlocal left
        left -= 1 + len(values)
        if left < 0:
            message = f"more than {MOST_VALUES} values"
            raise ValueError(message)
        return values

    return msgpack.unpackb(
        frame,
        use_list=True,
        raw=False,
        strict_map_key=False,
        max_array_len=MOST_VALUES,
        max_map_len=MOST_VALUES,
        list_hook=count,
        object_hook=count,
    )


def unpack_message(frames: list[Any]) -> Message:
    """Check the frames of one message.

    Raises:
        ProtocolError: They are not one of ours.
    """
    try:
        header = unpack_values(frames[0])
    except Exception as error:
        message = f"frame 0 is not msgpack: {error}"
        raise ProtocolError(message) from error
    if header.__class__ is not list or len(header) < 5:  # noqa: PLR2004 - the five fields above
        message = "frame 0 is not [version, kind, seq, ack, body]"
        raise ProtocolError(message)
    version, kind, seq, ack, body = header[:5]
    if version != PROTOCOL and kind not in (Kind.HELLO, Kind.REFUSED):
        message = f"protocol version {version!r}, expected {PROTOCOL}"
        raise ProtocolError(message)
    if not (kind.__class__ is seq.__class__ is ack.__class__ is int and body.__class__ is list):
        message = "frame 0 has fields of wrong types"
        raise ProtocolError(message)
    return Message(kind, seq, ack, body, tuple(frames[1:]))
