"""One end of a session: numbers, acknowledgements, silence. Pure.

Every message but heartbeats is numbered per direction. On a carrier that cannot lose
bytes the numbers are only an assertion.
"""

from __future__ import annotations

from typing import Any

from concurro.errors import ProtocolError
from concurro.wire.messages import Kind, Message, pack_message, unpack_message

HEARTBEAT_PERIOD = 2.0
"""How often a peer with nothing to say says so [s]."""

SILENCE_LIMIT = 10.0
"""After so long without any bytes a slave is lost [s]."""


class Session:
    """Packs what goes out, checks what comes in."""

    def __init__(self, now: float) -> None:
        self.sent = 0
        self.received = 0
        self.last_heard = now
        self.last_sent = now

    def pack(self, kind: Kind, body: list[Any], now: float) -> bytes:
        """Return frame 0 of the next message."""
        self.last_sent = now
        if kind is Kind.HEARTBEAT:
            return pack_message(kind, body, 0, self.received)
        self.sent += 1
        return pack_message(kind, body, self.sent, self.received)

    def accept(self, frames: list[Any], now: float) -> Message | None:
        """Return the message, or None for one that only says that the peer lives.

        Raises:
            ProtocolError: It is malformed, or a message before it is missing.
        """
        self.last_heard = now
        message = unpack_message(frames)
        if message.kind == Kind.HEARTBEAT:
            return None
        if message.seq != self.received + 1:
            text = f"message {message.seq} came where {self.received + 1} was due"
            raise ProtocolError(text)
        self.received = message.seq
        return message

    def heartbeat_due(self, now: float) -> bool:
        """Say whether the peer should hear from us."""
        return now - self.last_sent >= HEARTBEAT_PERIOD

    def silent(self, now: float, limit: float = SILENCE_LIMIT) -> bool:
        """Say whether the peer was silent for too long."""
        return now - self.last_heard > limit
