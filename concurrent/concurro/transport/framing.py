"""Frames in a byte stream: a count, the lengths, the bytes.

A message is `count` (u32), `count` lengths (u32 each), then the frames, little-endian. A frame
that is a descriptor has a length that nothing else has, and no bytes: it comes beside them.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.wire.messages import MESSAGE_LIMIT
from concurro.wire.segments import Descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAME_COUNT_LIMIT = 64

_DESCRIPTOR = 0xFFFFFFFF

_ONE = struct.Struct("<II")
_COUNT = struct.Struct("<I")


def frame_header(frames: Sequence[Any]) -> bytes:
    """Return the bytes that precede the frames of one message.

    Raises:
        ProtocolError: The receiver would refuse the message.
    """
    if any(isinstance(frame, Descriptor) for frame in frames):
        return _header_with_descriptor(frames)
    lengths = [memoryview(frame).nbytes for frame in frames]
    if len(frames) > FRAME_COUNT_LIMIT or sum(lengths) > MESSAGE_LIMIT:
        message = f"a message of {len(frames)} frames, {sum(lengths)} bytes together, is over the limits"
        raise ProtocolError(message)
    return struct.pack(f"<{len(frames) + 1}I", len(frames), *lengths)


def _header_with_descriptor(frames: Sequence[Any]) -> bytes:
    lengths = [_DESCRIPTOR if isinstance(frame, Descriptor) else len(frame) for frame in frames]
    if lengths.count(_DESCRIPTOR) > 1 or sum(length for length in lengths if length != _DESCRIPTOR) > MESSAGE_LIMIT:
        message = f"a message of {len(frames)} frames with a descriptor is over the limits"
        raise ProtocolError(message)
    return struct.pack(f"<{len(frames) + 1}I", len(frames), *lengths)


def size_of(frames: Sequence[Any]) -> int:
    """Return the bytes of a message [B].

    Raises:
        ProtocolError: The receiver would refuse it.
    """
    if len(frames) == 1 and frames[0].__class__ is bytes:
        size = len(frames[0])
    else:
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
    """Cuts a byte stream into messages.

    Attributes:
        descriptors: Those that came with the stream, in order; put here before the bytes are fed.
    """

    def __init__(self) -> None:
        self.descriptors: deque[Descriptor] = deque()
        self._rest = bytearray()
        self._wanted = 0

    def feed(self, chunk: bytes) -> list[list[Any]]:
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
        messages: list[list[Any]] = []
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

    def _take_many(self, chunk: bytes, offset: int, count: int, size: int) -> tuple[list[Any], int] | None:
        if not 0 < count <= FRAME_COUNT_LIMIT:
            self._refuse(count, 0)
        start = offset + 4 * (count + 1)
        if start > size:
            self._wanted = start - offset
            return None
        lengths = struct.unpack_from(f"<{count}I", chunk, offset + 4)
        if _DESCRIPTOR in lengths:
            return self._take_with_descriptor(chunk, start, lengths)
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

    def _take_with_descriptor(self, chunk: bytes, start: int, lengths: tuple[int, ...]) -> tuple[list[Any], int] | None:
        sizes = [0 if length == _DESCRIPTOR else length for length in lengths]
        count, size = len(lengths), sum(sizes)
        if size > MESSAGE_LIMIT:
            self._refuse(count, size)
        if lengths.count(_DESCRIPTOR) > 1 or not self.descriptors:
            message = "a frame is said to be a descriptor, and none came with it"
            raise ProtocolError(message)
        if start + size > len(chunk):
            self._wanted = 4 * (count + 1) + size
            return None
        frames: list[Any] = []
        for length, taken in zip(lengths, sizes, strict=True):
            frames.append(self.descriptors.popleft() if length == _DESCRIPTOR else chunk[start : start + taken])
            start += taken
        return frames, start

    @staticmethod
    def _refuse(count: int, size: int) -> None:
        message = f"a message of {count} frames, {size} bytes together, is over the limits"
        raise ProtocolError(message)
