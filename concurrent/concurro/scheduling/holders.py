"""Which slaves hold which blobs, as far as the master sent them there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from concurro.records import SlaveRecord

MOST_BLOBS = 4096
"""Digests remembered per slave; beyond, the oldest is forgotten."""


class BlobHolders:
    """Keeps `SlaveRecord.blobs` and its inverse.

    Attributes:
        by_digest: Digest to ids of the slaves that were sent it.
    """

    __slots__ = ("_order", "by_digest")

    def __init__(self) -> None:
        self.by_digest: dict[bytes, set[str]] = {}
        self._order: dict[str, dict[bytes, None]] = {}

    def note(self, slave: SlaveRecord, blobs: Iterable[list[Any]]) -> None:
        """Note that a slave is sent blobs, `[purpose, digest, size]` each."""
        order = self._order.setdefault(slave.id, {})
        for _, digest, _ in blobs:
            if digest in order:
                continue
            order[digest] = None
            slave.blobs.add(digest)
            self.by_digest.setdefault(digest, set()).add(slave.id)
            if len(order) > MOST_BLOBS:
                oldest = next(iter(order))
                del order[oldest]
                slave.blobs.discard(oldest)
                self._drop(oldest, slave.id)

    def forget(self, slave_id: str) -> None:
        """Forget a slave that left."""
        for digest in self._order.pop(slave_id, ()):
            self._drop(digest, slave_id)

    def _drop(self, digest: bytes, slave_id: str) -> None:
        holders = self.by_digest.get(digest)
        if holders is not None:
            holders.discard(slave_id)
            if not holders:
                del self.by_digest[digest]
