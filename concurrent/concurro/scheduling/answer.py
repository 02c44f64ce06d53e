"""What a host answered to one input, short enough to keep and compare."""

from __future__ import annotations

import hashlib
from typing import Any

from concurro.scheduling.rows import Note


class AnswerDigest:
    """Sums up what a host answers to one input, in any number of messages."""

    __slots__ = ("_digest", "_emitted", "_first")

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._first = -1
        self._emitted = 0

    def add(self, first: int, classes: list[Any], tasks: list[list[Any]], cancelled: list[int]) -> None:
        """Add the emissions of one OUT message."""
        update = self._digest.update
        if tasks and self._first < 0:
            self._first = first
        self._emitted += len(tasks)
        if classes:
            update(repr([[entry[:6], entry[6], digests(entry[7])] for entry in classes]).encode())
        parts: list[bytes] = []  # as one, since a call per task costs
        number, prefix = -1, b""
        for task in tasks:
            if task[0] != number:
                number = task[0]
                prefix = number.to_bytes(4, "little")
            parts.append(prefix)
            parts.append(task[1])
            if len(task) > 2:  # noqa: PLR2004 - [class, payload, blobs]
                parts += digests(task[2])
        update(b"".join(parts))
        if cancelled:
            update(repr(sorted(cancelled)).encode())

    def note(self) -> Note:
        """Return the sum."""
        return Note(self._first, self._emitted, self._digest.digest())


def digests(blobs: list[Any] | None) -> list[bytes]:
    """Return the names of blobs, as they travel."""
    return [digest for _, digest, _ in blobs or ()]
