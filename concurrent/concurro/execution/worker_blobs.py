"""Blobs between a slave's store and its workers.

worker --BLOB, MAPPED--> store, as the worker's until a result names them
--GET-----------> pieces of what is here
<--------- UNMAP  what is not kept here any more
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.execution.worker import Note
from concurro.wire.payload import PAYLOAD_LIMIT
from concurro.wire.segments import Descriptor

if TYPE_CHECKING:
    from concurro.execution.worker_link import WorkerLink
    from concurro.ids import BlobRef
    from concurro.wire.blobs import BlobStore


class WorkerBlobs:
    """What workers put into the store of their slave, and know of it.

    Loop thread only.

    Args:
        store: Of the slave.
        links: The workers by their ids.
    """

    def __init__(self, store: BlobStore, links: dict[int, WorkerLink]) -> None:
        self._store = store
        self._links = links
        self._dropped: list[bytes] = []
        store.on_dropped = self._dropped.append

    def take(self, link: WorkerLink, place: list[Any], piece: bytes) -> None:
        """Take a piece of a blob of a worker.

        Raises:
            ProtocolError: It is too large, or not the piece that comes next.
        """
        digest, size, offset = place
        if offset == 0 and len(piece) == size:
            self._store.put(piece, _of(link), digest)
            return
        if size > PAYLOAD_LIMIT or (link.parts and digest not in link.parts):
            text = f"a blob of {size} B begins, over {PAYLOAD_LIMIT} B or before another one was complete"
            raise ProtocolError(text)
        part = link.parts.setdefault(digest, bytearray())
        if offset != len(part) or offset + len(piece) > size:
            text = f"bytes {offset} to {offset + len(piece)} of a blob of {size}, after {len(part)}"
            raise ProtocolError(text)
        part += piece
        if len(part) == size:
            del link.parts[digest]
            self._store.put(memoryview(part).toreadonly(), _of(link), digest)

    def take_mapped(self, link: WorkerLink, ref: BlobRef, descriptor: Any = None) -> None:
        """Take the pages of a blob of a worker.

        Raises:
            ProtocolError: There are none.
        """
        if not isinstance(descriptor, Descriptor):
            text = f"blob {ref.digest.hex()[-12:]} of {ref.size} B is said to be mapped, and is not"
            raise ProtocolError(text)
        self._store.put_descriptor(descriptor, ref, _of(link))

    def keep(self, link: WorkerLink, results: list[list[Any]]) -> None:
        """Keep the blobs of results; those of later ones stay the worker's."""
        for result in results:
            if result[3]:
                for _, digest, _ in result[3]:
                    self._store.pass_on(digest, _of(link), ("result", result[0]))

    def give(self, link: WorkerLink, digests: list[bytes]) -> bytes | None:
        """Send a worker what it asks for.

        Return the first that is not here, after which nothing is sent.
        """
        for digest in digests:
            if digest not in self._store:
                return digest
            link.send_pieces(digest, self._store)
        return None

    def gone(self, link: WorkerLink) -> None:
        """Notice that a worker has ended."""
        self._store.release(_of(link))

    def unmap(self) -> None:
        """Let workers unmap what is not kept here any more."""
        if not self._dropped:
            return
        dropped = set()
        while self._dropped:  # another thread may add to it
            dropped.add(self._dropped.pop())
        for link in self._links.values():
            known = link.sent & dropped
            if known:
                link.sent -= known
                link.send(Note.UNMAP, sorted(known))


def _of(link: WorkerLink) -> tuple[str, int]:
    """Return who owns what a worker sent."""
    return "worker", link.id
