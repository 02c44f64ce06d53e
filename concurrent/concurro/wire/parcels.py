"""Values on lines: plain ones, packed ones, parcels.

    value --PackedValues--> payload, blobs     to services in workers, and back
    value --PlainValues---> msgpack            to services of the master, which unpickles nothing

A `Parcel` is a value that was packed once. It travels among other values as it is, whoever passes it
on, and is opened where it is wanted.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.errors import NotPicklableError
from concurro.wire.messages import BlobPurpose, unpack_values
from concurro.wire.segments import MAP_THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import BinaryIO

    from concurro.wire.payload import Blobs, Packer

_spilling = threading.RLock()
"""Held while any parcel moves to its file or back."""

SPILLED_FROM = 1024
"""What is small of a value goes to its file from here on [B]."""

PLAIN_LIMIT = 4 * 1024 * 1024
"""Largest plain value [B]; what is larger is no matter for the master."""


class Parcel:
    """A value, packed once, opened where it is wanted.

    Made by `ApplicationNode.pack` and by the `pack` of a service's host. It may stand anywhere among
    the arguments and answers of services in workers. Large buffers in it are kept as long as it
    lives. Thread-safe.

    Attributes:
        size: Bytes of the packed value, about [B].
    """

    __slots__ = ("_blobs", "_head", "_owner", "_packer", "_payload", "_spilled", "size")

    def __init__(self, packer: Packer, payload: bytes, blobs: Blobs | None, owner: Hashable) -> None:
        self._packer = packer
        self._payload = payload
        self._blobs = blobs
        self._owner = owner
        self._spilled: BinaryIO | None = None
        self._head = 0
        self.size = len(payload) + sum(blob[2] for blob in blobs or ())

    @classmethod
    def of(cls, value: Any, packer: Packer) -> Parcel:
        """Return a value, packed.

        Raises:
            NotPicklableError: It cannot travel; names the culprit.
        """
        owner = object()
        payload, blobs = PackedValues(packer).pack(value, owner)
        return cls(packer, payload, blobs, owner)

    def open(self) -> Any:
        """Return the value, another copy each time.

        Loading runs code of users: it may raise anything.
        """
        reader = object()
        with _spilling:
            self.take_back()
            payload, blobs = self._payload, self._blobs and [[*blob] for blob in self._blobs]
            self._hold(reader)  # else another thread might move it to its file meanwhile
        try:
            return PackedValues(self._packer).load(payload, blobs)
        finally:
            self._packer.blobs.release(reader)

    def spill(self, file: BinaryIO) -> int:
        """Move what is large of it to a file of its own, until it is wanted.

        Return the size of that [B].

        Args:
            file: Open for reading and writing, and nobody else's; the parcel closes it.

        Raises:
            OSError: It cannot be written. Everything is still here.
        """
        with _spilling:
            head = self._payload if len(self._payload) >= SPILLED_FROM else b""
            if self._spilled is not None or not (self._blobs or head):
                if file is not self._spilled:
                    file.close()
                return 0
            blobs = self._blobs or []
            file.writelines([head, *(self._packer.blobs.get(digest) for _, digest, _ in blobs)])
            file.flush()
            self._spilled = file
            self._head = len(head)
            if head:
                self._payload = b""
            if blobs:
                self._packer.blobs.release(self._owner)
            return self._spilled_size

    def take_back(self) -> int:
        """Take back what was spilled; return its size, 0 for nothing [B].

        Raises:
            OSError: It cannot be read.
        """
        with _spilling:
            file = self._spilled
            if file is None:
                return 0
            file.seek(0)
            if self._head:
                self._payload = file.read(self._head)
            for blob in self._blobs or ():
                purpose, digest, size = blob
                part = file.read(size)
                if purpose == BlobPurpose.BUFFER and size >= MAP_THRESHOLD:
                    blob[1] = self._packer.blobs.put_buffer(part, self._owner).digest  # others map it again
                else:
                    self._packer.blobs.put(part, self._owner, digest)
            self._spilled = None
            file.close()
            return self._spilled_size

    @property
    def _spilled_size(self) -> int:
        return self._head + sum(int(size) for _, _, size in self._blobs or ())

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as it is.

        Raises:
            NotPicklableError: Not among the arguments or the answer of a service.
        """
        found = _packing.get()
        if found is None:
            message = "a Parcel travels only among the arguments and answers of services in workers"
            raise NotPicklableError(message, "parcel", "Parcel")
        with _spilling:
            self.take_back()
            blobs = self._blobs and [[*blob] for blob in self._blobs]
            self._hold(found)
            found.stores.add(self._packer.blobs)
        found.sizes.update({bytes(digest): size for _, digest, size in blobs or ()})
        return _rebuilt, (self._payload, blobs)

    def _hold(self, owner: Hashable) -> None:
        for _, digest, _ in self._blobs or ():
            self._packer.blobs.own(digest, owner)

    def __del__(self) -> None:
        if self._spilled is not None:
            self._spilled.close()
        elif self._blobs:
            self._packer.blobs.release(self._owner)


