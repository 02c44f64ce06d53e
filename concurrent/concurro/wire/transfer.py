"""Blobs on their way.

Fetch what is missing from a peer, serve what is here. Pure.

fetch(blobs) --> BLOB_GET, BLOB_GET ...   BLOB_CHUNK --> Assembly --> store --> done
BLOB_GET     --> BLOB_CHUNK or BLOB_MISSING

Large blobs come one after the other, the oldest first: all of them at once would
all end late. Small ones pass them, every other chunk. What has come is written and digested
behind what was asked for next, while others work on that.

On one machine a large blob comes at once, as a descriptor of its pages:

fetch(blobs) --> BLOB_MAP   BLOB_MAPPED, descriptor --> store --> done
                            BLOB_MAPPED alone       --> BLOB_GET ... as above
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.wire.assembly import Assembly
from concurro.wire.messages import CHUNK_SIZE, Kind, Message
from concurro.wire.segments import SHARE_THRESHOLD, Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.ids import BlobRef
    from concurro.wire.blobs import BlobStore

    Sender = Callable[[Kind, list[Any], tuple[Any, ...]], None]

IN_FLIGHT = 8
"""Chunks of one blob that are asked for at once."""

WINDOW = 2 * IN_FLIGHT * CHUNK_SIZE
"""Bytes that are asked for at once, of all blobs together [B]."""

MOST_REQUESTS = 256
"""Chunks that are asked for at once: of small blobs a window would hold too many."""

PASSING = IN_FLIGHT * CHUNK_SIZE
"""Up to this size a blob passes larger ones [B]."""


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
        later: Calls once what can be done after what was sent has left; None: at once.
        window: Bytes that are asked for at once [B].

    Attributes:
        fetched: Bytes that arrived, of blobs that were asked for [B].
        maps: Says whether the way to the peer takes descriptors now.
    """

    def __init__(
        self,
        store: BlobStore,
        send: Sender,
        later: Callable[[Callable[[], None]], None] | None = None,
        window: int = WINDOW,
    ) -> None:
        self.fetched = 0
        self.maps: Callable[[], bool] = _never
        self._mapping: dict[bytes, BlobRef] = {}
        self._store = store
        self._send = send
        self._later = later
        self._window = window
        self._assemblies: dict[bytes, Assembly] = {}
        self._waits: list[_Wait] = []
        self._small: deque[Assembly] = deque()
        self._large: deque[Assembly] = deque()
        self._small_was_last = False
        self._under_way = 0
        self._requests = 0
        self._pulling = False
        self._unsettled: dict[bytes, Assembly] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._waits

    def fetch(self, blobs: list[Any] | None, owner: Hashable | None, done: Callable[[str | None], None]) -> None:
        """Get blobs that are not here, then call `done(None or a reason)`.

        Args:
            blobs: As they travel in messages.
            owner: Who keeps them; None for cache.
            done: Called at once when nothing is missing.
        """
        for _, digest, _ in blobs or ():
            self._store.claim(digest, owner)
        missing = self._store.missing(blobs)
        if not missing:
            done(None)
            return
        self._waits.append(_Wait({ref.digest for ref in missing}, owner, done))
        for ref in missing:
            if ref.digest not in self._assemblies and ref.digest not in self._mapping:
                self._begin(ref)
        self._pull()

    def handle(self, message: Message) -> None:
        """Take a message about blobs of the peer.

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
            self._pull()
        elif message.kind == Kind.BLOB_MAP:
            self._serve_mapped(*message.body[:2])
        elif message.kind == Kind.BLOB_MAPPED:
            self._mapped(message.body[0], *message.frames[:1])

    def fail_all(self, reason: str) -> None:
        """Fail every fetch: the peer is gone."""
        for digest in [*self._mapping, *self._assemblies]:
            self._fail(digest, reason)

    def restart(self) -> None:
        """Ask again for everything that was under way.

        The connection is a new one.
        """
        self._small.clear()
        self._large.clear()
        for assembly in self._assemblies.values():
            assembly.restart()
            self._queue(assembly)
        self._under_way = self._requests = 0
        again, self._mapping = self._mapping, {}
        for ref in again.values():
            self._begin(ref)
        self._pull()

    def _begin(self, ref: BlobRef) -> None:
        if ref.size >= SHARE_THRESHOLD and self.maps():
            self._mapping[ref.digest] = ref
            self._send(Kind.BLOB_MAP, [ref.digest, ref.size], ())
        else:
            self._assemble(ref)

    def _assemble(self, ref: BlobRef) -> None:
        try:
            assembly = Assembly(ref, place=self._store.place)
        except ProtocolError as error:
            self._fail(ref.digest, str(error))
            return
        self._assemblies[ref.digest] = assembly
        if ref.size == 0:
            self._finish(assembly)
        else:
            self._queue(assembly)

    def _queue(self, assembly: Assembly) -> None:
        (self._small if assembly.ref.size <= PASSING else self._large).append(assembly)

    def _pull(self) -> None:
        """Ask for chunks, as far as the windows go."""
        if self._pulling:
            return  # the answer came at once; whoever asks goes on
        self._pulling = True
        try:
            while self._under_way < self._window and self._requests < MOST_REQUESTS:
                assembly = self._next()
                if assembly is None:
                    break
                self._ask(assembly)
        finally:
            self._pulling = False

    def _next(self) -> Assembly | None:
        """Return the blob whose turn it is.

        A small one, but not twice while a large one waits.
        """
        while self._small and not self._wants(self._small[0]):
            self._small.popleft()
        small = self._small[0] if self._small else None
        large = self._next_large() if small is None or self._small_was_last else None
        self._small_was_last = large is None
        return large or small

    def _next_large(self) -> Assembly | None:
        """Return the oldest large blob, if it may be asked for."""
        large = self._large
        while large and not self._wants(large[0]):
            large.popleft()
        return large[0] if large and large[0].in_flight < IN_FLIGHT else None

    def _wants(self, assembly: Assembly) -> bool:
        """Say whether there is more to be asked for of a blob."""
        return assembly.wants_more and self._assemblies.get(assembly.ref.digest) is assembly

    def _ask(self, assembly: Assembly) -> None:
        """Ask for one chunk of a blob."""
        request = assembly.next_request()
        if request is not None:
            self._under_way += request[1]
            self._requests += 1
            self._send(Kind.BLOB_GET, [assembly.ref.digest, assembly.ref.size, *request], ())

    def _serve(self, digest: bytes, size: int, offset: int, length: int) -> None:
        if digest not in self._store:
            self._send(Kind.BLOB_MISSING, [digest, size], ())
            return
        chunk = self._store.read(digest, offset, min(length, CHUNK_SIZE))
        self._send(Kind.BLOB_CHUNK, [digest, size, offset], (chunk,))

    def _serve_mapped(self, digest: bytes, size: int) -> None:
        if digest not in self._store:
            self._send(Kind.BLOB_MISSING, [digest, size], ())
            return
        descriptor = self._store.descriptor(digest)
        self._send(Kind.BLOB_MAPPED, [digest, size], (descriptor,) if descriptor is not None else ())

    def _mapped(self, digest: bytes, descriptor: Descriptor | None = None) -> None:
        """Take the pages of a blob; get its bytes where they cannot be had."""
        ref = self._mapping.pop(digest, None)
        if ref is None:
            return
        if descriptor is None or descriptor.fileno() < 0:
            self._assemble(ref)
            self._pull()
        elif descriptor.size() < ref.size:
            self._fail(digest, f"what was passed for it is no segment of {ref.size} B")
        else:
            self._arrived(ref, descriptor, ours=False)

    def _chunk(self, digest: bytes, offset: int, chunk: Any) -> None:
        assembly = self._assemblies.get(digest)
        if assembly is None or not assembly.awaits(offset):
            return  # what was asked for twice comes twice
        try:
            complete = assembly.add(offset, chunk)
        except ProtocolError as error:
            self._fail(digest, str(error))
            self._pull()
            raise
        self._under_way -= len(chunk)
        self._requests -= 1
        self.fetched += len(chunk)
        self._pull()
        if complete:
            self._finish(assembly)
        elif self._later is None:
            self._settle_one(assembly)
        else:
            if not self._unsettled:
                self._later(self._settle)
            self._unsettled[digest] = assembly

    def _settle(self) -> None:
        """Write and digest what has arrived, behind what was just asked for."""
        unsettled, self._unsettled = self._unsettled, {}
        for digest, assembly in unsettled.items():
            if self._assemblies.get(digest) is assembly:
                self._settle_one(assembly)

    def _settle_one(self, assembly: Assembly) -> None:
        try:
            assembly.settle()
        except ProtocolError as error:
            self._fail(assembly.ref.digest, str(error))
            self._pull()

    def _finish(self, assembly: Assembly) -> None:
        try:
            content = assembly.finish()
        except ProtocolError as error:
            self._fail(assembly.ref.digest, str(error))
            self._pull()
            return
        self._arrived(assembly.ref, content, ours=True)

    def _arrived(self, ref: BlobRef, content: memoryview | Descriptor, *, ours: bool) -> None:
        self._assemblies.pop(ref.digest, None)
        for wait in [wait for wait in self._waits if ref.digest in wait.missing]:
            if isinstance(content, Descriptor) and not ours:
                self._store.put_descriptor(content, ref, wait.owner)
            else:
                self._store.put_arrived(content, ref, wait.owner)
            wait.missing.discard(ref.digest)
            if not wait.missing:
                self._waits.remove(wait)
                wait.done(None)

    def _fail(self, digest: bytes, reason: str) -> None:
        self._give_up({digest})
        failed = [wait for wait in self._waits if digest in wait.missing]
        for wait in failed:
            self._waits.remove(wait)
        others = set().union(*(wait.missing for wait in failed))
        self._give_up(others.difference(*(wait.missing for wait in self._waits)))
        for wait in failed:
            wait.done(f"blob {digest.hex()[-12:]}: {reason}")

    def _give_up(self, digests: set[bytes]) -> None:
        """Wait no longer for blobs that nobody wants."""
        for digest in digests:
            self._mapping.pop(digest, None)
            assembly = self._assemblies.pop(digest, None)
            if assembly is not None:
                self._under_way -= assembly.bytes_in_flight
                self._requests -= assembly.in_flight


def _never() -> bool:
    """Say no: chunks go everywhere."""
    return False
