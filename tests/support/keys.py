"""Keys for tests: a ring in memory, and strangers who speak zmq themselves."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import zmq

from concurro.transport.keys import KnownPeer, PeerKey, new_pair

if TYPE_CHECKING:
    from collections.abc import Iterator


class MemoryRing:
    """A keyring without files.

    Attributes:
        pair: The master's.
        known: Whom it lets in, by public key.
    """

    def __init__(self) -> None:
        self.pair = new_pair()
        self.known: dict[str, KnownPeer] = {}
        self._changed = False

    def grant(self, role: str, name: str) -> PeerKey:
        """Let somebody in; return the key."""
        key = PeerKey(name, role, new_pair(), self.pair.public, place="memory")
        self.known[key.pair.public] = key.known
        self._changed = True
        return key

    def revoke(self, key: PeerKey) -> None:
        """Let somebody in no more."""
        del self.known[key.pair.public]
        self._changed = True

    def find(self, public: str) -> KnownPeer | None:
        """Return whose key that is."""
        return self.known.get(public)

    def refresh(self) -> bool:
        """Return whether something changed."""
        changed, self._changed = self._changed, False
        return changed

    def opened(self, host: str, port: int) -> None:
        """Do nothing."""

    def closed(self) -> None:
        """Do nothing."""


@contextmanager
def dealer_with(
    key: PeerKey | None, port: int, *, linger: int = 0, routing_id: bytes = b""
) -> Iterator[zmq.Socket[bytes]]:
    """Give a DEALER that dials a port of this machine; without a key it uses no keys at all."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = linger
        if routing_id:
            dealer.routing_id = routing_id
        if key is not None:
            dealer.curve_publickey = key.pair.public.encode()
            dealer.curve_secretkey = key.pair.secret.encode()
            dealer.curve_serverkey = key.master.encode()
        dealer.connect(f"tcp://127.0.0.1:{port}")
        yield dealer


def say_and_leave(key: PeerKey, port: int, text: bytes) -> threading.Thread:
    """Say something in a thread, which ends when that was sent."""

    def say() -> None:
        with dealer_with(key, port, linger=10_000) as dealer:
            dealer.send(text)

    thread = threading.Thread(target=say)
    thread.start()
    return thread
