"""One blob that arrives in chunks."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING

from concurro.errors import ProtocolError
from concurro.wire.blobs import DIGEST_SIZE, is_digest
from concurro.wire.messages import CHUNK_SIZE
from concurro.wire.places import BufferPlace

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.ids import BlobRef
    from concurro.wire.blobs import Buffer
    from concurro.wire.places import Place
    from concurro.wire.segments import Descriptor


class Assembly:
    """One incoming blob, put together from chunks in any order.

    A chunk that is added is written, and digested, by the next `settle`: whoever adds it can ask
    for another one first.

    Args:
        ref: The blob.
        size_limit: Largest blob that is accepted [B]; None for any.
        place: Makes the place for so many bytes, once there are some; memory of this process.

    Attributes:
        ref: The blob.

    Raises:
        ProtocolError: The size is negative or above the limit.
    """

    def __init__(
        self, ref: BlobRef, size_limit: int | None = None, place: Callable[[int], Place] = BufferPlace
    ) -> None:
        if ref.size < 0 or (size_limit is not None and ref.size > size_limit):
            message = f"a blob of {ref.size} B is refused; the limit is {size_limit} B"
            raise ProtocolError(message)
        self.ref = ref
        self._make_place = place
        self._place: Place | None = None
        self._digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
        self._digested = 0
        self._named_by_digest = is_digest(ref.digest)
        self._arrived = 0
        self._unwritten: list[tuple[int, Buffer]] = []
        self._undigested: dict[int, Buffer] = {}
        self._asked: dict[int, int] = {}
        self._again: deque[tuple[int, int]] = deque()
        self._next_offset = 0

    @property
    def in_flight(self) -> int:
        """How many chunks were asked for and are not here."""
        return len(self._asked)

    @property
    def bytes_in_flight(self) -> int:
        """Bytes that were asked for and are not here [B]."""
        return sum(self._asked.values())

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        return self._arrived == self.ref.size

    @property
    def wants_more(self) -> bool:
        """Whether there is something that was not asked for."""
        return bool(self._again) or self._next_offset < self.ref.size

    def next_request(self) -> tuple[int, int] | None:
        """Return (offset, length) of what to ask for next; None: of nothing."""
        if self._again:
            request = self._again.popleft()
        elif self._next_offset < self.ref.size:
            request = self._next_offset, min(CHUNK_SIZE, self.ref.size - self._next_offset)
            self._next_offset += request[1]
        else:
            return None
        self._asked[request[0]] = request[1]
        return request

    def restart(self) -> None:
        """Forget what was asked for and not answered; `next_request` asks again."""
        self._again.extendleft(sorted(self._asked.items(), reverse=True))
        self._asked.clear()

    def awaits(self, offset: int) -> bool:
        """Say whether the chunk at an offset was asked for and is not here."""
        return offset in self._asked

    def add(self, offset: int, chunk: Buffer) -> bool:
        """Take one chunk; return whether the blob is complete.

        Raises:
            ProtocolError: Nobody asked for this chunk, or its length is wrong. It is still among those asked for then.
        """
        expected = self._asked.get(offset)
        if expected is None:
            message = f"chunk at {offset} of blob {self.ref.digest.hex()[-12:]} was not asked for"
            raise ProtocolError(message)
        if len(chunk) != expected:
            message = f"chunk at {offset} has {len(chunk)} B, expected {expected}"
            raise ProtocolError(message)
        del self._asked[offset]
        self._unwritten.append((offset, chunk))
        self._arrived += expected
        return self.complete

    def settle(self) -> None:
        """Write what was added, and take what is without a gap into the digest.

        What is ahead of a gap is kept for it: no more than is asked for at once.

        Raises:
            ProtocolError: There is no memory for it.
        """
        place = self._place_for_it()
        unwritten, self._unwritten = self._unwritten, []
        for offset, piece in unwritten:
            place.write(offset, piece)
            if self._named_by_digest:
                self._undigested[offset] = piece
        while (chunk := self._undigested.pop(self._digested, None)) is not None:
            self._digest.update(chunk)
            self._digested += len(chunk)

    def finish(self) -> memoryview | Descriptor:
        """Return the blob, read-only, after checking its digest.

        Raises:
            ProtocolError: It is incomplete, its bytes are not those of the digest, or there is no memory for it.
        """
        if not self.complete:
            message = f"blob {self.ref.digest.hex()[-12:]} has {self._arrived} of {self.ref.size} B"
            raise ProtocolError(message)
        self.settle()
        if self._named_by_digest and self._digest.digest() != self.ref.digest:
            message = f"the bytes of blob {self.ref.digest.hex()[-12:]} are not those of its digest"
            raise ProtocolError(message)
        return self._place_for_it().finish()

    def _place_for_it(self) -> Place:
        if self._place is None:
            self._place = self._make_place(self.ref.size)
        return self._place
