"""What every carrier offers: a `Link`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Frames = list[Any]


class Link(Protocol):
    """A two-way connection to one peer. Loop thread only.

    Attributes:
        on_message: Called with the frames of each message.
        on_closed: Called once with a reason when the other side is gone, never after `close`.
        ordered: Whether bytes cannot be lost while the link lives (AF_UNIX).
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
