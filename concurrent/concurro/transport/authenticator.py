"""Who is let in over TCP: the answer to every handshake.

    peer --CURVE handshake--> I/O thread of zmq --inproc request--> Authenticator --> find
                                                <-- 200 and its key, or 400 -----

Lives in the node's own loop: it cannot die while the node works. Nobody gets in without its
answer, since the listener demands a domain (`ZAP_ENFORCE_DOMAIN`) before it binds.

Source: ZeroMQ RFC 27 (ZAP), RFC 26 (CurveZMQ).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import zmq
from zmq.utils import z85

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.transport.keys import KnownPeer, PeerKey
    from concurro.transport.keys_ring import Keyring
    from concurro.transport.loop import Loop

log = logging.getLogger("concurro.keys")

ENDPOINT = "inproc://zeromq.zap.01"
DOMAIN = b"concurro"
ACCEPTED, REFUSED, BROKEN = b"200", b"400", b"500"

HANDSHAKE_LIMIT = 10_000
"""After so long without a handshake a connection is dropped [ms]."""

_REQUEST_PARTS = 8
_TELL_PERIOD = 1.0


class Authenticator:
    """Answers handshakes of one zmq context. Loop thread only.

    Args:
        loop: Where it lives.
        context: Of the listener.
        find: Says whose a public key is; None keeps it out.

    Attributes:
        on_dead: Called once with a reason when it cannot go on: nobody gets in from then on.
    """

    def __init__(self, loop: Loop, context: zmq.Context[Any], find: Callable[[str], KnownPeer | None]) -> None:
        self.on_dead: Callable[[str], None] = lambda reason: None  # noqa: ARG005
        self._loop = loop
        self._find = find
        self._socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(ENDPOINT)
        self._fd = int(self._socket.FD)
        self._refusals = 0
        self._told_at = loop.now() - _TELL_PERIOD
        self._closed = False
        loop.watch(self._fd, self._drain)

    def close(self) -> None:
        """Answer nobody any more. Idempotent."""
        if not self._closed:
            self._closed = True
            self._loop.unwatch(self._fd)
            self._socket.close(0)

    def check(self) -> None:
        """Notice its own death."""
        if not self._closed and self._socket.closed:
            self._die("its socket was closed")

    def _drain(self) -> None:
        # Until nothing is left: the descriptor only tells of changes.
        while not self._closed:
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            except zmq.ZMQError as error:
                self._die(str(error.strerror))
                return
            self._answer(parts)

    def _answer(self, parts: list[bytes]) -> None:
        if len(parts) < _REQUEST_PARTS:
            return  # no answer is a refusal as well
        route, _, version, request, domain, address, _, mechanism, *credentials = parts
        status, user = REFUSED, b""
        try:
            if domain == DOMAIN and mechanism == b"CURVE" and len(credentials) == 1:
                public = z85.encode(credentials[0])
                known = self._find(public.decode())
                if known is not None:
                    status, user = ACCEPTED, public
        except Exception:  # whatever goes wrong here, nobody gets in by it
            log.exception("a handshake could not be judged, and is refused")
            status, user = BROKEN, b""
        if status != ACCEPTED:
            self._tell(address.decode(errors="replace"))
        try:
            self._socket.send_multipart([route, b"", version, request, status, b"", user, b""], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            log.debug("an answer was not wanted any more: %s", error)

    def _tell(self, address: str) -> None:
        """Tell of refusals, as often as somebody can read."""
        self._refusals += 1
        now = self._loop.now()
        if now - self._told_at >= _TELL_PERIOD:
            times = f" ({self._refusals} times since the last such line)" if self._refusals > 1 else ""
            log.warning("refused somebody at %s: nobody here knows that key%s", address, times)
            self._refusals, self._told_at = 0, now

    def _die(self, reason: str) -> None:
        self.close()
        self.on_dead(f"the authenticator failed ({reason}), and nobody can be let in")


def demand_keys(listening: zmq.Socket[bytes], keyring: Keyring) -> None:
    """Let a socket speak with peers of known keys only; before it binds.

    After a bind these options do nothing, and without a domain everybody would get in as soon as
    nobody answers.
    """
    listening.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
    listening.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    listening.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_LIMIT)
    listening.curve_server = True
    listening.curve_publickey = keyring.pair.public.encode()
    listening.curve_secretkey = keyring.pair.secret.encode()


def use_key(dialling: zmq.Socket[bytes], key: PeerKey) -> None:
    """Let a socket speak with one master only; before it connects."""
    dialling.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_LIMIT)
    dialling.curve_publickey = key.pair.public.encode()
    dialling.curve_secretkey = key.pair.secret.encode()
    dialling.curve_serverkey = key.master.encode()
