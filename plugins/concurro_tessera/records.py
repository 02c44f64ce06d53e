"""A call as the home of its tessera has it, and how its end is told.

Call: arrived -> (waits for dependencies) -> its turn -> ended -> kept until everybody forgets it
Outbox: one per line; ended calls --news(acknowledged, ended)--> whoever made or watches them
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from concurro import NotPicklableError
from concurro_tessera.arguments import PLAIN, is_plain, pack_keeping
from concurro_tessera.failures import of_result, pack_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro import IServicePeer, Parcel

running_call: ContextVar[Call | None] = ContextVar("concurro_tessera_call", default=None)
"""The call whose method runs."""

KIND = "tess"
"""What the uid of a tessera begins with; then comes its class."""

RUN = "@"
"""Before it in the uid of a tessera stands its name, behind it the application that it works for."""

SHOWN = 8
"""Characters of the name of whoever made a tessera that people are shown."""

ACKNOWLEDGE_AFTER = 0.001
"""A batch without an answer is acknowledged then [s]."""


def run_of(tessera: str) -> str:
    """Return for which application a tessera works; empty for unknown.

    It is the one that made it, or for which the tessera works that made it.
    """
    return tessera.rpartition(RUN)[2]


def class_of(tessera: str) -> str:
    """Return the class of a tessera, as its uid names it.

    The uid where it names none.
    """
    kind, _, rest = tessera.partition("-")
    name = rest.partition("-")[0]
    return name if kind == KIND and name else tessera


def shown(tessera: str) -> str:
    """Return a uid as people read it: the class, and a short name.

    As a whole where it names no class.
    """
    name = class_of(tessera)
    if name == tessera:
        return tessera
    creator, _, number = tessera.removeprefix(f"{KIND}-{name}-").partition(RUN)[0].rpartition("-")
    return f"{name} {creator[:SHOWN]}-{number}"


def is_of_run(tessera: str, run: str) -> bool:
    """Say whether a tessera may work for an application; empty for any."""
    own = run_of(tessera)
    return not run or not own or own == run


class Outbox:
    """The way back to one caller. Thread-safe.

    Attributes:
        peer: The caller.
        calls: Uids of the calls whose results are kept for it.
        received: Number of the last batch that arrived.
    """

    def __init__(self, peer: IServicePeer, post: Callable[[Callable[[], object]], None]) -> None:
        self.peer = peer
        self.calls: set[str] = set()
        self.received = 0
        self._acknowledged = 0
        self._post = post
        self._lock = threading.Lock()
        self._waiting: list[tuple[Any, ...]] = []
        self._due = False

    def put(self, entry: tuple[Any, ...], *, now: bool) -> None:
        """Tell of an ended call: now, or soon with others."""
        with self._lock:
            self._waiting.append(entry)
            post = not now and not self._due
            if post:
                self._due = True
        if post:
            self._post(self.flush)
        elif now:
            self.flush()

    def flush(self) -> None:
        """Tell what waits, and acknowledge."""
        with self._lock:
            self._due = False
            waiting, self._waiting = self._waiting, []
            received = self.received
            if not waiting and received == self._acknowledged:
                return
            self._acknowledged = received
        try:
            self.peer.tell("news", received, waiting)
        except Exception:  # noqa: BLE001 - one of them cannot travel: the others must
            self._tell_one_by_one(received, waiting)

    def _tell_one_by_one(self, received: int, waiting: list[tuple[Any, ...]]) -> None:
        for entry in waiting:
            try:
                self.peer.tell("news", received, [entry])
            except Exception as error:  # noqa: BLE001 - its caller is told that instead
                facts = (type(error).__name__, str(error), "", None)
                self.peer.tell("news", received, [(entry[0], False, facts)])


class Call:
    """A call at the home of its tessera.

    Attributes:
        uid: Its name.
        outbox: Of who made it.
        tessera: Uid of the tessera.
        method: What is called.
        payload: Its arguments.
        retries: Attempts after the first.
        values: Where to get what dependencies stand for: `(at, open)`.
        blocked: Of how many dependencies it waits for.
        fetched: What came for dependencies, and is not opened yet [B].
        committed: Memory that is promised to it [B].
        refused: Why it cannot run here; None when it can.
        failed: Errors of dependencies.
        cancelled: Whether its caller wants it no more.
        ended: What the news of its end is; None before that.
        parts: Its result, when it did not go with the news.
        holders: Who may ask for it, and how many tasks of it they have; None: who made it alone.
        watchers: Who else is told of its end.
        coroutine: What runs it, when that can be cancelled.
        waits: Tasks of other calls that its method waits for.
    """

    __slots__ = (
        "blocked", "cancelled", "committed", "coroutine", "ended", "failed", "fetched", "holders", "kept", "method",
        "outbox", "parts", "payload", "refused", "retries", "tessera", "uid", "values", "waits", "watchers",
    )  # fmt: skip

    def __init__(self, uid: str, outbox: Outbox, tessera: str, method: str, payload: Any, retries: int) -> None:  # noqa: PLR0913 - as it travels
        self.uid = uid
        self.outbox = outbox
        self.tessera = tessera
        self.method = method
        self.payload = payload
        self.retries = retries
        self.values: list[tuple[Any, Callable[[], Any]]] | None = None
        self.blocked = 0
        self.failed: list[BaseException] | None = None
        self.cancelled = False
        self.ended: tuple[Any, ...] | None = None
        self.parts: Any = None
        self.kept: Any = None
        self.holders: dict[Outbox, int] | None = None
        self.watchers: list[Outbox] | None = None
        self.coroutine: Any = None
        self.waits: list[Any] | None = None
        self.fetched = 0
        self.committed = 0
        self.refused: Exception | None = None

    @property
    def needed(self) -> int:
        """What its arguments take, as they travelled [B].

        Nothing for small plain ones.
        """
        payload = self.payload
        packed: int = 0 if payload is None or payload.__class__ is tuple else payload.size
        return packed + self.fetched


def pack_result(call: Call, value: Any, pack: Callable[[Any], Parcel], inline: int) -> tuple[Any, ...]:
    """Keep a result; return the news of it.

    Args:
        call: Whose result it is.
        value: It.
        pack: Packs what is not plain.
        inline: Up to so long it goes with the news [B].

    Raises:
        NotPicklableError: It cannot travel.
    """
    kind = value.__class__
    if is_plain(value) and (value.__class__ not in (str, bytes) or len(value) <= inline):
        call.parts = [value]
        return (call.uid, True, None, [value])
    shape: Any = None
    values: Any = (value,)
    if kind is tuple and len(value) > 1:
        shape, values = len(value), value
    elif kind is dict and value and all(key.__class__ in PLAIN for key in value):
        shape, values = list(value), value.values()
    parts: list[Any] = []
    size = 0
    kept: list[Any] = []
    for part in values:
        if is_plain(part):
            parts.append(part)
            size += 8 if part.__class__ not in (str, bytes) else len(part)
        else:
            try:
                parcel, inside = pack_keeping(pack, part)
            except NotPicklableError as error:
                raise of_result(error, f"{call.method}() of {shown(call.tessera)}") from error.__cause__
            parts.append(parcel)
            size += parcel.size
            kept += inside
    call.parts, call.kept = parts, kept
    return (call.uid, True, shape, parts if size <= inline else None)


def pack_failure(call: Call, error: BaseException, pack: Callable[[Any], Parcel]) -> tuple[Any, ...]:
    """Return the news of an error."""
    return (call.uid, False, pack_error(error, pack))
