"""Blobs on their way.

Fetch what is missing from a peer, serve what is here. Pure.

fetch(blobs) --> BLOB_GET, BLOB_GET ...   BLOB_CHUNK --> Assembly --> store --> done
BLOB_GET     --> BLOB_CHUNK or BLOB_MISSING
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.wire.blobs import Assembly
from concurro.wire.messages import CHUNK_SIZE, Kind, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.ids import BlobRef
    from concurro.wire.blobs import BlobStore

    Sender = Callable[[Kind, list[Any], tuple[Any, ...]], None]


class _Wait:
    __slots__ = ("done", "missing", "owner")

    def __init__(self, missing: set[bytes], owner: Hashable | None, done: Callable[[str | None], None]) -> None:
        self.missing = missing
        self.owner = owner
        self.done = done


class BlobTransfer:
    """Both sides of blob traffic with one peer. Loop thread only.

    Args:
        store: Where blobs are kept.
        send: Sends a message to the peer.
    """

    def __init__(self, store: BlobStore, send: Sender) -> None:
        self._store = store
        self._send = send
        self._assemblies: dict[bytes, Assembly] = {}
        self._waits: list[_Wait] = []

    def fetch(self, blobs: list[Any] | None, owner: Hashable | None, done: Callable[[str | None], None]) -> None:
        """Get blobs that are not here, then call `done(None or a reason)`.

        Args:
            blobs: As they travel in messages.
            owner: Who keeps them; None for cache.
            done: Called at once when nothing is missing.
        """
        for _, digest, _ in blobs or ():
            if digest in self._store:
                self._store.own(digest, owner)
        missing = self._store.missing(blobs)
        if not missing:
            done(None)
            return
        self._waits.append(_Wait({ref.digest for ref in missing}, owner, done))
        for ref in missing:
            if ref.digest not in self._assemblies:
                self._assemblies[ref.digest] = Assembly(ref)
                self._ask(self._assemblies[ref.digest])

    def handle(self, message: Message) -> None:
        """Take BLOB_GET, BLOB_CHUNK or BLOB_MISSING of the peer.

        Raises:
            ProtocolError: A chunk has wrong bytes.
        """
        if message.kind == Kind.BLOB_GET:
            self._serve(*message.body[:4])
        elif message.kind == Kind.BLOB_CHUNK:
            digest, _, offset = message.body[:3]
            self._chunk(digest, offset, message.frames[0])
        elif message.kind == Kind.BLOB_MISSING:
            self._fail(message.body[0], "nobody has it any more")

    def fail_all(self, reason: str) -> None:
        """Fail every fetch: the peer is gone."""
        for digest in list(self._assemblies):
            self._fail(digest, reason)

    def restart(self) -> None:
        """Ask again for everything that was under way.

        The connection is a new one.
        """
        for assembly in list(self._assemblies.values()):
            assembly.restart()
            self._ask(assembly)

    def _ask(self, assembly: Assembly) -> None:
        ref = assembly.ref
        if ref.size == 0:
            self._finish(assembly)
            return
        for offset, length in assembly.next_requests():
            self._send(Kind.BLOB_GET, [ref.digest, ref.size, offset, length], ())

    def _serve(self, digest: bytes, size: int, offset: int, length: int) -> None:
        if digest not in self._store:
            self._send(Kind.BLOB_MISSING, [digest, size], ())
            return
        chunk = self._store.get(digest)[offset : offset + min(length, CHUNK_SIZE)]
        self._send(Kind.BLOB_CHUNK, [digest, size, offset], (chunk,))

    def _chunk(self, digest: bytes, offset: int, chunk: Any) -> None:
        assembly = self._assemblies.get(digest)
        if assembly is None or not assembly.awaits(offset):
            return  # what was asked for twice comes twice
        try:
            complete = assembly.add(offset, chunk)
        except ProtocolError as error:
            self._fail(digest, str(error))
            raise
        if complete:
            self._finish(assembly)
        else:
            self._ask(assembly)

    def _finish(self, assembly: Assembly) -> None:
        try:
            view = assembly.finish()
        except ProtocolError as error:
            self._fail(assembly.ref.digest, str(error))
            return
        self._arrived(assembly.ref, view)

    def _arrived(self, ref: BlobRef, view: memoryview) -> None:
        self._assemblies.pop(ref.digest, None)
        for wait in [wait for wait in self._waits if ref.digest in wait.missing]:
            self._store.put(view, wait.owner, ref.digest)
            wait.missing.discard(ref.digest)
            if not wait.missing:
                self._waits.remove(wait)
                wait.done(None)

    def _fail(self, digest: bytes, reason: str) -> None:
        self._assemblies.pop(digest, None)
        for wait in [wait for wait in self._waits if digest in wait.missing]:
            self._waits.remove(wait)
            wait.done(f"blob {digest.hex()[:12]}: {reason}")
