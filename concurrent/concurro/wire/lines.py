"""One end of a line: what a caller and a service say to each other.

    caller --CALL, TELL--> LineEnd ~~ link, or sessions ~~> LineEnd --> service, in order
    caller <-REPLY, TELL-- LineEnd <~~~~~~~~~~~~~~~~~~~~~~~ LineEnd <-- service
           BLOB_GET, BLOB_CHUNK, BLOB_MAP ...: large parts of values, either way

What carries a line loses nothing and keeps the order while the line lives. A message is
`[0, acknowledged, entries]`; an entry is `[CALL, method, payload, blobs]`, `[TELL, ...]` alike, or
`[REPLY, number of the call, ok, payload, blobs]`, where the payload of one that is not ok is a failure
`[type name, message, traceback, pickled exception or None]`. Entries are numbered from 1 in each
direction by being counted; one is delivered when its blobs are here and all before it were.
Messages `[kind, body]` and further frames belong to the transfer of blobs.

What is not acknowledged is bounded in bytes, blobs included: beyond that it waits at its sender.
"""

from __future__ import annotations

import threading
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.errors import ProtocolError
from concurro.wire.entries import BLOBS
from concurro.wire.messages import Kind, Message, unpack_values
from concurro.wire.schema import Sender, check_message
from concurro.wire.transfer import BlobTransfer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.wire.blobs import BlobStore

    Send = Callable[[list[Any]], None]

WINDOW = 16 * 1024 * 1024
"""Bytes of entries that may be on their way in one direction of a line; one entry may be larger [B]."""

BATCH = 256 * 1024
"""About so many bytes of entries make one message [B]."""

ACKNOWLEDGE_EVERY = 256
"""So many entries are acknowledged at once."""

ENTRY_BYTES = 64
"""Of an entry beside its payload, about [B]."""

_ENTRIES = 0
_BLOB_KINDS = frozenset({Kind.BLOB_GET, Kind.BLOB_CHUNK, Kind.BLOB_MISSING, Kind.BLOB_MAP, Kind.BLOB_MAPPED})


class Said(IntEnum):
    """The kinds of entries."""

    CALL = 0
    TELL = 1
    REPLY = 2


