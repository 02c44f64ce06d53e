"""Blobs: immutable bytes under a name.

`BlobStore` keeps them; it knows no socket, no clock and no file. `assembly` puts one together
from the chunks that arrive.

A blob is named by its digest, or, when it is a buffer of 1 MiB or more and nobody has to find the
same name again, by a random one that says so: a digest takes ten times as long as the copy. Such a name
cannot be checked against the bytes; who may send them is known (transport). The host of a
system names by digest always, since it may have to say again what it said.

Large blobs are kept as descriptors of segments (wire/segments.py) where that is possible: they
are handed on and mapped, not copied.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.ids import BlobRef
from concurro.wire.known_buffers import KnownBuffers, is_fixed
from concurro.wire.pages import copy_of
from concurro.wire.places import BufferPlace, SegmentPlace
from concurro.wire.segments import MAP_THRESHOLD, SHARE_THRESHOLD, Descriptor, SegmentPool, most_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.wire.places import Place

DIGEST_SIZE = 32
"""BLAKE2b-256 [B]."""

CACHE_LIMIT = 64 * 1024 * 1024
"""Bytes of blobs without an owner that a store keeps [B]."""

LASTING = "system"
"""The owner of blobs that a host keeps to its end, and so finds again by the same name in every replay."""

Buffer = bytes | bytearray | memoryview

_UNHASHED = b"unhashed"


def digest_of(buffer: Buffer) -> bytes:
    """Return the digest of `buffer`."""
    return hashlib.blake2b(buffer, digest_size=DIGEST_SIZE).digest()


def new_name() -> bytes:
    """Return a name that says nothing about the bytes."""
    return _UNHASHED + os.urandom(DIGEST_SIZE - len(_UNHASHED))


def is_digest(name: bytes) -> bool:
    """Say whether a name is the digest of its bytes."""
    return not name.startswith(_UNHASHED)


class _Kept:
    """A blob: its bytes here, or pages that can be mapped; maybe both."""

    __slots__ = ("descriptor", "owners", "passing", "size", "view")

    def __init__(self, size: int, view: memoryview | None, descriptor: Descriptor | None = None) -> None:
        self.size = size
        self.view = view
        self.descriptor = descriptor
        self.passing = descriptor is not None  # its pages are wanted back: it is no cache
        self.owners: set[Hashable] = set()

    def bytes_here(self) -> memoryview:
        """Return the bytes, read-only; mapped at the first call."""
        if self.view is None:
            assert self.descriptor is not None  # noqa: S101 - one of the two is always there
            try:
                self.view = self.descriptor.map(self.size)
            except OSError:  # too many mappings: a copy does as well
                self.view = memoryview(self.descriptor.read(0, self.size))
        return self.view


class BlobStore:
    """Blobs by name, each kept while it has an owner, and a while longer.

    An owner is any hashable key: a lease, a system, the word `code`. A blob that no owner
    wants (any more) is cache: it goes when the cache is full, the least recently used first. One
    that is a descriptor goes at once, unless the buffer that it was made of still lives here:
    its pages are wanted again by whoever made them. Thread-safe: user threads put arguments while
    the loop thread sends them.

    Args:
        cache_limit: Bytes of blobs without an owner [B].
        pool: Where segments for large blobs come from; None: there are none.
        by_content: Whether large buffers, too, are named by their digest.

    Attributes:
        total: Bytes of all blobs [B].
        cached: Bytes of those without an owner [B].
        on_dropped: Called with the name of a descriptor that is kept no more.
    """

    def __init__(
        self, cache_limit: int = CACHE_LIMIT, pool: SegmentPool | None = None, *, by_content: bool = True
    ) -> None:
        self.total = 0
        self.cached = 0
        self.on_dropped: Callable[[bytes], None] = _ignore_name
        self._cache_limit = cache_limit
        self._pool = pool
        self._by_content = by_content
        self._kept: dict[bytes, _Kept] = {}
        self._unowned: OrderedDict[bytes, None] = OrderedDict()
        self._idle: set[bytes] = set()
        self._descriptors = 0
        self._of_owner: dict[Hashable, set[bytes]] = {}
        self._known = KnownBuffers()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._kept

    def digests(self) -> list[bytes]:
        """Return the names of all blobs."""
        with self._lock:
            return list(self._kept)

    def put(self, buffer: Buffer, owner: Hashable | None = None, digest: bytes | None = None) -> BlobRef:
        """Keep a blob.

        A writable buffer is copied: its owner may write to it while the blob still waits to be
        sent, and the name would be wrong. A read-only one is kept as it is, without a copy.
        (If somebody writes behind a read-only view, the receiver's digest check fails: late, not silent.)

        Args:
            buffer: The bytes; any contiguous buffer.
            owner: Who wants it kept until `release`; None for cache only.
            digest: Its name if it has one already.
        """
        view = memoryview(buffer).cast("B") if isinstance(buffer, memoryview) else memoryview(buffer)
        if not view.readonly:
            view = copy_of(view).toreadonly()
        digest = digest_of(view) if digest is None else digest
        self._keep(digest, _Kept(view.nbytes, view), owner)
        return BlobRef(digest, view.nbytes)

    def put_buffer(self, buffer: Buffer, owner: Hashable | None = None) -> BlobRef:
        """Keep a buffer of a value that travels, as a segment if it is large.

        The same buffer with the same bytes is one blob, however often it is put.

        Args:
            buffer: As for `put`.
            owner: As for `put`.
        """
        view = memoryview(buffer)
        if view.nbytes < SHARE_THRESHOLD:
            return self.put(_lasting(view), owner)
        view = view.cast("B")
        digest = self._recall(view, owner)
        if digest is None:
            named = self._by_content or view.nbytes < MAP_THRESHOLD
            digest = digest_of(view) if named else new_name()
            if named and self.claim(digest, owner):
                return BlobRef(digest, view.nbytes)
            descriptor = self._pool.fill(view) if self._pool is not None else None
            if descriptor is not None:
                self._keep(digest, _Kept(view.nbytes, None, descriptor), owner)
            else:
                self.put(_lasting(view), owner, digest)
            with self._lock:
                self._known.note(view, digest)
        return BlobRef(digest, view.nbytes)

    def put_descriptor(self, descriptor: Descriptor, ref: BlobRef, owner: Hashable | None = None) -> None:
        """Keep a blob whose pages are somebody else's.

        Raises:
            ProtocolError: It cannot be mapped for so many bytes without danger.
        """
        if ref.size <= 0 or descriptor.size() < ref.size:
            message = f"what was passed for blob {ref.digest.hex()[-12:]} is no segment of {ref.size} B"
            raise ProtocolError(message)
        if self._descriptors < most_descriptors():
            self._keep(ref.digest, _Kept(ref.size, None, descriptor), owner)
        else:  # so many are kept that the next one might be lost on its way
            self.put(descriptor.read(0, ref.size), owner, ref.digest)

    def place(self, size: int) -> Place:
        """Return where a blob that arrives is put together; see `put_arrived`.

        Raises:
            ProtocolError: There is no memory for it.
        """
        segment = self._pool.take(size) if self._pool is not None and size >= SHARE_THRESHOLD else None
        if segment is None or self._pool is None:
            return BufferPlace(size)
        return SegmentPlace(self._pool, segment, size)

    def put_arrived(self, content: memoryview | Descriptor, ref: BlobRef, owner: Hashable | None = None) -> None:
        """Keep a blob that was put together here."""
        if isinstance(content, Descriptor):
            kept = _Kept(ref.size, None, content)
            kept.passing = False  # the pages are ours: it may stay as any other
            self._keep(ref.digest, kept, owner)
        else:
            self.put(content, owner, ref.digest)

    def own(self, digest: bytes, owner: Hashable | None) -> None:
        """Add an owner to a kept blob; None only marks it as used.

        Raises:
            KeyError: The store has no such blob.
        """
        with self._lock:
            kept = self._kept[digest]
            if owner is None:
                if digest in self._unowned:
                    self._unowned.move_to_end(digest)
                return
            if not kept.owners:
                del self._unowned[digest]
                self.cached -= kept.size
            kept.owners.add(owner)
            self._of_owner.setdefault(owner, set()).add(digest)

    def pass_on(self, digest: bytes, giver: Hashable, taker: Hashable) -> None:
        """Let a blob change its owner. Unknown ones are ignored."""
        with self._lock:
            if digest not in self._kept:
                return
            self.own(digest, taker)
            given = self._of_owner.get(giver)
            if given is not None and digest in given:
                self._kept[digest].owners.discard(giver)
                given.discard(digest)
                if not given:
                    del self._of_owner[giver]

    def size_of(self, digest: bytes) -> int:
        """Return the size of a blob [B].

        Raises:
            KeyError: The store has no such blob.
        """
        return self._kept[digest].size

    def owned_by(self, digest: bytes, owner: Hashable) -> bool:
        """Say whether `owner` has a blob."""
        return digest in self._of_owner.get(owner, ())

    def claim(self, digest: bytes, owner: Hashable | None) -> bool:
        """Add an owner to a blob if it is kept; return whether it is."""
        with self._lock:
            if digest not in self._kept:
                return False
            self.own(digest, owner)
            return True

    def get(self, digest: bytes) -> memoryview:
        """Return the blob, read-only.

        Raises:
            KeyError: The store has no such blob.
        """
        with self._lock:
            kept = self._kept[digest]
            if not kept.owners:
                self._unowned.move_to_end(digest)
            return kept.bytes_here()

    def read(self, digest: bytes, offset: int, length: int) -> memoryview | bytes:
        """Return some bytes of a blob; one in a segment is not mapped for that.

        Raises:
            KeyError: The store has no such blob.
        """
        with self._lock:
            kept = self._kept[digest]
            if not kept.owners:
                self._unowned.move_to_end(digest)
            if kept.view is None and kept.descriptor is not None:
                return kept.descriptor.read(offset, max(0, min(length, kept.size - offset)))
            return kept.bytes_here()[offset : offset + length]

    def lend(self, digest: bytes, *, private: bool) -> memoryview | bytearray:
        """Return the blob for a value that is being loaded.

        Args:
            digest: Which.
            private: Whether its receiver may write to it; nobody else sees that.

        Raises:
            KeyError: The store has no such blob.
        """
        view = None
        with self._lock:
            kept = self._kept[digest]
            if private and kept.descriptor is not None and kept.size < MAP_THRESHOLD:
                return bytearray(kept.bytes_here()) if kept.view is not None else kept.descriptor.copy(kept.size)
            if private and kept.descriptor is not None:
                try:
                    mapped = kept.descriptor.map(kept.size, private=True)
                    if not self._by_content or LASTING in kept.owners:
                        self._known.note(mapped, digest, private=True)
                    return mapped  # noqa: TRY300 - what follows is for the other case
                except OSError:  # too many mappings: a copy does as well
                    view = kept.bytes_here()
            view = self.get(digest) if view is None else view
            if not private:
                if kept.size >= MAP_THRESHOLD:
                    self._known.note(view, digest, ours=True)
                return view
        return bytearray(view)

    def descriptor(self, digest: bytes) -> Descriptor | None:
        """Return what others on this machine map; None when that cannot be.

        Raises:
            KeyError: The store has no such blob.
        """
        with self._lock:
            kept = self._kept[digest]
            if kept.descriptor is not None or self._pool is None or kept.size < SHARE_THRESHOLD:
                return kept.descriptor
            content = kept.bytes_here()
        # Without the lock: it takes as long as a copy, and whoever has a lock of the pool may let go of a blob.
        descriptor = self._pool.fill(content)
        with self._lock:
            if kept.descriptor is None and descriptor is not None:
                kept.descriptor = descriptor
                kept.view = None  # the pages are enough
                self._descriptors += self._kept.get(digest) is kept
            return kept.descriptor

    def release(self, owner: Hashable) -> None:
        """Drop everything that `owner` has; what nobody else wants becomes cache.

        The cache shrinks at the next call, so that a blob can change hands.
        """
        with self._lock:
            self._sweep()
            for digest in self._of_owner.pop(owner, ()):
                kept = self._kept[digest]
                kept.owners.discard(owner)
                if not kept.owners:
                    self._unowned[digest] = None
                    self.cached += kept.size
                    if kept.passing:
                        self._idle.add(digest)

    def discard(self, digest: bytes) -> None:
        """Drop a blob at once, owned or not. Unknown ones are ignored."""
        with self._lock:
            kept = self._kept.pop(digest, None)
            if kept is None:
                return
            self.total -= kept.size
            if not kept.owners:
                del self._unowned[digest]
                self.cached -= kept.size
            for owner in kept.owners:
                digests = self._of_owner[owner]
                digests.discard(digest)
                if not digests:
                    del self._of_owner[owner]
            self._known.forget(digest)
            if kept.descriptor is not None:
                self._descriptors -= 1
                self.on_dropped(digest)

    @property
    def lends(self) -> bool:
        """Whether there are pages of ours that `tidy` may give up."""
        return self._pool is not None and self._pool.lends

    def tidy(self) -> None:
        """Give up pages that nobody has any more; see `SegmentPool.tidy`."""
        with self._lock:
            self._sweep()
        if self._pool is not None:
            self._pool.tidy()

    def close(self) -> None:
        """Give up all pages; whoever has some keeps them."""
        if self._pool is not None:
            self._pool.close()

    def missing(self, blobs: list[list[Any]] | None) -> list[BlobRef]:
        """Return which of `blobs`, as in messages, are not here, each once."""
        wanted = {digest: size for _, digest, size in blobs or () if digest not in self._kept}
        return [BlobRef(digest, size) for digest, size in wanted.items()]

    def _keep(self, digest: bytes, new: _Kept, owner: Hashable | None) -> None:
        with self._lock:
            if digest not in self._kept:
                self._kept[digest] = new
                self._descriptors += new.descriptor is not None
                self._unowned[digest] = None
                self.total += new.size
                self.cached += new.size
            self.own(digest, owner)
            self._sweep()
            if owner is None and self._kept[digest].passing:
                self._idle.add(digest)
            self._shrink(digest)

    def _recall(self, view: memoryview, owner: Hashable | None) -> bytes | None:
        """Return the name that a buffer has, and let `owner` have its blob."""
        found = self._known.find(view)
        if found is None:
            return None
        digest, unchanged = found
        compared = object()
        with self._lock:
            kept = self._kept.get(digest)
            if kept is None or kept.size != view.nbytes:
                return None
            if unchanged:
                self.own(digest, owner)
                return digest
            self.own(digest, compared)
            before = kept.bytes_here()
        # Without the lock: it may take milliseconds, and the owner keeps the blob.
        unchanged = _has_bytes(view, before)
        if unchanged:
            self.own(digest, owner)
        del before
        self.release(compared)
        return digest if unchanged else None

    def _sweep(self) -> None:
        """Drop descriptors that became idle before and are not wanted again."""
        gone = self._known.gone
        while gone:  # other threads, and the collector, may add to it
            self._idle.add(gone.pop())
        idle, self._idle = self._idle, set()
        for digest in idle:
            kept = self._kept.get(digest)
            if kept is not None and kept.passing and not kept.owners and not self._known.lives(digest):
                self.discard(digest)

    def _shrink(self, newest: bytes) -> None:
        # The newest stays even if it alone is over the limit: its caller is about to use it.
        while self.cached > self._cache_limit and (oldest := next(iter(self._unowned))) != newest:
            self.discard(oldest)


def store_with_segments() -> BlobStore:
    """Return a store that shares large buffers within its machine."""
    return BlobStore(pool=SegmentPool(), by_content=False)


def _lasting(view: memoryview) -> memoryview:
    """Return a buffer whose bytes stay as they are now: itself, or a copy."""
    return view if is_fixed(view) else copy_of(view).toreadonly()


def _has_bytes(view: memoryview, blob: memoryview) -> bool:
    """Say whether a buffer has the bytes of a blob, or is the blob itself."""
    from concurro.wire.mapping import address_of, same_bytes  # noqa: PLC0415 - see there

    return address_of(view) == address_of(blob) or same_bytes(view, blob)


def _ignore_name(name: bytes) -> None:
    """Do nothing: nobody wants to know what is dropped."""
