"""Blobs that pass through the master. Pure: commands are sends.

    slave --BLOB_GET--> relay --BLOB_GET--> the peer that has it (host, application, slave)
    slave <-BLOB_CHUNK- relay <-BLOB_CHUNK-

    slave --BLOB_MAP---> relay --BLOB_MAP--> the same on one machine: a descriptor comes at once
    slave <-BLOB_MAPPED- relay <-BLOB_MAPPED-

Chunks are forwarded untouched, each asked for once however many wait for it; when the peer
that was asked leaves, the next one that has the blob is asked. What belongs to a submitted
system or to a result that is kept goes into the spool, since the peer that had it may leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from concurro.errors import ProtocolError
from concurro.wire.messages import CHUNK_SIZE, Kind, Message
from concurro.wire.transfer import MOST_REQUESTS, WINDOW, BlobTransfer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from concurro.wire.blobs import BlobStore

    SendTo = Callable[[Hashable, Kind, list[Any], tuple[Any, ...]], bool]


_SPOOL_WINDOW = 4 * WINDOW
"""Bytes that the spool asks one peer for at once: one that does not answer must hold up no other [B]."""


class _Spooling(NamedTuple):
    """The spool, among those who wait for a chunk of a peer."""

    source: Hashable


_WHOLE = -1
"""The offset of a blob that is wanted as a descriptor."""


MOST_ASKED = 4 * MOST_REQUESTS
"""Chunks that one peer may wait for at once; one of ours asks for far fewer."""


class _Awaited:
    """A chunk that somebody was asked for."""

    __slots__ = ("holder", "length", "size", "waiters")

    def __init__(self, size: int, length: int, waiter: Hashable) -> None:
        self.size = size
        self.length = length
        self.waiters: dict[Hashable, None] = {waiter: None}
        self.holder: Hashable = None


class BlobRelay:
    """Who has which blob, who waits for which chunk. Loop thread only.

    Args:
        spool: The master's own store.
        send: Sends to a peer; returns whether that peer is there.
        later: Calls once what can be done after what was sent has left; None: at once.
        passes: Says whether descriptors can be passed to and from a peer.

    Attributes:
        fallback: Returns a blob that is kept elsewhere; None when it is not.
    """

    def __init__(
        self,
        spool: BlobStore,
        send: SendTo,
        later: Callable[[Callable[[], None]], None] | None = None,
        passes: Callable[[Hashable], bool] = lambda peer: False,  # noqa: ARG005
    ) -> None:
        self._spool = spool
        self._send = send
        self._holders: dict[bytes, dict[Hashable, None]] = {}
        self._owned: dict[Hashable, set[bytes]] = {}
        self._wanted: dict[bytes, int] = {}
        self._awaited: dict[tuple[bytes, int], _Awaited] = {}
        self._asked_by: dict[Hashable, set[tuple[bytes, int]]] = {}
        self._away: set[Hashable] = set()
        self._later = later
        self._into_spool: dict[Hashable, BlobTransfer] = {}
        self.fallback: Callable[[bytes], bytes | None] = lambda digest: None  # noqa: ARG005
        self._passes = passes

    def offer(self, peer: Hashable, blobs: list[Any], owner: Hashable) -> None:
        """Note that `peer` has blobs that belong to `owner`."""
        owned = self._owned.setdefault(owner, set())
        for _, digest, _ in blobs:
            self._holders.setdefault(digest, {})[peer] = None
            if digest not in owned:
                owned.add(digest)
                self._wanted[digest] = self._wanted.get(digest, 0) + 1

    def drop(self, owner: Hashable) -> None:
        """Forget the blobs of an owner."""
        for digest in self._owned.pop(owner, ()):
            self._unwant(digest)
        self._spool.release(owner)

    def drop_some(self, owner: Hashable, digests: Iterable[bytes]) -> None:
        """Forget some blobs of an owner, of which the spool keeps none."""
        owned = self._owned.get(owner)
        if owned is None:
            return
        for digest in owned.intersection(digests):
            owned.discard(digest)
            self._unwant(digest)
        if not owned:
            del self._owned[owner]

    def _unwant(self, digest: bytes) -> None:
        self._wanted[digest] -= 1
        if not self._wanted[digest]:
            del self._wanted[digest]
            self._holders.pop(digest, None)

    def spool(self, peer: Hashable, blobs: list[Any], owner: Hashable, done: Callable[[str | None], None]) -> None:
        """Fetch blobs that a peer has into the spool."""
        self.offer(peer, blobs, owner)
        self._transfer_from(peer).fetch(blobs, owner, done)

    def handle(self, peer: Hashable, message: Message) -> None:
        """Take a message about blobs of a peer.

        Raises:
            ProtocolError: The bytes are not those of the blob, or the peer asks for more than it takes.
        """
        if message.kind == Kind.BLOB_GET:
            self._note_asked(peer, message.body[0], message.body[2])
            self._get(peer, *message.body[:4])
        elif message.kind == Kind.BLOB_CHUNK:
            self._chunk(peer, message)
        elif message.kind == Kind.BLOB_MAP:
            self._map(peer, *message.body[:2])
        elif message.kind == Kind.BLOB_MAPPED:
            self._mapped(peer, message)
        else:
            digest = message.body[0]
            self._forget_holder(peer, digest)
            self._ask_others(peer, digest)

    def keep(self, digests: list[bytes], owner: Hashable) -> None:
        """Let blobs that are in the spool stay there for another owner."""
        for digest in digests:
            if digest in self._spool:
                self._spool.own(digest, owner)

    def peer_away(self, peer: Hashable) -> None:
        """Let whoever wants a blob of a peer wait until that is back."""
        self._away.add(peer)
        for awaited in self._awaited.values():
            awaited.waiters.pop(peer, None)

    def peer_back(self, peer: Hashable) -> None:
        """Ask a peer that was away for what is wanted of it."""
        self._away.discard(peer)
        self.chunks_lost(peer)

    def peer_left(self, peer: Hashable) -> None:
        """Forget a peer; what it was asked for is asked of others."""
        self._away.discard(peer)
        self._asked_by.pop(peer, None)
        for digest in [digest for digest, holders in self._holders.items() if peer in holders]:
            self._forget_holder(peer, digest)
        for awaited in self._awaited.values():
            awaited.waiters.pop(peer, None)
        self._ask_others(peer, None)

    def chunks_lost(self, peer: Hashable) -> None:
        """Ask a peer again for what it was asked: its answers may have been lost."""
        for (digest, offset), awaited in list(self._awaited.items()):
            if awaited.holder == peer:
                self._request(digest, offset, awaited)

    def _note_asked(self, peer: Hashable, digest: bytes, offset: int) -> None:
        """Refuse what is more than any of our peers asks for at once.

        Raises:
            ProtocolError: The peer waits for too much already.
        """
        asked = self._asked_by.setdefault(peer, set())
        if len(asked) >= MOST_ASKED:  # some of it was answered meanwhile
            asked = {key for key in asked if key in self._awaited and peer in self._awaited[key].waiters}
            self._asked_by[peer] = asked
            if len(asked) >= MOST_ASKED:
                message = f"chunk of blob {digest.hex()[-12:]} is asked for behind {MOST_ASKED} that have not come yet"
                raise ProtocolError(message)
        asked.add((digest, offset))

    def _get(self, peer: Hashable, digest: bytes, size: int, offset: int, length: int) -> None:
        if digest in self._spool:
            self._give(peer, [digest, size, offset], self._spool.read(digest, offset, min(length, CHUNK_SIZE)))
            return
        awaited = self._awaited.get((digest, offset))
        if awaited is not None:
            awaited.waiters[peer] = None
            return
        content = self._kept(digest)
        if content is not None:
            self._give(peer, [digest, size, offset], content[offset : offset + min(length, CHUNK_SIZE)])
            return
        self._ask(digest, offset, _Awaited(size, length, peer))

    def _kept(self, digest: bytes) -> memoryview | None:
        """Return a blob that is in the spool, or kept elsewhere."""
        if digest not in self._spool:
            content = self.fallback(digest)
            if content is None:
                return None
            self._spool.put(content, None, digest)
        return self._spool.get(digest)

    def _map(self, peer: Hashable, digest: bytes, size: int) -> None:
        awaited = self._awaited.get((digest, _WHOLE))
        if awaited is not None:
            awaited.waiters[peer] = None
        elif digest in self._spool or self._kept(digest) is not None:
            descriptor = self._spool.descriptor(digest)
            self._give_mapped(peer, [digest, size], () if descriptor is None else (descriptor,))
        else:
            self._ask(digest, _WHOLE, _Awaited(size, 0, peer))

    def _mapped(self, peer: Hashable, message: Message) -> None:
        digest = message.body[0]
        awaited = self._awaited.get((digest, _WHOLE))
        if awaited is None or awaited.holder != peer:
            return
        del self._awaited[digest, _WHOLE]
        for waiter in sorted(awaited.waiters, key=_is_spool):
            self._give_mapped(waiter, message.body[:2], message.frames)

    def _give_mapped(self, waiter: Hashable, body: list[Any], frames: tuple[Any, ...]) -> None:
        if isinstance(waiter, _Spooling):
            self._spooled(waiter, Message(Kind.BLOB_MAPPED, 0, 0, body, frames))
        else:
            self._send(waiter, Kind.BLOB_MAPPED, body, frames if self._passes(waiter) else ())

    def _request(self, digest: bytes, offset: int, awaited: _Awaited) -> bool:
        if offset == _WHOLE:
            return self._send(awaited.holder, Kind.BLOB_MAP, [digest, awaited.size], ())
        return self._send(awaited.holder, Kind.BLOB_GET, [digest, awaited.size, offset, awaited.length], ())

    def _ask(self, digest: bytes, offset: int, awaited: _Awaited) -> None:
        """Ask the first peer that has the blob, if need be once it is back.

        When nobody has it, those who wait are told.
        """
        self._awaited[digest, offset] = awaited
        for holder in sorted(self._holders.get(digest, ()), key=self._away.__contains__):
            if holder in awaited.waiters or (offset == _WHOLE and not self._passes(holder)):
                continue
            awaited.holder = holder
            if holder in self._away:
                return
            if self._request(digest, offset, awaited):
                return
            self._forget_holder(holder, digest)
        del self._awaited[digest, offset]
        content = self._kept(digest)
        for waiter in awaited.waiters:
            if offset == _WHOLE:
                descriptor = self._spool.descriptor(digest) if content is not None else None
                self._give_mapped(waiter, [digest, awaited.size], () if descriptor is None else (descriptor,))
            elif content is not None:  # a host that begins with a snapshot has not what the one before it had
                chunk = content[offset : offset + min(awaited.length, CHUNK_SIZE)]
                self._give(waiter, [digest, awaited.size, offset], chunk)
            elif isinstance(waiter, _Spooling):
                self._spooled(waiter, Message(Kind.BLOB_MISSING, 0, 0, [digest, awaited.size]))
            else:
                self._send(waiter, Kind.BLOB_MISSING, [digest, awaited.size], ())

    def _ask_others(self, peer: Hashable, digest: bytes | None) -> None:
        """Ask others for what a peer was asked for, of one blob or of all."""
        unanswered = [
            key for key, awaited in self._awaited.items() if awaited.holder == peer and digest in (None, key[0])
        ]
        for key in unanswered:
            awaited = self._awaited.pop(key, None)
            if awaited is not None and awaited.waiters:
                self._ask(*key, awaited)

    def _transfer_from(self, peer: Hashable) -> BlobTransfer:
        """Return what fetches from a peer into the spool.

        Others go once they have nothing to do.
        """
        for source in [source for source, one in self._into_spool.items() if one.idle and source != peer]:
            del self._into_spool[source]
        transfer = self._into_spool.get(peer)
        if transfer is None:
            spool = _Spooling(peer)
            transfer = self._into_spool[peer] = BlobTransfer(
                self._spool, lambda kind, body, _: self._ask_for_spool(spool, kind, body), self._later, _SPOOL_WINDOW
            )
            transfer.maps = _always
        return transfer

    def _ask_for_spool(self, spool: _Spooling, kind: Kind, body: list[Any]) -> None:
        if kind == Kind.BLOB_MAP:
            self._map(spool, *body)
        else:
            self._get(spool, *body)

    def _spooled(self, spool: _Spooling, message: Message) -> None:
        transfer = self._into_spool.get(spool.source)
        if transfer is not None:
            transfer.handle(message)

    def _chunk(self, peer: Hashable, message: Message) -> None:
        digest, size, offset = message.body[:3]
        awaited = self._awaited.get((digest, offset))
        if awaited is None or awaited.holder != peer:
            return
        del self._awaited[digest, offset]
        # The spool last: it may find that the bytes are not those of the blob.
        for waiter in sorted(awaited.waiters, key=_is_spool):
            self._give(waiter, [digest, size, offset], message.frames[0])

    def _give(self, waiter: Hashable, body: list[Any], chunk: Any) -> None:
        if isinstance(waiter, _Spooling):
            self._spooled(waiter, Message(Kind.BLOB_CHUNK, 0, 0, body, (chunk,)))
        else:
            self._send(waiter, Kind.BLOB_CHUNK, body, (chunk,))

    def _forget_holder(self, peer: Hashable, digest: bytes) -> None:
        holders = self._holders.get(digest)
        if holders is not None:
            holders.pop(peer, None)
            if not holders:
                del self._holders[digest]


def _is_spool(waiter: Hashable) -> bool:
    return isinstance(waiter, _Spooling)


def _always() -> bool:
    return True
