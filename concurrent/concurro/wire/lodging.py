"""A guest's share of somebody's blobs: all of it can be released at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.ids import BlobRef
    from concurro.wire.blobs import BlobStore, Buffer
    from concurro.wire.places import Place
    from concurro.wire.segments import Descriptor


class Lodging:
    """A blob store whose owners are those of one guest. Thread-safe.

    Args:
        store: The host's store: code that is there serves the guest too.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._owners: set[Hashable] = set()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._store

    def put(self, buffer: Buffer, owner: Hashable | None = None, digest: bytes | None = None) -> BlobRef:
        """Keep a blob."""
        return self._store.put(buffer, self._known(owner), digest)

    def put_buffer(self, buffer: Buffer, owner: Hashable | None = None) -> BlobRef:
        """Keep a buffer of a value that travels, as a segment if it is large."""
        return self._store.put_buffer(buffer, self._known(owner))

    def put_descriptor(self, descriptor: Descriptor, ref: BlobRef, owner: Hashable | None = None) -> None:
        """Keep a blob whose pages are somebody else's.

        Raises:
            ProtocolError: It cannot be mapped for so many bytes without danger.
        """
        self._store.put_descriptor(descriptor, ref, self._known(owner))

    def place(self, size: int) -> Place:
        """Return where a blob that arrives is put together.

        Raises:
            ProtocolError: There is no memory for it.
        """
        return self._store.place(size)

    def put_arrived(self, content: memoryview | Descriptor, ref: BlobRef, owner: Hashable | None = None) -> None:
        """Keep a blob that was put together here."""
        self._store.put_arrived(content, ref, self._known(owner))

    def read(self, digest: bytes, offset: int, length: int) -> memoryview | bytes:
        """Return some bytes of a blob.

        Raises:
            KeyError: The store has no such blob.
        """
        return self._store.read(digest, offset, length)

    def claim(self, digest: bytes, owner: Hashable | None) -> bool:
        """Add an owner to a blob if it is kept; return whether it is."""
        return self._store.claim(digest, self._known(owner))

    def own(self, digest: bytes, owner: Hashable | None) -> None:
        """Add an owner to a kept blob; None only marks it as used.

        Raises:
            KeyError: The store has no such blob.
        """
        self._store.own(digest, self._known(owner))

    def get(self, digest: bytes) -> memoryview:
        """Return the blob, read-only.

        Raises:
            KeyError: The store has no such blob.
        """
        return self._store.get(digest)

    def lend(self, digest: bytes, *, private: bool) -> memoryview | bytearray:
        """Return the blob for a value that is being loaded.

        Raises:
            KeyError: The store has no such blob.
        """
        return self._store.lend(digest, private=private)

    def descriptor(self, digest: bytes) -> Descriptor | None:
        """Return what others on this machine map; None when that cannot be.

        Raises:
            KeyError: The store has no such blob.
        """
        return self._store.descriptor(digest)

    def release(self, owner: Hashable) -> None:
        """Drop everything that `owner` has; what nobody else wants becomes cache."""
        self._owners.discard((self, owner))
        self._store.release((self, owner))

    def tidy(self) -> bool:
        """Leave the pages to the host: it looks after all of them."""
        return False

    def close(self) -> None:
        """Leave the pages to the host; see `leave`."""

    def missing(self, blobs: list[list[Any]] | None) -> list[BlobRef]:
        """Return which of `blobs`, as in messages, are not here, each once."""
        return self._store.missing(blobs)

    def leave(self) -> None:
        """Drop everything that any owner of the guest has. Idempotent."""
        for owner in list(self._owners):
            self._store.release(owner)
        self._owners.clear()

    def _known(self, owner: Hashable | None) -> Hashable | None:
        if owner is None:
            return None
        self._owners.add((self, owner))
        return (self, owner)
