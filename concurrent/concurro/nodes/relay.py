"""Blobs that pass through the master. Pure: commands are sends.

    slave --BLOB_GET--> relay --BLOB_GET--> the peer that has it (host, application, slave)
    slave <-BLOB_CHUNK- relay <-BLOB_CHUNK-

Chunks are forwarded untouched. What belongs to a submitted system or to a result that is
kept goes into the spool, since the peer that had it may leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.wire.messages import CHUNK_SIZE, Kind, Message
from concurro.wire.transfer import BlobTransfer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.wire.blobs import BlobStore

    SendTo = Callable[[Hashable, Kind, list[Any], tuple[Any, ...]], None]


class BlobRelay:
    """Who has which blob, who waits for which chunk. Loop thread only."""

    def __init__(self, spool: BlobStore, send: SendTo) -> None:
        self._spool = spool
        self._send = send
        self._holders: dict[bytes, dict[Hashable, None]] = {}
        self._owned: dict[Hashable, set[bytes]] = {}
        self._waiting: dict[tuple[bytes, int], list[Hashable]] = {}
        self._asked: dict[Hashable, set[tuple[bytes, int]]] = {}
        self._transfers: dict[Hashable, BlobTransfer] = {}

    def offer(self, peer: Hashable, blobs: list[Any], owner: Hashable) -> None:
        """Note that `peer` has blobs that belong to `owner`."""
        owned = self._owned.setdefault(owner, set())
        for _, digest, _ in blobs:
            self._holders.setdefault(digest, {})[peer] = None
            owned.add(digest)

    def drop(self, owner: Hashable) -> None:
        """Forget the blobs of an owner."""
        digests = self._owned.pop(owner, set())
        for digest in digests:
            if not any(digest in others for others in self._owned.values()):
                self._holders.pop(digest, None)
        self._spool.release(owner)

    def spool(self, peer: Hashable, blobs: list[Any], owner: Hashable, done: Callable[[str | None], None]) -> None:
        """Fetch blobs from a peer into the spool."""
        transfer = self._transfers.get(peer)
        if transfer is None:
            transfer = self._transfers[peer] = BlobTransfer(
                self._spool, lambda kind, body, frames: self._send(peer, kind, body, frames)
            )
        transfer.fetch(blobs, owner, done)

    def handle(self, peer: Hashable, message: Message) -> None:
        """Take BLOB_GET, BLOB_CHUNK or BLOB_MISSING of a peer.

        Raises:
            ProtocolError: The peer sends what nobody asked for.
        """
        if message.kind == Kind.BLOB_GET:
            self._get(peer, *message.body[:4])
        elif message.kind == Kind.BLOB_CHUNK:
            self._chunk(peer, message)
        else:
            digest, size = message.body[:2]
            for key in [key for key in self._asked.get(peer, ()) if key[0] == digest]:
                self._missing(peer, key, size)
            if peer in self._transfers:
                self._transfers[peer].handle(message)

    def peer_left(self, peer: Hashable) -> None:
        """Forget a peer; who waits for its blobs is told."""
        for key in list(self._asked.pop(peer, ())):
            self._missing(peer, key, 0)
        for digest, holders in list(self._holders.items()):
            holders.pop(peer, None)
            if not holders:
                del self._holders[digest]
        for waiters in self._waiting.values():
            if peer in waiters:
                waiters.remove(peer)
        transfer = self._transfers.pop(peer, None)
        if transfer is not None:
            transfer.fail_all("its holder left")

    def _get(self, peer: Hashable, digest: bytes, size: int, offset: int, length: int) -> None:
        if digest in self._spool:
            chunk = self._spool.get(digest)[offset : offset + min(length, CHUNK_SIZE)]
            self._send(peer, Kind.BLOB_CHUNK, [digest, size, offset], (chunk,))
            return
        holder = next((holder for holder in self._holders.get(digest, ()) if holder != peer), None)
        if holder is None:
            self._send(peer, Kind.BLOB_MISSING, [digest, size], ())
            return
        waiters = self._waiting.setdefault((digest, offset), [])
        waiters.append(peer)
        if len(waiters) == 1:
            self._asked.setdefault(holder, set()).add((digest, offset))
            self._send(holder, Kind.BLOB_GET, [digest, size, offset, length], ())

    def _chunk(self, peer: Hashable, message: Message) -> None:
        digest, size, offset = message.body[:3]
        key = (digest, offset)
        asked = self._asked.get(peer)
        if asked is not None and key in asked:
            asked.discard(key)
            for waiter in self._waiting.pop(key, ()):
                self._send(waiter, Kind.BLOB_CHUNK, [digest, size, offset], message.frames[:1])
        transfer = self._transfers.get(peer)
        if transfer is not None:
            transfer.handle(message)

    def _missing(self, holder: Hashable, key: tuple[bytes, int], size: int) -> None:
        asked = self._asked.get(holder)
        if asked is not None:
            asked.discard(key)
        for waiter in self._waiting.pop(key, ()):
            self._send(waiter, Kind.BLOB_MISSING, [key[0], size], ())
