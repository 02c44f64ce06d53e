"""Buffers that were sent before: the same bytes there are one blob.

What is known of a buffer is where its bytes are. It is compared with what was sent, which takes
as long as a copy and saves it everywhere else; a read-only array too, since it may have been
writable in between. One with `bytes` beneath is known by being the same object, and of one that
came as a private mapping the kernel says whether it was written to. Thread-safe, as far as
dictionaries are.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

_MOST = 4096


class _Known:
    __slots__ = ("digest", "exporter", "fixed", "private")

    def __init__(self, digest: bytes, exporter: weakref.ref[Any] | None, *, fixed: bool, private: bool) -> None:
        self.digest = digest
        self.private = private
        self.exporter = exporter
        self.fixed = fixed


class KnownBuffers:
    """Names of blobs by the place of the buffers that they were made of.

    Attributes:
        gone: Names of blobs of which a buffer died or got other bytes; whoever looks takes them.
    """

    def __init__(self) -> None:
        self.gone: deque[bytes] = deque()
        self._at: dict[tuple[int, int], _Known] = {}
        self._places: dict[bytes, set[tuple[int, int]]] = {}

    def note(self, view: memoryview, digest: bytes, *, ours: bool = False, private: bool = False) -> None:
        """Note that the blob `digest` has the bytes of a buffer.

        Args:
            view: The buffer.
            digest: Its blob.
            ours: Whether the buffer is the blob itself, lent to a value here.
            private: Whether it is a private mapping of the blob.
        """
        place = _place_of(view)
        before = self._at.get(place)
        if before is not None and before.digest != digest:
            self._leave(place, before.digest)
        if len(self._at) >= _MOST:
            self.forget(next(iter(self._at.values())).digest)
        exporter = None if ours else self._reference_to(view.obj, digest)
        self._at[place] = _Known(digest, exporter, fixed=exporter is not None and is_fixed(view), private=private)
        self._places.setdefault(digest, set()).add(place)

    def find(self, view: memoryview) -> tuple[bytes, bool] | None:
        """Return the blob of a buffer at the same place; None for none.

        Returns:
            Its name, and whether the buffer certainly has its bytes still: else they are to be compared.
        """
        if not self._at:
            return None
        place = _place_of(view)
        known = self._at.get(place)
        if known is None:
            return None
        exporter = known.exporter() if known.exporter is not None else None
        if exporter is None:
            return known.digest, False
        if known.fixed and exporter is view.obj:
            return known.digest, True
        return known.digest, known.private and _is_as_mapped(*place)

    def lives(self, digest: bytes) -> bool:
        """Say whether a buffer of a blob still exists."""
        places = self._places.get(digest)
        if places is None:
            return False
        known = [self._at.get(place) for place in tuple(places)]
        return any(one is not None and one.exporter is not None and one.exporter() is not None for one in known)

    def forget(self, digest: bytes) -> None:
        """Forget the buffers of a blob."""
        for place in self._places.pop(digest, ()):
            known = self._at.get(place)
            if known is not None and known.digest == digest:
                del self._at[place]

    def _leave(self, place: tuple[int, int], digest: bytes) -> None:
        """Note that a place has no bytes of a blob any more."""
        places = self._places.get(digest)
        if places is not None:
            places.discard(place)
            if not places:
                del self._places[digest]
        self.gone.append(digest)

    def _reference_to(self, exporter: Any, digest: bytes) -> weakref.ref[Any] | None:
        gone = self.gone
        try:
            return weakref.ref(exporter, lambda _: gone.append(digest))
        except TypeError:
            return None


def _place_of(view: memoryview) -> tuple[int, int]:
    from concurro.wire.mapping import address_of  # noqa: PLC0415 - see there

    return address_of(view), view.nbytes


def _is_as_mapped(address: int, size: int) -> bool:
    from concurro.wire.mapping import is_as_mapped  # noqa: PLC0415 - see there

    return is_as_mapped(address, size)


def is_fixed(view: memoryview) -> bool:
    """Say whether nobody can ever write to a buffer: beneath it are `bytes`.

    That an array is read-only now says nothing about what it was, or will be.
    """
    exporter: Any = view.obj
    while not isinstance(exporter, bytes):
        try:
            if exporter is None or not memoryview(exporter).readonly:
                return False
        except TypeError:  # a base that is no buffer
            return False
        exporter = exporter.obj if isinstance(exporter, memoryview) else getattr(exporter, "base", None)
    return True
