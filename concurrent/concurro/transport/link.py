"""What every carrier offers: a `Link`, and the one in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.transport.loop import Loop

Frames = list[Any]


class Link(Protocol):
    """A two-way connection to one peer. Loop thread only.

    Attributes:
        on_message: Called with the frames of each message.
        on_closed: Called once with a reason when the other side is gone, never after `close`.
        ordered: Whether bytes cannot be lost while the link lives (AF_UNIX, memory).
        peer: Who is at the other end, for messages to people.
    """

    on_message: Callable[[Frames], None]
    on_closed: Callable[[str], None]
    ordered: bool
    peer: str

    def send(self, frames: Sequence[Any]) -> None:
        """Queue a message; it leaves with the loop's next flush."""

    def backlog(self) -> int:
        """Return the bytes that were queued and not taken by the carrier yet [B]."""

    def close(self) -> None:
        """Send what is queued if that is possible at once, and close. Idempotent."""


def ignore_message(frames: Frames) -> None:
    """Drop a message: the link has no owner yet."""


def ignore_closed(reason: str) -> None:
    """Drop the news: the link has no owner yet."""


class MemoryLink:
    """One end of a connection between two cores of one process and loop."""

    ordered = True

    def __init__(self, loop: Loop, peer: str) -> None:
        self._loop = loop
        self.peer = peer
        self.on_message: Callable[[Frames], None] = ignore_message
        self.on_closed: Callable[[str], None] = ignore_closed
        self._other: MemoryLink | None = None

    def send(self, frames: Sequence[Any]) -> None:
        """Hand the message over in the loop's next posted calls."""
        other = self._other
        if other is not None:
            taken = list(frames)
            self._loop.post(lambda: other.on_message(taken))

    def backlog(self) -> int:
        """Return 0: nothing waits in between."""
        return 0

    def close(self) -> None:
        """Close both ends; the other is told."""
        other, self._other = self._other, None
        if other is not None and other._other is not None:  # noqa: SLF001 - the two ends are one object in two halves
            other._other = None  # noqa: SLF001
            self._loop.post(lambda: other.on_closed("the other end was closed"))

    @classmethod
    def pair(cls, loop: Loop) -> tuple[MemoryLink, MemoryLink]:
        """Return two connected ends."""
        left, right = cls(loop, "memory"), cls(loop, "memory")
        left._other, right._other = right, left
        return left, right
