"""A digest of class and arguments: whether two attempts run the same."""

from __future__ import annotations

import hashlib
from typing import Any

STAMP_SIZE = 16
"""BLAKE2b-128 [B]."""


def stamp_of(name: str, code: tuple[bytes, list[Any] | None], payload: bytes, blobs: list[Any] | None) -> bytes:
    """Return the stamp of an attempt.

    Args:
        name: Of its class.
        code: Of its class: payload and blobs, as they travel.
        payload: Of the task.
        blobs: Of the task, as they travel.
    """
    digest = hashlib.blake2b(digest_size=STAMP_SIZE)
    for piece in (name.encode(), code[0], payload):
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    for parts in (code[1], blobs):
        digest.update(b"|")
        for _, name_of_part, _ in parts or ():
            digest.update(name_of_part)
    return digest.digest()
