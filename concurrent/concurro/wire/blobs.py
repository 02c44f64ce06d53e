"""Blobs: immutable bytes that are named by their digest.

`BlobStore` keeps them; it knows no socket, no clock and no file. `assembly` puts one together
from the chunks that arrive.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from concurro.ids import BlobRef
from concurro.wire.pages import copy_of

if TYPE_CHECKING:
    from collections.abc import Hashable

DIGEST_SIZE = 32
"""BLAKE2b-256 [B]."""

CACHE_LIMIT = 256 * 1024 * 1024
"""Bytes of blobs without an owner that a store keeps [B]."""

Buffer = bytes | bytearray | memoryview


def digest_of(buffer: Buffer) -> bytes:
    """Return the digest of `buffer`."""
    return hashlib.blake2b(buffer, digest_size=DIGEST_SIZE).digest()


class _Kept:
    __slots__ = ("owners", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.owners: set[Hashable] = set()


class BlobStore:
    """Blobs by digest, each kept while it has an owner, and a while longer.

    An owner is any hashable key: a lease, a system, the word `code`. A blob that no owner
    wants (any more) is cache: it goes when the cache is full, the least recently used first.
    Thread-safe: user threads put arguments while the loop thread sends them.

    Args:
        cache_limit: Bytes of blobs without an owner [B].

    Attributes:
        total: Bytes of all blobs [B].
        cached: Bytes of those without an owner [B].
    """

    def __init__(self, cache_limit: int = CACHE_LIMIT) -> None:
        self.total = 0
        self.cached = 0
        self._cache_limit = cache_limit
        self._kept: dict[bytes, _Kept] = {}
        self._unowned: OrderedDict[bytes, None] = OrderedDict()
        self._of_owner: dict[Hashable, set[bytes]] = {}
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
            digest: Its digest if it was computed and checked already.
        """
        view = memoryview(buffer).cast("B") if isinstance(buffer, memoryview) else memoryview(buffer)
        if not view.readonly:
            view = copy_of(view).toreadonly()
        digest = digest_of(view) if digest is None else digest
        with self._lock:
            if digest not in self._kept:
                self._kept[digest] = _Kept(view)
                self._unowned[digest] = None
                self.total += view.nbytes
                self.cached += view.nbytes
            self.own(digest, owner)
            self._shrink(digest)
        return BlobRef(digest, view.nbytes)

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
                self.cached -= kept.view.nbytes
            kept.owners.add(owner)
            self._of_owner.setdefault(owner, set()).add(digest)

    def get(self, digest: bytes) -> memoryview:
        """Return the blob, read-only.

        Raises:
            KeyError: The store has no such blob.
        """
        with self._lock:
            kept = self._kept[digest]
            if not kept.owners:
                self._unowned.move_to_end(digest)
            return kept.view

    def release(self, owner: Hashable) -> None:
        """Drop everything that `owner` has; what nobody else wants becomes cache.

        The cache shrinks at the next `put`, so that a blob can change hands.
        """
        with self._lock:
            for digest in self._of_owner.pop(owner, ()):
                kept = self._kept[digest]
                kept.owners.discard(owner)
                if not kept.owners:
                    self._unowned[digest] = None
                    self.cached += kept.view.nbytes

    def discard(self, digest: bytes) -> None:
        """Drop a blob at once, owned or not. Unknown ones are ignored."""
        with self._lock:
            kept = self._kept.pop(digest, None)
            if kept is None:
                return
            self.total -= kept.view.nbytes
            if not kept.owners:
                del self._unowned[digest]
                self.cached -= kept.view.nbytes
            for owner in kept.owners:
                digests = self._of_owner[owner]
                digests.discard(digest)
                if not digests:
                    del self._of_owner[owner]

    def missing(self, blobs: list[list[Any]] | None) -> list[BlobRef]:
        """Return which of `blobs`, as in messages, are not here, each once."""
        wanted = {digest: size for _, digest, size in blobs or () if digest not in self._kept}
        return [BlobRef(digest, size) for digest, size in wanted.items()]

    def _shrink(self, newest: bytes) -> None:
        # The newest stays even if it alone is over the limit: its caller is about to use it.
        while self.cached > self._cache_limit and (oldest := next(iter(self._unowned))) != newest:
            self.discard(oldest)
