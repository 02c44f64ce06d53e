"""Frames in a byte stream: a count, the lengths, the bytes.

A message is `count` (u32), `count` lengths (u32 each), then the frames, little-endian.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.wire.messages import MESSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAME_COUNT_LIMIT = 64

_ONE = struct.Struct("<II")
_COUNT = struct.Struct("<I")


def frame_header(frames: Sequence[Any]) -> bytes:
    """Return the bytes that precede the frames of one message.

    Raises:
        ProtocolError: The receiver would refuse the message.
    """
    lengths = [memoryview(frame).nbytes for frame in frames]
    if len(frames) > FRAME_COUNT_LIMIT or sum(lengths) > MESSAGE_LIMIT:
        message = f"a message of {len(frames)} frames, {sum(lengths)} bytes together, is over the limits"
        raise ProtocolError(message)
    return struct.pack(f"<{len(frames) + 1}I", len(frames), *lengths)


def size_of(frames: Sequence[Any]) -> int:
    """Return the bytes of a message [B].

    Raises:
        ProtocolError: The receiver would refuse it.
    """
    size = sum(memoryview(frame).nbytes for frame in frames)
    if len(frames) > FRAME_COUNT_LIMIT or size > MESSAGE_LIMIT:
        message = f"a message of {len(frames)} frames, {size} bytes together, is over the limits"
        raise ProtocolError(message)
    return size


def pack_single(frame: bytes) -> bytes:
    """Return a whole message of one frame."""
    if len(frame) > MESSAGE_LIMIT:
        message = f"a frame of {len(frame)} bytes is over the limit of {MESSAGE_LIMIT}"
        raise ProtocolError(message)
    return _ONE.pack(1, len(frame)) + frame


class Decoder:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._wanted = 0

    def feed(self, chunk: bytes) -> list[list[bytes]]:
        """Return the messages that `chunk` completes.

        Raises:
            ProtocolError: The bytes are no frames of ours, or over the limits.
        """
        if self._rest:
            self._rest += chunk
            if len(self._rest) < self._wanted:
                return []
            chunk = bytes(self._rest)
            self._rest = bytearray()
        messages: list[list[bytes]] = []
        offset, size = 0, len(chunk)
        while size - offset >= _ONE.size:
            count, length = _ONE.unpack_from(chunk, offset)
            if count == 1:
                end = offset + 8 + length
                if length > MESSAGE_LIMIT:
                    self._refuse(count, length)
                if end > size:
                    self._wanted = end - offset
                    break
                messages.append([chunk[offset + 8 : end]])
                offset = end
                continue
            taken = self._take_many(chunk, offset, count, size)
            if taken is None:
                break
            frames, offset = taken
            messages.append(frames)
        else:
            self._wanted = _ONE.size
        if offset < size:
            self._rest += memoryview(chunk)[offset:]
        return messages

    def _take_many(self, chunk: bytes, offset: int, count: int, size: int) -> tuple[list[bytes], int] | None:
        if not 0 < count <= FRAME_COUNT_LIMIT:
            self._refuse(count, 0)
        start = offset + 4 * (count + 1)
        if start > size:
            self._wanted = start - offset
            return None
        lengths = struct.unpack_from(f"<{count}I", chunk, offset + 4)
        size_of_all = sum(lengths)
        if size_of_all > MESSAGE_LIMIT:
            self._refuse(count, size_of_all)
        end = start + size_of_all
        if end > size:
            self._wanted = end - offset
            return None
        frames = []
        for length in lengths:
            frames.append(chunk[start : start + length])
            start += length
        return frames, end

    @staticmethod
    def _refuse(count: int, size: int) -> None:
        message = f"a message of {count} frames, {size} bytes together, is over the limits"
        raise ProtocolError(message)
