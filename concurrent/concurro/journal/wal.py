"""Whether the write-ahead log of a database is whole.

SQLite takes the first frame whose checksum is wrong for the end of the log. After a crash that
is right: the tail was never committed. After a flipped bit it would drop committed rows without
a word, so it is looked at before SQLite opens it.

Source: SQLite, "The Write-Ahead Log File Format", sqlite.org/fileformat2.html, section 4.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING

from concurro.errors import JournalDamagedError

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = struct.Struct(">IIII8sII")
_FRAME = struct.Struct(">II8sII")
_MAGIC = 0x377F0682
_WORD = 0xFFFFFFFF
_LEAST_PAGE = 512


def check_log(path: Path) -> int:
    """Return how many frames of a log count; one that is not there has none.

    Raises:
        JournalDamagedError: A frame in the middle was changed: committed rows would be lost.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return 0
    if len(content) < _HEADER.size:
        return 0
    magic, _, page, _, salts, first, second = _HEADER.unpack_from(content)
    big = bool(magic & 1)
    if magic & ~1 != _MAGIC or _sum(content[:24], 0, 0, big=big) != (first, second):
        _refuse_if_more_follows(path, content, 0, max(page, _LEAST_PAGE), salts)
        return 0
    position, frames = _HEADER.size, 0
    size = _FRAME.size + page
    while position + size <= len(content):
        head = content[position : position + 8]
        body = content[position + _FRAME.size : position + size]
        after = _sum(body, *_sum(head, first, second, big=big), big=big)
        _, _, frame_salts, *stored = _FRAME.unpack_from(content, position)
        if frame_salts != salts or after != tuple(stored):
            # Torn, or left from before the log was started again.
            _refuse_if_more_follows(path, content, position, page, salts)
            break
        first, second = after
        position += size
        frames += 1
    return frames


def _refuse_if_more_follows(path: Path, content: bytes, position: int, page: int, salts: bytes) -> None:
    """Take a bad frame for the torn end of the log, unless more follows.

    Raises:
        JournalDamagedError: More follows.
    """
    size = _FRAME.size + page
    start = position + size if position else _HEADER.size
    if any(content[place + 8 : place + 16] == salts for place in range(start, len(content) - size + 1, size)):
        message = f"{path}: the bytes from {position} on were changed; rows that were committed would be lost"
        raise JournalDamagedError(message, f"{path}:{position}")


def _sum(piece: bytes, first: int, second: int, *, big: bool) -> tuple[int, int]:
    words = array("I", piece)
    if big != (sys.byteorder == "big"):
        words.byteswap()
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
