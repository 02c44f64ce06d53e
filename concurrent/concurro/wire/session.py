"""One end of a session: numbers, acknowledgements, resends. Pure.

    pack --> [kind, seq, ack, body] ~~ carrier ~~> accept --> message, None, or an error
             kept until acknowledged               due: delivered
    rebind --> what the other end lacks            lower: dropped, acknowledged again
                                                   higher: dropped, RESEND once

Every message is numbered per direction, but those of a connection: HELLO, WELCOME, REFUSED,
BIND, GOODBYE, RESEND and HEARTBEAT. A heartbeat names the last number that was given, so that
a lost tail shows. An acknowledgement means "in memory", not "durable".

`Session` is for carriers that lose nothing while they live: numbers are an assertion, and
nothing is kept. `LastingSession` outlives its connections.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.wire.messages import Kind, Message, pack_message, unpack_message

if TYPE_CHECKING:
    from collections.abc import Sequence

HEARTBEAT_PERIOD = 2.0
"""How often a peer with nothing to say says so [s]."""

LINK_LIMIT = 5.0
"""After so long without any bytes the dialling end tries another connection [s]."""

SILENCE_LIMIT = 10.0
"""After so long without any bytes a slave is lost [s]."""

ACK_DELAY = 0.1
"""An acknowledgement that found nothing to ride along leaves alone after so long [s]."""

ACK_EVERY = 64
"""So many messages are acknowledged at once."""

KEPT_LIMIT = 64 * 1024 * 1024
"""Bytes kept until they are acknowledged, beyond which nothing should be started [B]."""

ASK_AGAIN = 1.0
"""A hole that is still there is asked for again after so long [s]."""

OWN_STALL = 3.0
"""Who did not look for so long has itself to blame that it heard nothing [s]."""

OF_A_CONNECTION = frozenset(
    {Kind.HELLO, Kind.WELCOME, Kind.REFUSED, Kind.BIND, Kind.GOODBYE, Kind.RESEND, Kind.HEARTBEAT}
)
"""Kinds without a number: they belong to one connection, and are never sent again."""


class Session:
    """Packs and checks messages of a carrier that loses nothing.

    Attributes:
        sent: The last number given.
        received: The last number delivered.
        last_heard: When anything came [s].
        last_sent: When anything was packed [s].
        lasting: Whether it outlives its connections.
        kept_bytes: What is kept until it is acknowledged [B].
    """

    lasting = False
    kept_bytes = 0

    def __init__(self, now: float) -> None:
        self.sent = 0
        self.received = 0
        self.last_heard = now
        self.last_sent = now

    def pack(self, kind: Kind, body: list[Any], now: float, frames: Sequence[Any] = ()) -> list[Any]:
        """Return the frames of the next message."""
        if kind in OF_A_CONNECTION:
            return self._pack_unnumbered(kind, body, now, frames)
        packed = [pack_message(kind, body, self.sent + 1, self.received), *frames]
        self.sent += 1
        self.last_sent = now
        return packed

    def unsend(self) -> None:
        """Take the last number back: the carrier refused its message."""
        self.sent -= 1

    def accept(self, frames: list[Any], now: float) -> Message | None:
        """Return the message, or None for one that only says that the peer lives.

        Raises:
            ProtocolError: It is malformed, or a message before it is missing.
        """
        self.last_heard = now
        message = unpack_message(frames)
        if message.kind in OF_A_CONNECTION:
            return None if message.kind in _FOR_THE_SESSION else message
        if message.seq != self.received + 1:
            text = f"message {message.seq} came where {self.received + 1} was due"
            raise ProtocolError(text)
        self.received = message.seq
        return message

    def may_send(self) -> bool:
        """Say whether there is room for what the other end has not acknowledged."""
        return True

    def acknowledge_at(self) -> float | None:
        """Return when an acknowledgement must leave alone [s]; None: no need."""
        return None

    def heartbeat_due(self, now: float) -> bool:
        """Say whether the peer should hear from us."""
        return now - self.last_sent >= HEARTBEAT_PERIOD

    def silent(self, now: float, limit: float = SILENCE_LIMIT) -> bool:
        """Say whether the peer was silent for too long."""
        return now - self.last_heard > limit

    def take_replies(self, now: float) -> list[list[Any]]:  # noqa: ARG002 - the signature of a lasting one
        """Return what the session itself has to say at once, frames of messages."""
        return []

    def _pack_unnumbered(self, kind: Kind, body: list[Any], now: float, frames: Sequence[Any]) -> list[Any]:
        self.last_sent = now
        return [pack_message(kind, body, self.sent if kind is Kind.HEARTBEAT else 0, self.received), *frames]


class LastingSession(Session):
    """A session that outlives its connections; for a carrier that loses tails.

    Attributes:
        acknowledged: The last of our numbers that the other end has.
        duplicates: Messages that came again.
        holes: Times that a message was missing.
        resent: Messages that were sent again.
    """

    lasting = True

    def __init__(self, now: float, kept_limit: int = KEPT_LIMIT) -> None:
        super().__init__(now)
        self.acknowledged = 0
        self.duplicates = 0
        self.holes = 0
        self.resent = 0
        self._kept: deque[tuple[list[Any], int]] = deque()
        self._kept_limit = kept_limit
        self._told = 0
        self._untold_since = now
        self._tell_now = False
        self._asked_at = -inf
        self._answered_at = -inf
        self._ask = self._answer = False

    def pack(self, kind: Kind, body: list[Any], now: float, frames: Sequence[Any] = ()) -> list[Any]:
        """Return the frames of the next message; they are kept until acknowledged."""
        if kind in OF_A_CONNECTION:
            return self._pack_unnumbered(kind, body, now, frames)
        first = pack_message(kind, body, self.sent + 1, self.received)
        packed = [first, *frames]
        size = len(first)
        for frame in frames:
            size += memoryview(frame).nbytes
        self.sent += 1
        self._kept.append((packed, size))
        self.kept_bytes += size
        self.last_sent = now
        self._told = self.received
        self._tell_now = False
        return packed

    def unsend(self) -> None:
        """Take the last number back: the carrier refused its message."""
        self.sent -= 1
        self.kept_bytes -= self._kept.pop()[1]

    def accept(self, frames: list[Any], now: float) -> Message | None:
        """Return the message if it is the one that is due.

        Call `take_replies` when it is not.

        Raises:
            ProtocolError: It is malformed, or acknowledges what was never sent.
        """
        self.last_heard = now
        message = unpack_message(frames)
        kind, seq, ack = message[:3]
        if kind in OF_A_CONNECTION and kind not in _FOR_THE_SESSION:
            return message
        if ack > self.acknowledged:
            self._forget(ack)
        if kind in OF_A_CONNECTION:
            if kind == Kind.RESEND:
                self._answer = True
            elif seq > self.received:
                self._missed(now)
            return None
        due = self.received + 1
        if seq == due:
            if self._told == self.received:
                self._untold_since = now
            self.received = due
            self._asked_at = -inf
            return message
        if seq > due:
            self._missed(now)
        else:
            self.duplicates += 1
            self._tell_now = True
        return None

    def may_send(self) -> bool:
        """Say whether there is room for what the other end has not acknowledged."""
        return self.kept_bytes < self._kept_limit

    def acknowledge_at(self) -> float | None:
        """Return when an acknowledgement must leave alone [s]; None: no need."""
        if self._tell_now or self.received - self._told >= ACK_EVERY:
            return -inf
        return None if self.received == self._told else self._untold_since + ACK_DELAY

    def take_replies(self, now: float) -> list[list[Any]]:
        """Return what the session itself has to say at once, frames of messages."""
        replies = []
        if self._ask:
            self._ask = False
            replies.append(self.pack(Kind.RESEND, [], now))
        if self._answer:
            self._answer = False
            if now - self._answered_at >= ASK_AGAIN / 2:  # who asks all the time is not answered all the time
                self._answered_at = now
                replies += self._again()
        return replies

    def rebind(self, received: int, now: float) -> list[list[Any]]:
        """Go on over another connection; return what the other end lacks.

        Args:
            received: The last of our numbers that it has.
            now: Monotonic time [s].

        Raises:
            ProtocolError: It has what was never sent.
        """
        if received > self.acknowledged:
            self._forget(received)
        self.last_heard = now
        self._asked_at = self._answered_at = -inf
        self._ask = self._answer = False
        return self._again()

    def _again(self) -> list[list[Any]]:
        self.resent += len(self._kept)
        return [packed for packed, _ in self._kept]

    def _forget(self, ack: int) -> None:
        """Let go of what the other end has.

        Raises:
            ProtocolError: It has what was never sent.
        """
        if ack > self.sent:
            text = f"message {ack} was acknowledged, {self.sent} were sent"
            raise ProtocolError(text)
        kept = self._kept
        for _ in range(ack - self.acknowledged):
            self.kept_bytes -= kept.popleft()[1]
        self.acknowledged = ack

    def _missed(self, now: float) -> None:
        """Ask for what is missing, once; again only if it does not come."""
        if now - self._asked_at >= ASK_AGAIN:
            self._asked_at = now
            self._ask = True
            self.holes += 1

    def _pack_unnumbered(self, kind: Kind, body: list[Any], now: float, frames: Sequence[Any]) -> list[Any]:
        if kind in _FOR_THE_SESSION:
            self._told = self.received
            self._tell_now = False
        return super()._pack_unnumbered(kind, body, now, frames)


class StallWatch:
    """Notices that we ourselves did not look for a while.

    After a stall of our own, what arrived meanwhile is read first; then others are judged.
    """

    def __init__(self, now: float) -> None:
        self._looked = now

    def stalled(self, now: float) -> float:
        """Return how long nobody looked, if that was too long; else 0 [s]."""
        pause, self._looked = now - self._looked, now
        return pause if pause > OWN_STALL else 0.0


_FOR_THE_SESSION = (Kind.HEARTBEAT, Kind.RESEND)
