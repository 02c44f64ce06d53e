"""What every carrier offers: a `Link`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from concurro.ids import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Frames = list[Any]


class Identity(NamedTuple):
    """Who is at the other end, proven by its key or by the kernel.

    Attributes:
        name: Of its key; empty for a process of the same user.
        roles: What it may say it is.
        key: Its public key; empty for a process of the same user. Who comes back has the same.
    """

    name: str
    roles: frozenset[Role]
    key: str = ""


SAME_USER = Identity("", frozenset({Role.SLAVE, Role.APPLICATION, Role.ADMIN}))
"""A process of the user who runs the master: it could do anything here without asking."""


class Link(Protocol):
    """A two-way connection to one peer. Loop thread only.

    Attributes:
        on_message: Called with the frames of each message.
        on_closed: Called once with a reason when the other side is gone, never after `close`.
        ordered: Whether bytes cannot be lost while the link lives (AF_UNIX).
        passes_descriptors: Whether a frame may be a `Descriptor`: both ends are on this machine, of one user.
        peer: Who is at the other end, for messages to people.
        identity: Who is at the other end, proven; what the dialling end knows of a master does not matter.
        fault: What ended the link, when that is more than a reason: an `AuthenticationError`.
    """

    on_message: Callable[[Frames], None]
    on_closed: Callable[[str], None]
    ordered: bool
    passes_descriptors: bool
    peer: str
    identity: Identity
    fault: Exception | None

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
