"""Links over TCP: zmq with CURVE, ROUTER at the master, DEALER elsewhere.

The routing id that ROUTER assigns names a connection, nothing more: who a peer is, its key
says. Monitor events tell when a connection ends; zmq itself would keep silent. What a
peer sent before its end is read first, then its link is told.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from concurro.errors import AddressError, AuthenticationError
from concurro.transport.authenticator import Authenticator, demand_keys, use_key
from concurro.transport.connections import MOST_CONNECTIONS, Connections, hang_up
from concurro.transport.framing import size_of
from concurro.transport.greeting import speaks_curve
from concurro.transport.link import SAME_USER, Frames, ignore_closed, ignore_message
from concurro.transport.zmq_frames import NO_COPY_FROM, send_frames
from concurro.wire.messages import MESSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.transport.keys import KnownPeer, PeerKey
    from concurro.transport.keys_ring import Keyring
    from concurro.transport.loop import Loop, Timer

log = logging.getLogger(__name__)

_HIGH_WATER = 1000
_BACKLOG = 1024
_DRAIN_LIMIT = 1000
_RETRY_DELAY = 0.005
_KEEPALIVE = (10, 5, 3)
"""Seconds of silence, between probes, and how many of them."""

_NEVER = 24 * 3600 * 1000
_ASSIGNED_ID = struct.Struct(">BI")
_HALF_OF_IDS = 1 << 31
_FAILED_EVENTS = (
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_AUTH
)
_LOOK_PERIOD = 1.0
"""How often the keys that are let in are looked at again [s]."""

_SHORTEST_PERIOD = 0.1
"""They are looked at sooner for a key that is not known, but not for each of many [s]."""

_FAREWELL = 0.5
"""How long a peer that was told goodbye may take to hang up [s]."""

_KEY_REFUSED = 400

# Plain numbers: operators of enum members are calls.
_AT_ONCE = int(zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
_READABLE = int(zmq.POLLIN)


class _Socket:
    """A zmq socket in a Loop: reads until empty, whatever its descriptor says.

    Args:
        loop: Where it lives.
        kind: zmq.ROUTER or zmq.DEALER.
        events: Which monitor events are reported.
        on_frames: Called with each message.
        on_event: Called with each monitor event.
    """

    def __init__(
        self, loop: Loop, kind: int, events: int, on_frames: Callable[[Any], None], on_event: Callable[[Any], None]
    ) -> None:
        self._loop = loop
        self.context = zmq.Context(io_threads=1)
        self.zmq: zmq.Socket[bytes] = self.context.socket(kind)
        self.zmq.linger = 200
        self.zmq.maxmsgsize = MESSAGE_LIMIT
        self.zmq.sndhwm = self.zmq.rcvhwm = _HIGH_WATER
        # A machine that is gone says nothing: the kernel finds out, also where we say nothing either.
        self.zmq.tcp_keepalive = 1
        self.zmq.tcp_keepalive_idle, self.zmq.tcp_keepalive_intvl, self.zmq.tcp_keepalive_cnt = _KEEPALIVE
        self._on_frames = on_frames
        self._on_event = on_event
        self._monitor = self.zmq.get_monitor_socket(events)
        self._fd = int(self.zmq.FD)
        self._monitor_fd = int(self._monitor.FD)
        self._when_drained: list[Callable[[], None]] = []
        self._retry: Timer | None = None
        self._stopped_early = False
        self.closed = False

    def attach(self) -> None:
        """Start to read; after bind or connect."""
        self._loop.watch(self._fd, self._drain)
        self._loop.watch(self._monitor_fd, self.drain_events)
        self._loop.on_flush(self._go_on)
        self._loop.soon(self._drain)  # the descriptors tell nothing before somebody has looked
        self._loop.soon(self.drain_events)

    def close(self) -> None:
        """Close socket and context; what was sent has a moment to leave.

        Idempotent.
        """
        if self.closed:
            return
        self.closed = True
        if self._retry is not None:
            self._retry.cancel()
        self._loop.off_flush(self._go_on)
        self._loop.unwatch(self._fd)
        self._loop.unwatch(self._monitor_fd)
        self.zmq.disable_monitor()
        self._monitor.close(0)
        self.zmq.close()
        self.context.term()

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call once everything that arrived so far was read."""
        self._when_drained.append(callback)
        self._loop.soon(self._drain)

    def try_again_soon(self, flush: Callable[[], None]) -> None:
        """Call `flush` in a moment: zmq did not take everything."""
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self._loop.after(_RETRY_DELAY, flush)

    def _drain(self) -> None:
        if self.closed:
            return
        left = _DRAIN_LIMIT
        frames = self._receive()
        while frames is not None and not self.closed:
            left -= 1
            # zmq is asked before anybody is woken by what came: it lets go of the interpreter each time.
            following = self._receive() if left and self._is_readable() else None
            self._on_frames(frames)
            frames = following
        if left:
            self._drained()
        else:
            self._stopped_early = True

    def _receive(self) -> list[Any] | None:
        """Return the next message; None when none is there."""
        try:
            frame = self.zmq.recv(_AT_ONCE, copy=False)
        except zmq.Again:
            return None
        frames = [frame]
        while frame.more:
            frame = self.zmq.recv(_AT_ONCE, copy=False)
            frames.append(frame)
        return frames

    def _is_readable(self) -> bool:
        return bool(self.zmq.get(_EVENTS) & _READABLE)  # type: ignore[operator]  # an int, of this option

    def _drained(self) -> None:
        if self.closed:
            return
        callbacks, self._when_drained = self._when_drained, []
        for callback in callbacks:
            callback()

    def drain_events(self) -> None:
        """Report every monitor event that is there."""
        while not self.closed:
            try:
                event = recv_monitor_message(self._monitor, zmq.NOBLOCK)
            except zmq.Again:
                return
            self._on_event(event)

    def look_again(self) -> None:
        """Post another turn when something is readable; call it after sending.

        The descriptor only tells of changes, and sending may take the news of one.
        """
        if not self.closed and self._is_readable():
            self._loop.soon(self._drain)

    def _go_on(self) -> None:
        """Read on in the next turn, where this one stopped."""
        if self._stopped_early:
            self._stopped_early = False
            self._loop.soon(self._drain)