class LineEnd:
    """One end of a line. Loop thread only, but for `add` and `waiting_bytes`.

    Args:
        send: Takes the frames of each message.
        store: Where the blobs of values are; None where values have none.
        later: Calls once what can be done after what was sent has left.

    Attributes:
        on_entry: Called with each entry in order: its number, it, and why its blobs are not here, or None.
        send: As given; another may be set before the first message.
        straight: Whether descriptors can be passed.
        waiting_bytes: Of entries that wait here for the other end [B].
    """

    def __init__(
        self, send: Send, store: BlobStore | None = None, later: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        self.on_entry: Callable[[int, list[Any], str | None], None] = _ignore
        self.straight = False
        self.waiting_bytes = 0
        self.send = send
        self._store = store
        self._lock = threading.Lock()
        self._added = 0
        self._waiting: deque[tuple[list[Any], int, Hashable | None]] = deque()
        self._unacknowledged: deque[tuple[int, Hashable | None]] = deque()
        self._bytes_on_their_way = 0
        self._acknowledged = 0
        self._received = 0
        self._delivered = 0
        self._told = 0
        self._bytes_untold = 0
        self._tell_now = False
        self._arrived: deque[_Arrived] = deque()
        self._delivering = False
        self._closed = False
        self._transfer: BlobTransfer | None = None
        if store is not None:
            self._transfer = BlobTransfer(store, self._say_blob, later)
            self._transfer.maps = lambda: self.straight

    # Out

    def add(self, entry: list[Any], owner: Hashable | None = None) -> int:
        """Queue an entry; return its number. Thread-safe; `flush` sends it.

        On a line that has ended it is dropped.

        Args:
            entry: As it travels.
            owner: Who keeps its blobs here until the other end has them.
        """
        payload, blobs = entry[-2], entry[-1]
        size = ENTRY_BYTES + (len(payload) if payload.__class__ is bytes else 0)
        if blobs:
            size += sum(blob[2] for blob in blobs)
        with self._lock:
            self._added += 1
            number = self._added
            dropped = self._closed  # by the loop, while another thread packed it
            if not dropped:
                self._waiting.append((entry, size, owner))
                self.waiting_bytes += size
        if dropped and owner is not None and self._store is not None:
            self._store.release(owner)
        return number

    def flush(self) -> None:
        """Send what waits, as far as the window goes; acknowledge."""
        if self._closed:
            return
        waiting = self._waiting
        while waiting and self._bytes_on_their_way < WINDOW:
            batch: list[list[Any]] = []
            size = 0
            while waiting and size < BATCH:
                entry, cost, owner = waiting.popleft()
                batch.append(entry)
                size += cost
                self._unacknowledged.append((cost, owner))
            self._bytes_on_their_way += size
            with self._lock:
                self.waiting_bytes -= size
            self._say(batch)
        if self._tell_now:
            self._say([])

    def _say(self, batch: list[list[Any]]) -> None:
        self._told, self._bytes_untold, self._tell_now = self._delivered, 0, False
        self.send([msgpack.packb((_ENTRIES, self._delivered, batch), use_bin_type=True)])

    def _say_blob(self, kind: Kind, body: list[Any], frames: tuple[Any, ...]) -> None:
        self.send([msgpack.packb((int(kind), body), use_bin_type=True), *frames])

    # In

    def take(self, frames: list[Any]) -> None:
        """Take a message of the other end.

        Raises:
            ProtocolError: It is none.
        """
        if self._closed:
            return
        try:
            header = unpack_values(frames[0])
        except Exception as error:
            message = f"a message of a line is not msgpack: {error}"
            raise ProtocolError(message) from error
        if header.__class__ is not list or not header:
            message = "a message of a line is no list"
            raise ProtocolError(message)
        if header[0] != _ENTRIES:
            self._take_blob(header, frames)
            return
        if len(header) < 3 or header[1].__class__ is not int or header[2].__class__ is not list:  # noqa: PLR2004 - as above
            message = "a message of a line is not [0, acknowledged, entries]"
            raise ProtocolError(message)
        self._forget(header[1])
        for entry in header[2]:
            _check(entry)
            self._take_entry(entry)
        self.flush()

    def close(self, reason: str) -> None:
        """End: nothing more is sent or delivered, and no blob is kept. Idempotent."""
        self._closed = True
        self.on_entry = _ignore
        self._arrived.clear()
        if self._transfer is not None:
            self._transfer.fail_all(reason)
        if self._store is None:
            return
        with self._lock:
            owners = [owner for _, owner in self._unacknowledged] + [owner for _, _, owner in self._waiting]
            self._unacknowledged.clear()
            self._waiting.clear()
            self.waiting_bytes = 0
        for owner in owners:
            if owner is not None:
                self._store.release(owner)

    def _take_entry(self, entry: list[Any]) -> None:
        self._received += 1
        blobs = entry[-1]
        if not blobs and not self._arrived:
            self._deliver(self._received, entry, None)
            return
        arrived = _Arrived(self._received, entry)
        self._arrived.append(arrived)
        if not blobs:
            arrived.here = True
        elif self._transfer is None:
            arrived.here, arrived.fault = True, "there is no way for large values here"
        else:
            self._transfer.fetch(blobs, arrived, arrived.came)
            if not arrived.here:
                arrived.then = self._deliver_ready
        self._deliver_ready()

    def _deliver_ready(self) -> None:
        if self._delivering:
            return  # blobs came at once, from inside a delivery
        self._delivering = True
        try:
            while self._arrived and self._arrived[0].here:
                arrived = self._arrived.popleft()
                try:
                    self._deliver(arrived.number, arrived.entry, arrived.fault)
                finally:
                    if self._store is not None:
                        self._store.release(arrived)
        finally:
            self._delivering = False
        self.flush()

    def _deliver(self, number: int, entry: list[Any], fault: str | None) -> None:
        self._delivered = number
        self._bytes_untold += ENTRY_BYTES
        payload = entry[-2]
        if payload.__class__ is bytes:
            self._bytes_untold += len(payload)
        if entry[-1] or number - self._told >= ACKNOWLEDGE_EVERY or self._bytes_untold > WINDOW // 4:
            self._tell_now = True
        self.on_entry(number, entry, fault)

    def _take_blob(self, header: list[Any], frames: list[Any]) -> None:
        if self._transfer is None or len(header) != 2 or header[0] not in _BLOB_KINDS or type(header[1]) is not list:  # noqa: PLR2004 - [kind, body]
            message = f"no message of a line: {header!r:.60}"
            raise ProtocolError(message)
        about_blob = Message(header[0], 0, 0, header[1], tuple(frames[1:]))
        check_message(about_blob, Sender.APPLICATION)
        self._transfer.handle(about_blob)

    def _forget(self, acknowledged: int) -> None:
        for _ in range(acknowledged - self._acknowledged):
            if not self._unacknowledged:
                message = f"entry {acknowledged} of a line was acknowledged, which was never sent"
                raise ProtocolError(message)
            size, owner = self._unacknowledged.popleft()
            self._bytes_on_their_way -= size
            if owner is not None and self._store is not None:
                self._store.release(owner)
        self._acknowledged = max(self._acknowledged, acknowledged)


class _Arrived:
    """An entry that waits for its blobs, or for one before it; owns its blobs."""

    __slots__ = ("entry", "fault", "here", "number", "then")

    def __init__(self, number: int, entry: list[Any]) -> None:
        self.number = number
        self.entry = entry
        self.here = False
        self.fault: str | None = None
        self.then: Callable[[], None] = _nothing

    def came(self, fault: str | None) -> None:
        """Notice that its blobs are here, or why they will not be."""
        self.here, self.fault = True, fault
        self.then()


def _check(entry: Any) -> None:
    """Refuse what is no entry.

    Raises:
        ProtocolError: It is none.
    """
    if entry.__class__ is list and len(entry) >= 4:  # noqa: PLR2004 - the shortest has four fields
        said, blobs = entry[0], entry[-1]
        if said == Said.REPLY:
            good = len(entry) == 5 and entry[1].__class__ is int and _is_answer(entry[2], entry[3])  # noqa: PLR2004 - as above
        else:
            good = said in (Said.CALL, Said.TELL) and entry[1].__class__ is str and entry[2].__class__ is bytes
        if good and (blobs is None or not BLOBS(blobs)):
            return
    message = f"no entry of a line: {entry!r:.60}"
    raise ProtocolError(message)


def _is_answer(ok: Any, payload: Any) -> bool:
    if ok:
        return payload.__class__ is bytes
    return (
        payload.__class__ is list
        and len(payload) == 4  # noqa: PLR2004 - as a failure has them
        and all(part.__class__ is str for part in payload[:3])
        and (payload[3] is None or payload[3].__class__ is bytes)
    )


def _ignore(number: int, entry: list[Any], fault: str | None) -> None:
    """Drop an entry: nobody listens."""


def _nothing() -> None:
    """Do nothing: nobody waits."""
