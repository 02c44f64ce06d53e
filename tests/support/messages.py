"""One valid message of each kind, and what becomes of it in hostile hands."""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st

from concurro.wire.messages import PROTOCOL, Kind
from concurro.wire.schema import Sender

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST = b"d" * 32
BLOBS = [[0, DIGEST, 100_000]]
FAILURE = ["ValueError", "wrong", "Traceback ...", None]
LEASE = 7 << 40 | 1
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Sample(NamedTuple):
    """A valid message."""

    kind: Kind
    sender: Sender
    body: list[Any]
    frames: tuple[bytes, ...] = ()


def hello_body(role: str = "slave", **facts: Any) -> list[Any]:
    """Return the body of a valid HELLO."""
    known = {"pid": 1, "workers": 2, "resources": {"gpu": 1}, "worker_pids": [3, 4], **facts}
    return [PROTOCOL, PYTHON, role, b"session", 0, 0, "north", known]


SAMPLES = [
    Sample(Kind.HELLO, Sender.STRANGER, hello_body()),
    Sample(Kind.HELLO, Sender.STRANGER, hello_body("application", client_id="c")),
    Sample(Kind.WELCOME, Sender.MASTER, [7, "north-1", 0, 200_000, 64, {}]),
    Sample(Kind.WELCOME, Sender.MASTER, [7, "north-1", 0, 200_000, 64, {"data": b"token", "resumed": False}]),
    Sample(Kind.REFUSED, Sender.MASTER, ["python", "another one"]),
    Sample(Kind.GOODBYE, Sender.SLAVE, ["done", "left"]),
    Sample(Kind.GOODBYE, Sender.MASTER, []),
    Sample(Kind.HEARTBEAT, Sender.APPLICATION, []),
    Sample(Kind.CREDIT, Sender.MASTER, [10, 1000]),
    Sample(Kind.RESEND, Sender.SLAVE, []),
    Sample(Kind.BIND, Sender.STRANGER, [b"token"]),
    Sample(Kind.SLAVE_STATE, Sender.SLAVE, [2, [3, 4], "", {"gpu": 1.0}, False, 1, [4]]),
    Sample(Kind.RESULTS, Sender.SLAVE, [[LEASE, 0, b"v", None, 5], [LEASE + 1, 0, b"v", BLOBS, 0]]),
    Sample(Kind.RESULTS, Sender.SLAVE, [[LEASE, 1, FAILURE, None, 5], [LEASE, 3, ["WorkerLost", "died"], None, 0]]),
    Sample(Kind.RETURNED, Sender.SLAVE, [[LEASE, LEASE + 1], "recalled"]),
    Sample(Kind.STARTED, Sender.SLAVE, [[LEASE]]),
    Sample(Kind.OUTPUT, Sender.SLAVE, [[LEASE, "task", 1, "text\n", 0]]),
    Sample(Kind.INVENTORY, Sender.SLAVE, [[LEASE, 1, 1, 0, 1, b"stamp"]]),
    Sample(Kind.WAITS, Sender.SLAVE, [LEASE, "system abc (Job)"]),
    Sample(Kind.STUCK, Sender.SLAVE, []),
    Sample(Kind.LOOK_AROUND, Sender.MASTER, [3]),
    Sample(
        Kind.SURROUNDINGS,
        Sender.SLAVE,
        [3, {"time": 1e9, "versions": {"python": "3.11.2"}, "load": [0.5, 0.4, 0.3], "memory": {"total": 1 << 33}}],
    ),
    Sample(Kind.REFUSE_WAIT, Sender.MASTER, []),
    Sample(Kind.TUNNEL_OPEN, Sender.SLAVE, [1, LEASE]),
    Sample(Kind.TUNNEL, Sender.SLAVE, [1], (b"frame 0", b"chunk")),
    Sample(Kind.TUNNEL, Sender.MASTER, [1], (b"frame 0",)),
    Sample(Kind.TUNNEL_END, Sender.MASTER, [1, "the lease is not known"]),
    Sample(Kind.LINE_OPEN, Sender.APPLICATION, [1, "tally", "north-1/2", ""]),
    Sample(Kind.LINE_OPEN, Sender.MASTER, [1, "tally", "north-1/2", "application-3"]),
    Sample(Kind.LINE_OPEN, Sender.APPLICATION, [1, "tally", "north-1/2", "", "concurro-0123/4567"]),
    Sample(Kind.LINE_OPENED, Sender.SLAVE, [1, True]),
    Sample(Kind.LINE, Sender.APPLICATION, [1], (b"frame 0", b"chunk")),
    Sample(Kind.LINE, Sender.SLAVE, [1], (b"frame 0",)),
    Sample(Kind.LINE_END, Sender.MASTER, [1, "lost", "its worker ended"]),
    Sample(Kind.HIRE, Sender.MASTER, []),
    Sample(Kind.STAFF, Sender.SLAVE, [[[2, 77]], [[1, "killed by SIGKILL"]]]),
    Sample(Kind.CLASSES, Sender.MASTER, [[1, 0, "m.T", 2.5, {"gpu": 1.0}, b"code", BLOBS, "system", 1, True]]),
    Sample(Kind.LEASES, Sender.MASTER, [[LEASE, 1, 0, 3, 1, b"p", None], [LEASE, 1, 0, 4, 2, b"", BLOBS]]),
    Sample(Kind.RECALL, Sender.MASTER, [[LEASE]]),
    Sample(Kind.KILL, Sender.MASTER, [[LEASE]]),
    Sample(Kind.RESULT_ACK, Sender.MASTER, [[LEASE]]),
    Sample(Kind.FORGET, Sender.MASTER, [1]),
    Sample(Kind.DRAIN, Sender.MASTER, []),
    Sample(Kind.START, Sender.MASTER, [1, "system", b"p", BLOBS, 42, {"view": []}]),
    Sample(
        Kind.IN,
        Sender.MASTER,
        [
            *(1, 2, 1e9, [[3, 0, b"v", None, "north-1", 1, 5], [4, 5, FAILURE, None, None, 0, 0]], 64, 1000, None),
            [["north-1", "north", 2, 1, 0, 0.5, {"gpu": 1.0}]],
        ],
    ),
    Sample(Kind.PUBLISHED, Sender.MASTER, [1, 2]),
    Sample(Kind.START, Sender.MASTER, [1, "system", b"", BLOBS, 42, {"snapshot": 7}]),
    Sample(Kind.SNAPSHOT_GET, Sender.MASTER, [1, 7]),
    Sample(Kind.SNAPSHOT, Sender.HOST, [1, 7, b"state", BLOBS, 3, ""]),
    Sample(Kind.SNAPSHOT_DONE, Sender.MASTER, [1, 7]),
    Sample(
        Kind.OUT,
        Sender.HOST,
        [
            *(1, 1, 5, [[0, "m.T", 1, 2.5, 3, {"gpu": 1.0}, b"code", BLOBS], [1, "m.U", 0, None, None, {}, b"", None]]),
            *([[0, b"p"], [1, b"q", BLOBS]], [2, 3], [[b"v", BLOBS]], [1, None, "half"], None),
            {"exhausted": False, "round": 1, "notices": ["a task failed"], "unstarted": [4]},
        ],
    ),
    Sample(Kind.OUT, Sender.HOST, [1, 1, 5, [], [], [], [], None, ["complete", [0, b"v", None]], {"more": False}]),
    Sample(Kind.OUT, Sender.HOST, [1, 1, 5, [], [], [], [], None, ["failed", [1, [*FAILURE, "T.finished"], None]], {}]),
    Sample(
        Kind.SUBMIT,
        Sender.APPLICATION,
        [1, "system-x", "Job", b"p", BLOBS, {"detach": True, "ttl": 9.0, "weight": 2.0, "restarts": 0}],
    ),
    Sample(Kind.OPEN, Sender.APPLICATION, [1, "tasks-x", "tasks"]),
    Sample(Kind.ATTACH, Sender.APPLICATION, [1, "system"]),
    Sample(Kind.SUBMITTED, Sender.MASTER, [1, 2, "system", None, None]),
    Sample(Kind.CANCEL_SYSTEM, Sender.APPLICATION, ["system-x"]),
    Sample(Kind.EVENT, Sender.MASTER, [1, [[b"v", None]], [1, 2, "half"], {"done": 1}, 0.5, ["notice"], 3, 9]),
    Sample(Kind.TAKEN, Sender.APPLICATION, [1, 3]),
    Sample(Kind.ENDED, Sender.MASTER, [1, "complete", [0, b"v", BLOBS], "system"]),
    Sample(Kind.RELEASE, Sender.APPLICATION, ["system-x"]),
    Sample(Kind.REQUEST, Sender.APPLICATION, [1, "explain", ["system"]]),
    Sample(Kind.REPLY, Sender.MASTER, [1, True, {"slaves": []}]),
    Sample(Kind.PRINTED, Sender.MASTER, [[1, 3, "task", "north-1", 1, "text\n", 0], [1, None, "Job", "", 2, "x", 9]]),
    Sample(Kind.BLOB_GET, Sender.SLAVE, [DIGEST, 100_000, 0, 1000]),
    Sample(Kind.BLOB_CHUNK, Sender.HOST, [DIGEST, 100_000, 0], (b"bytes",)),
    Sample(Kind.BLOB_MISSING, Sender.APPLICATION, [DIGEST, 100_000]),
    Sample(Kind.BLOB_MAP, Sender.SLAVE, [DIGEST, 2_000_000]),
    Sample(Kind.BLOB_MAPPED, Sender.HOST, [DIGEST, 2_000_000]),
]