class TcpPeerLink:
    """The master's end of one TCP connection.

    Args:
        listener: Whose connection it is.
        routing_id: What the ROUTER calls it.
        descriptor: What monitor events call it; -1 once it is gone.
        known: Whose key it has.
    """

    ordered = False
    passes_descriptors = False

    def __init__(self, listener: TcpListener, routing_id: bytes, descriptor: int, known: KnownPeer) -> None:
        self.peer = f"key {known.name}"
        self.identity = known.identity
        self.fault: Exception | None = None
        self.on_message: Callable[[Frames], None] = ignore_message
        self.on_closed: Callable[[str], None] = ignore_closed
        self.routing_id = routing_id
        self.descriptor = descriptor
        self._listener = listener
        self._queue: deque[tuple[list[Any], int]] = deque()
        self._backlog = 0
        self.closed = False

    def send(self, frames: Sequence[Any]) -> None:
        """Queue a message; it leaves with the loop's next flush.

        Raises:
            ProtocolError: It is over the limits.
        """
        if not self.closed:
            size = size_of(frames)
            self._queue.append((list(frames), size))
            self._backlog += size
            self._listener.make_dirty(self)
            if size >= NO_COPY_FROM:
                self.flush()  # encrypted while the next one is read

    def backlog(self) -> int:
        """Return the bytes that zmq did not take yet [B]."""
        return self._backlog

    def close(self) -> None:
        """Send what zmq takes, and hear nothing more. Idempotent.

        The other end has a moment to take it and to hang up.
        """
        if not self.closed:
            self.flush()
            self.end()
            self._listener.part_with(self)

    def end(self) -> Callable[[str], None]:
        """Become closed; return who was to be told of an end."""
        on_closed = self.on_closed
        self.closed = True
        self.on_message, self.on_closed = ignore_message, ignore_closed
        self._queue.clear()
        self._backlog = 0
        self._listener.dirty.discard(self)
        return on_closed

    def flush(self) -> bool:
        """Give queued messages to zmq; return whether all were taken."""
        while self._queue:
            frames, size = self._queue[0]
            try:
                send_frames(self._listener.router, [self.routing_id, *frames], size)
            except zmq.Again:
                return False
            except zmq.ZMQError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
                self._queue.clear()  # it is gone; the monitor says so
                self._backlog = 0
                return True
            self._queue.popleft()
            self._backlog -= size
        return True