class PackedValues:
    """Anything that a `Packer` packs, parcels included. Thread-safe."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer

    def pack(self, value: Any, owner: Hashable) -> tuple[bytes, Blobs | None]:
        """Return the payload of a value and its blobs, which `owner` has.

        Raises:
            NotPicklableError: It cannot travel; names the culprit.
        """
        found = _Found()
        token = _packing.set(found)
        try:
            payload, blobs = self._packer.dumps(value, owner)
            for digest in found.sizes:
                self._packer.blobs.own(digest, owner)
        finally:
            _packing.reset(token)
            for store in found.stores:
                store.release(found)
        if found.sizes:
            parts = [[int(BlobPurpose.PARCEL), digest, size] for digest, size in found.sizes.items()]
            blobs = [*(blobs or ()), *parts]
        return payload, blobs

    def load(self, payload: bytes, blobs: Blobs | None) -> Any:
        """Return the value; its blobs are here.

        Runs code of users, which may raise anything.
        """
        token = _loading.set(self._packer)
        try:
            return self._packer.loads(payload, blobs)
        finally:
            _loading.reset(token)

    def dump_error(self, error: BaseException) -> bytes:
        """Return an exception as bytes; it may raise anything."""
        return self._packer.dumps_whole(error)

    def load_error(self, pickled: bytes) -> Any:
        """Return what `dump_error` dumped; it may raise anything."""
        return self._packer.loads_whole(pickled)


class PlainValues:
    """Values of msgpack: what a master takes and gives."""

    @staticmethod
    def pack(value: Any, owner: Hashable) -> tuple[bytes, None]:  # noqa: ARG004 - as that of `PackedValues`
        """Return the payload of a value.

        Raises:
            NotPicklableError: It is not plain, or too large.
        """
        try:
            payload: bytes = msgpack.packb(value, use_bin_type=True)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            message = (
                f"a service of the master takes and gives plain values alone (None, numbers, texts, bytes, lists and "
                f"dicts of them): {error}"
            )
            raise NotPicklableError(message, "arguments") from error
        if len(payload) > PLAIN_LIMIT:
            message = f"{len(payload)} B are too much for a service of the master, the limit is {PLAIN_LIMIT} B"
            raise NotPicklableError(message, "arguments")
        return payload, None

    @staticmethod
    def load(payload: bytes, blobs: Blobs | None) -> Any:  # noqa: ARG004 - as that of `PackedValues`
        """Return the value.

        Raises:
            Exception: It is not msgpack.
        """
        return unpack_values(payload)

    dump_error = load_error = None


class _Found:
    """Parcels in a value that is being packed; owns their blobs meanwhile.

    Attributes:
        sizes: Digests of the blobs to their sizes [B].
        stores: Where they are.
    """

    __slots__ = ("sizes", "stores")

    def __init__(self) -> None:
        self.sizes: dict[bytes, int] = {}
        self.stores: set[Any] = set()


_packing: ContextVar[_Found | None] = ContextVar("concurro_packing", default=None)
_loading: ContextVar[Packer | None] = ContextVar("concurro_loading", default=None)


def _rebuilt(payload: bytes, blobs: Blobs | None) -> Parcel:
    """Return a parcel as it was, here."""
    packer = _loading.get()
    if packer is None:
        message = "a Parcel was unpickled outside the arguments and answers of a service"
        raise TypeError(message)
    owner = object()
    for _, digest, _ in blobs or ():
        packer.blobs.own(digest, owner)
    return Parcel(packer, payload, blobs, owner)
