"""What one process writes, as whole lines, bounded in size and rate; pure.

    take(stream, bytes) ... --> head | dropped | tail --> settle(owner) --> [owner, stream, text, dropped]

Bytes are held until it is known whose they are. Of a flood the beginning and the end are
kept, and the middle is counted.
"""

from __future__ import annotations

from collections import deque

HELD = 64 * 1024
"""Bytes that wait for their owner at most [B]."""

RATE = 128 * 1024
"""What one process may write in the long run [B/s]."""

BURST = 256 * 1024
"""What it may write at once [B]."""

PERIOD = 0.1
"""How long output waits for more [s]."""

SLOW_PERIOD = 0.5
"""The same for a process that writes more than it may [s]."""

PARTIAL_AGE = 0.4
"""How long the beginning of a line waits for its end [s]."""

LINE_LIMIT = 8 * 1024
"""A longer line is shown in parts [B]."""

_NOTICE = 64
_CONTINUATION = 0x80
_CONTINUATION_MASK = 0xC0

Entry = list[object]
"""`[owner, stream, text, dropped]`; dropped counts the bytes that are missing before the text."""


class OutputFlow:
    """The output of one process between its pipes and its reader.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._head: list[tuple[int, bytes]] = []
        self._tail: deque[tuple[int, bytes]] = deque()
        self._head_size = 0
        self._tail_size = 0
        self._cut = 0  # bytes that are missing between head and tail
        self._dropped = 0  # bytes that are missing before whatever is told next
        self._partial = {1: b"", 2: b""}
        self._partial_owner = 0
        self._partial_since: float | None = None
        self._tokens = float(BURST)
        self._refilled: float | None = None

    @property
    def held(self) -> bool:
        """Whether something waits for its owner."""
        return self._head_size > 0

    @property
    def waiting(self) -> bool:
        """Whether something will have to be told without more being written."""
        return self._head_size > 0 or self._dropped > 0 or any(self._partial.values())

    @property
    def period(self) -> float:
        """After how long what is held should be settled [s]."""
        return PERIOD if self._tokens >= HELD else SLOW_PERIOD

    def take(self, stream: int, piece: bytes) -> None:
        """Hold what was written to stream 1 or 2."""
        room = HELD // 2 - self._head_size if not self._tail else 0
        if room > 0:
            self._head.append((stream, piece[:room]))
            self._head_size += min(room, len(piece))
            piece = piece[room:]
        if not piece:
            return
        self._tail.append((stream, piece))
        self._tail_size += len(piece)
        self._shorten_tail(HELD // 2)

    def settle(self, owner: int, now: float, *, ended: bool) -> list[Entry]:
        """Return what is held as text of `owner`.

        Args:
            owner: Who wrote it, as the caller knows it.
            now: Monotonic time [s].
            ended: Whether the owner writes no more: a line that it did not end is told now.
        """
        entries: list[Entry] = []
        if any(self._partial.values()) and owner != self._partial_owner:
            self._tell_partials(entries)
        self._partial_owner = owner
        self._apply_rate(now)
        for stream, piece in self._head:
            self._add(entries, stream, piece, now)
        if self._cut:
            self._tell_partials(entries)
            self._dropped += self._cut
            self._begin_tail_with_a_line()
        for stream, piece in self._tail:
            self._add(entries, stream, piece, now)
        self._head.clear()
        self._tail.clear()
        self._head_size = self._tail_size = self._cut = 0
        late = self._partial_since is not None and now - self._partial_since >= PARTIAL_AGE
        if ended or late:
            self._tell_partials(entries)
        if self._dropped and self._tokens >= _NOTICE:
            self._tokens -= _NOTICE
            entries.append([owner, 1, "", self._dropped])
            self._dropped = 0
        return entries

    def _apply_rate(self, now: float) -> None:
        """Shorten what is held to what may be told now."""
        if self._refilled is not None:
            self._tokens = min(float(BURST), self._tokens + (now - self._refilled) * RATE)
        self._refilled = now
        size = self._head_size + self._tail_size
        allowed = int(self._tokens)
        if size > allowed:
            if self._head_size > allowed // 2:
                self._shorten_head(allowed // 2)
            self._shorten_tail(allowed - self._head_size)
        self._tokens -= self._head_size + self._tail_size

    def _shorten_head(self, size: int) -> None:
        """Move what is beyond `size` to the beginning of the tail."""
        while self._head_size > size:
            stream, piece = self._head.pop()
            self._head_size -= len(piece)
            keep = max(0, size - self._head_size)
            if keep:
                self._head.append((stream, piece[:keep]))
                self._head_size += keep
            self._tail.appendleft((stream, piece[keep:]))
            self._tail_size += len(piece) - keep

    def _shorten_tail(self, size: int) -> None:
        while self._tail_size > size:
            stream, piece = self._tail.popleft()
            surplus = min(len(piece), self._tail_size - size)
            self._tail_size -= surplus
            self._cut += surplus
            if surplus < len(piece):
                self._tail.appendleft((stream, piece[surplus:]))

    def _begin_tail_with_a_line(self) -> None:
        """Drop the rest of the line in which the tail begins, if its end is near."""
        if not self._tail:
            return
        stream, piece = self._tail.popleft()
        end = piece.find(b"\n", 0, LINE_LIMIT) + 1
        self._dropped += end
        if end < len(piece):
            self._tail.appendleft((stream, piece[end:]))

    def _add(self, entries: list[Entry], stream: int, piece: bytes, now: float) -> None:
        lines = self._partial[stream] + piece
        end = lines.rfind(b"\n") + 1
        rest = lines[end:]
        while len(rest) > LINE_LIMIT:
            cut = _boundary(rest, LINE_LIMIT)
            lines, rest = lines[:end] + rest[:cut] + b"\n", rest[cut:]
            end = len(lines)
        if end:
            self._tell(entries, stream, lines[:end])
        self._partial[stream] = rest
        if not any(self._partial.values()):
            self._partial_since = None
        elif self._partial_since is None or end:
            self._partial_since = now

    def _tell_partials(self, entries: list[Entry]) -> None:
        for stream, rest in self._partial.items():
            if rest:
                self._partial[stream] = b""
                self._tell(entries, stream, rest + b"\n")
        self._partial_since = None

    def _tell(self, entries: list[Entry], stream: int, lines: bytes) -> None:
        text = lines.decode("utf-8", "backslashreplace")
        last = entries[-1] if entries else None
        if last is not None and not self._dropped and last[0] == self._partial_owner and last[1] == stream:
            last[2] = f"{last[2]}{text}"
            return
        entries.append([self._partial_owner, stream, text, self._dropped])
        self._dropped = 0


def _boundary(line: bytes, size: int) -> int:
    """Return where to cut a line at about `size`, never inside a character."""
    while size > 1 and line[size] & _CONTINUATION_MASK == _CONTINUATION:
        size -= 1
    return size