_DEEP: list[Any] = []
for _ in range(600):  # deeper than what can be packed
    _DEEP = [_DEEP]

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2, 2**31, 2**53, 2**63 - 1, 2**64 - 1, -(2**63)]),
    st.sampled_from([0.0, -1.0, 1e308, float("inf"), float("-inf"), float("nan")]),
    st.sampled_from(["", "x", "soon", "complete", "system", b"", b"x", DIGEST, b"x" * 33]),
    st.sampled_from([[], [[]], [5], [[0, DIGEST, 5]], {}, {"x": 1}, {1: 2}, {"workers": "x"}, _DEEP]),
)
"""Values that hardly belong anywhere."""


@st.composite
def mutated(draw: st.DrawFn, body: list[Any]) -> list[Any]:
    """Give the body with one to three fields replaced, removed, added or doubled."""
    body = copy.deepcopy(body)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(body))
        if not places:
            body.append(_copied(draw(junk)))
            continue
        holder, key = draw(st.sampled_from(places))
        deed = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "double"]))
        if deed == "replace":
            holder[key] = _copied(draw(junk))
        elif deed == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(["workers", "more", "round", "weight", 7]))] = _copied(draw(junk))
        elif deed == "add":
            holder.insert(key, _copied(draw(junk)))
        else:
            holder.insert(key, _copied(holder[key]))
    return body


def _copied(value: Any) -> Any:
    return copy.deepcopy(value, {id(_DEEP): _DEEP})


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = range(len(value)) if isinstance(value, list) else list(value)
    for key in keys:
        yield value, key
        if isinstance(value[key], list | dict) and value[key] is not _DEEP:
            yield from _places(value[key])