class TcpListener:
    """Listens on a TCP address; gives a link per connection."""

    def __init__(  # noqa: PLR0913 - where, for whom, and who
        self,
        loop: Loop,
        host: str,
        port: int,
        on_link: Callable[[TcpPeerLink], None],
        keyring: Keyring,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        """Bind and listen.

        Raises:
            AddressError: The address is taken or not ours.
        """
        self.on_failed: Callable[[str], None] = lambda reason: None  # noqa: ARG005
        self._loop = loop
        self._on_link = on_link
        self._keyring = keyring
        self._links: dict[bytes, TcpPeerLink] = {}
        self._connections = Connections(most_connections)
        self._look_again_at = 0.0
        self._timer: Timer | None = None
        self.dirty: set[TcpPeerLink] = set()
        events = zmq.Event.ACCEPTED | zmq.Event.DISCONNECTED
        self._socket = _Socket(loop, zmq.ROUTER, events, self._frames, self._event)
        self.router = self._socket.zmq
        self.router.router_mandatory = True
        self.router.backlog = _BACKLOG
        bracketed = f"[{host}]" if ":" in host else host
        self.router.ipv6 = ":" in host
        demand_keys(self.router, keyring)
        self._authenticator = Authenticator(loop, self._socket.context, self._find)
        self._authenticator.on_dead = self._unguarded
        try:
            self.router.bind(f"tcp://{bracketed}:{port}")
        except zmq.ZMQError as error:
            self._authenticator.close()
            self._socket.attach()
            self._socket.close()
            message = f"cannot listen on tcp://{bracketed}:{port}: {os.strerror(error.errno or 0)}"
            if error.errno == errno.EADDRINUSE:
                message += "; another process listens there already"
            raise AddressError(message) from error
        endpoint: bytes = self.router.getsockopt(zmq.LAST_ENDPOINT)  # type: ignore[assignment]
        self.port = int(endpoint.rstrip(b"\0").rsplit(b":", 1)[1])
        self._socket.attach()
        self._look_at_keys()

    def close(self) -> None:
        """Stop listening; every link is closed. Idempotent."""
        if self._socket.closed:
            return
        self._flush()
        if self._timer is not None:
            self._timer.cancel()
        self._authenticator.close()
        self._socket.close()
        for link in self._links.values():
            link.end()
        self._links.clear()

    def make_dirty(self, link: TcpPeerLink) -> None:
        """Flush a link at the end of this turn."""
        if not self.dirty:
            self._loop.request_flush(self._flush)
        self.dirty.add(link)

    def _unguarded(self, reason: str) -> None:
        """Close: nobody could be let in any more."""
        log.error("%s; the listener closes", reason)
        links = list(self._links.values())
        on_closed = [link.end() for link in links]
        self.close()
        for tell in on_closed:
            tell(reason)
        self.on_failed(reason)

    def _look_at_keys(self) -> None:
        """Drop the connections of keys that are let in no more."""
        self._authenticator.check()
        if self._socket.closed:
            return
        self._refresh()
        self._timer = self._loop.after(_LOOK_PERIOD, self._look_at_keys)

    def _find(self, public: str) -> KnownPeer | None:
        """Return whose key that is; one that was added this moment is known too."""
        known = self._keyring.find(public)
        if known is None and self._loop.now() >= self._look_again_at:
            self._look_again_at = self._loop.now() + _SHORTEST_PERIOD
            self._refresh()
            known = self._keyring.find(public)
        return known

    def _refresh(self) -> None:
        if self._keyring.refresh():
            for link in [link for link in self._links.values() if self._keyring.find(link.identity.key) is None]:
                self._drop(link)

    def _drop(self, link: TcpPeerLink) -> None:
        """End a connection whose key was revoked, whatever it still has to say."""
        reason = "its key was revoked"
        link.fault = AuthenticationError(f"{link.peer}: {reason}", "key")
        self._hang_up(link)
        self._links.pop(link.routing_id, None)
        if not link.closed:
            link.end()(reason)

    def part_with(self, link: TcpPeerLink) -> None:
        """Hang up on a peer soon, if it does not itself."""
        self._loop.after(_FAREWELL, lambda: self._hang_up(link))

    def _hang_up(self, link: TcpPeerLink) -> None:
        if not self._socket.closed:
            self._socket.drain_events()  # its descriptor may be another's already
            if link.descriptor in self._connections:
                hang_up(link.descriptor)

    def _flush(self) -> None:
        if self._socket.closed:
            return
        for link in list(self.dirty):
            if link.flush():
                self.dirty.discard(link)
        self._socket.look_again()
        if self.dirty:
            self._socket.try_again_soon(self._flush)

    def _frames(self, parts: list[Any]) -> None:
        routing_id = parts[0].bytes
        link = self._links.get(routing_id) or self._admit(routing_id, parts[-1])
        if link is not None and len(parts) > 1:
            link.on_message([parts[1].bytes, *(part.buffer for part in parts[2:])])

    def _admit(self, routing_id: bytes, frame: Any) -> TcpPeerLink | None:
        """Make a link for a connection that was not heard of before."""
        if len(routing_id) != _ASSIGNED_ID.size or routing_id[0] != 0:
            log.debug("dropped a message of a peer that chose its own routing id")
            return None
        self._socket.drain_events()  # an older connection may have had the same descriptor
        descriptor, public = -1, ""
        with contextlib.suppress(zmq.ZMQError):
            descriptor = int(frame.get(zmq.MessageOption.SRCFD))
            public = str(frame.get("User-Id"))
        known = self._keyring.find(public)
        if known is None:  # its key was revoked since the handshake
            if descriptor in self._connections:
                hang_up(descriptor)
            return None
        self._connections.heard(descriptor)
        link = self._links[routing_id] = TcpPeerLink(self, routing_id, descriptor, known)
        self._on_link(link)
        twin = next((other for other in self._links.values() if other.descriptor == descriptor and other != link), None)
        if twin is not None:
            self._gone(twin if _is_newer(routing_id, twin.routing_id) else link)
        elif descriptor not in self._connections:
            self._gone(link)
        return link

    def _event(self, event: Any) -> None:
        descriptor = event["value"]
        if event["event"] & zmq.Event.ACCEPTED:
            self._connections.opened(descriptor)
            return
        self._connections.ended(descriptor)
        for link in [link for link in self._links.values() if link.descriptor == descriptor]:
            self._gone(link)

    def _gone(self, link: TcpPeerLink) -> None:
        """Tell a link of its end, once all that it sent was read."""
        link.descriptor = -1  # from now on it may be another's
        self._socket.when_drained(lambda: self._lost(link))

    def _lost(self, link: TcpPeerLink) -> None:
        self._links.pop(link.routing_id, None)
        if not link.closed:
            link.end()("the connection ended")


def _is_newer(routing_id: bytes, other: bytes) -> bool:
    """Say which of two connections came later: ROUTER counts them."""
    number, older = _ASSIGNED_ID.unpack(routing_id)[1], _ASSIGNED_ID.unpack(other)[1]
    return bool((number - older) % (2 * _HALF_OF_IDS) < _HALF_OF_IDS)


class TcpLink:
    """The dialling end of a TCP connection.

    It does not reconnect: its owner makes another.
    """

    ordered = False
    passes_descriptors = False
    identity = SAME_USER

    def __init__(self, loop: Loop, host: str, port: int, key: PeerKey) -> None:
        self.peer = f"tcp://{host}:{port}"
        self.fault: Exception | None = None
        self._key = key
        self._address = (host, port)
        self.on_message: Callable[[Frames], None] = ignore_message
        self.on_closed: Callable[[str], None] = ignore_closed
        self._loop = loop
        self._queue: deque[tuple[list[Any], int]] = deque()
        self._backlog = 0
        self.connected = False
        # CLOSED comes when connecting failed, DISCONNECTED after it did not.
        events = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.CLOSED | zmq.Event.DISCONNECTED | _FAILED_EVENTS
        self._socket = _Socket(loop, zmq.DEALER, events, self._frames, self._event)
        # -1, and `immediate` too, would drop what arrived and was not read when the connection ends.
        self._socket.zmq.reconnect_ivl = _NEVER
        self._socket.zmq.ipv6 = ":" in host
        use_key(self._socket.zmq, key)
        bracketed = f"[{host}]" if ":" in host else host
        self._socket.zmq.connect(f"tcp://{bracketed}:{port}")
        self._socket.attach()

    def send(self, frames: Sequence[Any]) -> None:
        """Queue a message; it leaves with the loop's next flush.

        Raises:
            ProtocolError: It is over the limits.
        """
        if not self._socket.closed:
            size = size_of(frames)
            if not self._queue:
                self._loop.request_flush(self._flush)
            self._queue.append((list(frames), size))
            self._backlog += size
            if size >= NO_COPY_FROM:
                self._send_queued()  # encrypted while the next one is read

    def backlog(self) -> int:
        """Return the bytes that zmq did not take yet [B]."""
        return self._backlog

    def close(self) -> None:
        """Send what zmq takes, and close. Idempotent."""
        if not self._socket.closed:
            self._flush()
            self._end()

    def _end(self) -> Callable[[str], None]:
        on_closed = self.on_closed
        self.on_message, self.on_closed = ignore_message, ignore_closed
        self._queue.clear()
        self._backlog = 0
        self._socket.close()
        return on_closed

    def _flush(self) -> None:
        if not self._send_queued():
            self._socket.try_again_soon(self._flush)
        self._socket.look_again()

    def _send_queued(self) -> bool:
        """Give queued messages to zmq; return whether all were taken."""
        while self._queue and not self._socket.closed:
            frames, size = self._queue[0]
            try:
                send_frames(self._socket.zmq, frames, size)
            except zmq.Again:
                return False
            self._queue.popleft()
            self._backlog -= size
        return True

    def _frames(self, parts: list[Any]) -> None:
        self.on_message([parts[0].bytes, *(part.buffer for part in parts[1:])])

    def _event(self, event: Any) -> None:
        kind = event["event"]
        if kind & zmq.Event.HANDSHAKE_SUCCEEDED:
            self.connected = True
        elif kind & zmq.Event.HANDSHAKE_FAILED_AUTH and event["value"] == _KEY_REFUSED:
            self._refused()
        elif kind & zmq.Event.HANDSHAKE_FAILED_NO_DETAIL and speaks_curve(*self._address):
            self._not_our_master()
        elif kind & _FAILED_EVENTS:
            self._lost("something else than a Concurrent master answers there")
        elif kind & zmq.Event.CLOSED:
            self._lost("nobody listens there")
        elif self.connected:
            self._socket.when_drained(lambda: self._lost("the connection ended"))
        else:
            self._lost("something else answers there, or nothing")

    def _refused(self) -> None:
        key = self._key
        reason = (
            f"the key {key.name} ({key.role}) of {key.place} is not let in: it was revoked, or is another master's; "
            f"see there: concurrent keys list"
        )
        self.fault = AuthenticationError(f"the master at {self.peer} refused: {reason}", "key")
        self._lost(reason)

    def _not_our_master(self) -> None:
        reason = f"it has not the key that {self._key.place} names: the file is another master's, or stale"
        self.fault = AuthenticationError(f"no way to the master at {self.peer}: {reason}", "master")
        self._lost(reason)

    def _lost(self, reason: str) -> None:
        if not self._socket.closed:
            self._end()(reason)


def context_of(link: object) -> zmq.Context[Any]:
    """Return the zmq context of a link.

    That of the process for one that has none.
    """
    return link._socket.context if isinstance(link, TcpLink) else zmq.Context.instance()  # noqa: SLF001 - its own class's neighbour
