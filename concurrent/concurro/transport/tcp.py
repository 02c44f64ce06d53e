"""Links over TCP: zmq, ROUTER at the master, DEALER elsewhere.

The routing id that ROUTER assigns names a connection, nothing more: who a peer is, it says
in HELLO. Monitor events tell when a connection ends; zmq itself would keep silent.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from concurro.errors import AddressError
from concurro.transport.link import Frames, ignore_closed, ignore_message
from concurro.wire.messages import MESSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.transport.loop import Loop

log = logging.getLogger(__name__)

_HIGH_WATER = 1000
_DRAIN_LIMIT = 1000
_GONE_EVENTS = zmq.Event.DISCONNECTED
_FAILED_EVENTS = (
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_AUTH
)


class _Socket:
    """A zmq socket in a Loop: reads until empty, whatever its descriptor says."""

    def __init__(
        self, loop: Loop, kind: int, on_frames: Callable[[Any], None], on_event: Callable[[Any], None]
    ) -> None:
        self._loop = loop
        self.context = zmq.Context(io_threads=1)
        self.zmq: zmq.Socket[bytes] = self.context.socket(kind)
        self.zmq.linger = 200
        self.zmq.maxmsgsize = MESSAGE_LIMIT
        self.zmq.sndhwm = self.zmq.rcvhwm = _HIGH_WATER
        self.zmq.ipv6 = False
        self._on_frames = on_frames
        self._on_event = on_event
        self._monitor = self.zmq.get_monitor_socket(
            zmq.Event.CONNECTED | zmq.Event.HANDSHAKE_SUCCEEDED | _GONE_EVENTS | _FAILED_EVENTS
        )
        self._fd = int(self.zmq.FD)
        self._monitor_fd = int(self._monitor.FD)
        self.closed = False

    def attach(self) -> None:
        """Start to read; after bind or connect."""
        self._loop.watch(self._fd, self._drain)
        self._loop.watch(self._monitor_fd, self.drain_events)
        self._loop.on_flush(self._look_again)

    def close(self) -> None:
        """Close socket and context; what was sent has a moment to leave.

        Idempotent.
        """
        if self.closed:
            return
        self.closed = True
        self._loop.off_flush(self._look_again)
        self._loop.unwatch(self._fd)
        self._loop.unwatch(self._monitor_fd)
        self.zmq.disable_monitor()
        self._monitor.close(0)
        self.zmq.close()
        self.context.term()

    def _drain(self) -> None:
        for _ in range(_DRAIN_LIMIT):
            if self.closed:
                return
            try:
                frames = self.zmq.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._on_frames(frames)

    def drain_events(self) -> None:
        """Report every monitor event that is there."""
        while not self.closed:
            try:
                event = recv_monitor_message(self._monitor, zmq.NOBLOCK)
            except zmq.Again:
                return
            self._on_event(event)

    def _look_again(self) -> None:
        """Post another turn when something is readable.

        The descriptor only tells of changes.
        """
        if self.closed:
            return
        if int(self.zmq.EVENTS) & zmq.POLLIN:
            self._loop.soon(self._drain)
        if int(self._monitor.EVENTS) & zmq.POLLIN:
            self._loop.soon(self.drain_events)


class TcpPeerLink:
    """The master's end of one TCP connection."""

    ordered = False

    def __init__(self, listener: TcpListener, routing_id: bytes, descriptor: int) -> None:
        self.peer = "tcp"
        self.on_message: Callable[[Frames], None] = ignore_message
        self.on_closed: Callable[[str], None] = ignore_closed
        self.routing_id = routing_id
        self.descriptor = descriptor
        self._listener = listener
        self.queue: deque[list[Any]] = deque()
        self._backlog = 0
        self.closed = False

    def send(self, frames: Sequence[Any]) -> None:
        """Queue a message; it leaves with the loop's next flush."""
        if not self.closed:
            self.queue.append(list(frames))
            self._backlog += sum(memoryview(frame).nbytes for frame in frames)
            self._listener.dirty.add(self)

    def backlog(self) -> int:
        """Return the bytes that zmq did not take yet [B]."""
        return self._backlog

    def close(self) -> None:
        """Send what zmq takes, and forget the connection. Idempotent."""
        if not self.closed:
            self.flush()
            self.closed = True
            self._listener.forget(self)

    def lost(self, reason: str) -> None:
        """Tell the owner that the connection ended."""
        if not self.closed:
            self.closed = True
            self.queue.clear()
            self._backlog = 0
            self._listener.forget(self)
            self.on_closed(reason)

    def flush(self) -> bool:
        """Give queued messages to zmq; return whether all were taken."""
        while self.queue:
            frames = self.queue[0]
            try:
                self._listener.router.send_multipart([self.routing_id, *frames], zmq.NOBLOCK, copy=True)
            except zmq.Again:
                return False
            except zmq.ZMQError as error:
                if error.errno == errno.EHOSTUNREACH:
                    self.queue.clear()
                    break
                raise
            self.queue.popleft()
            self._backlog -= sum(memoryview(frame).nbytes for frame in frames)
        self._backlog = 0
        return True


class TcpListener:
    """Listens on a TCP address; gives a link per connection."""

    def __init__(self, loop: Loop, host: str, port: int, on_link: Callable[[TcpPeerLink], None]) -> None:
        """Bind and listen.

        Raises:
            AddressError: The address is taken or not ours.
        """
        self._loop = loop
        self._on_link = on_link
        self._links: dict[bytes, TcpPeerLink] = {}
        self.dirty: set[TcpPeerLink] = set()
        self._socket = _Socket(loop, zmq.ROUTER, self._frames, self._event)
        self.router = self._socket.zmq
        self.router.router_mandatory = True
        try:
            self.router.bind(f"tcp://{host}:{port}")
        except zmq.ZMQError as error:
            self._socket.attach()
            self._socket.close()
            message = f"cannot listen on tcp://{host}:{port}: {error.strerror}"
            if error.errno == errno.EADDRINUSE:
                message += "; another process listens there already"
            raise AddressError(message) from error
        endpoint: bytes = self.router.getsockopt(zmq.LAST_ENDPOINT)  # type: ignore[assignment]
        self.port = int(endpoint.rstrip(b"\0").rsplit(b":", 1)[1])
        self._socket.attach()
        loop.on_flush(self._flush)

    def close(self) -> None:
        """Stop listening; every link ends. Idempotent."""
        if self._socket.closed:
            return
        self._flush()
        self._loop.off_flush(self._flush)
        self._socket.close()

    def forget(self, link: TcpPeerLink) -> None:
        """Drop a link that was closed."""
        self.dirty.discard(link)
        if self._links.get(link.routing_id) is link:
            del self._links[link.routing_id]

    def _flush(self) -> None:
        for link in list(self.dirty):
            if link.flush():
                self.dirty.discard(link)
        if self.dirty:
            self._loop.after(0.005, self._loop.wake)

    def _frames(self, parts: list[Any]) -> None:
        routing_id = parts[0].bytes
        link = self._links.get(routing_id)
        if link is None:
            self._socket.drain_events()  # an older connection may have had the same descriptor
            descriptor = -1
            with contextlib.suppress(zmq.ZMQError, IndexError):
                descriptor = int(parts[-1].get(zmq.MessageOption.SRCFD))
            link = self._links[routing_id] = TcpPeerLink(self, routing_id, descriptor)
            self._on_link(link)
        if len(parts) > 1:
            link.on_message([parts[1].bytes, *(part.buffer for part in parts[2:])])

    def _event(self, event: Any) -> None:
        if event["event"] & _GONE_EVENTS:
            for link in [link for link in self._links.values() if link.descriptor == event["value"]]:
                link.lost("the connection ended")


class TcpLink:
    """The dialling end of a TCP connection.

    It does not reconnect: its owner makes another.
    """

    ordered = False

    def __init__(self, loop: Loop, host: str, port: int) -> None:
        self.peer = f"tcp://{host}:{port}"
        self.on_message: Callable[[Frames], None] = ignore_message
        self.on_closed: Callable[[str], None] = ignore_closed
        self._loop = loop
        self._queue: deque[list[Any]] = deque()
        self._backlog = 0
        self.connected = False
        self._socket = _Socket(loop, zmq.DEALER, self._frames, self._event)
        self._socket.zmq.reconnect_ivl = -1
        self._socket.zmq.immediate = True
        bracketed = f"[{host}]" if ":" in host else host
        self._socket.zmq.connect(f"tcp://{bracketed}:{port}")
        self._socket.attach()
        loop.on_flush(self._flush)

    def send(self, frames: Sequence[Any]) -> None:
        """Queue a message; it leaves with the loop's next flush."""
        self._queue.append(list(frames))
        self._backlog += sum(memoryview(frame).nbytes for frame in frames)

    def backlog(self) -> int:
        """Return the bytes that zmq did not take yet [B]."""
        return self._backlog

    def close(self) -> None:
        """Send what zmq takes, and close. Idempotent."""
        if not self._socket.closed:
            self._flush()
            self._loop.off_flush(self._flush)
            self._socket.close()

    def _flush(self) -> None:
        while self._queue:
            try:
                self._socket.zmq.send_multipart(self._queue[0], zmq.NOBLOCK, copy=True)
            except zmq.Again:
                self._loop.after(0.005, self._loop.wake)
                return
            frames = self._queue.popleft()
            self._backlog -= sum(memoryview(frame).nbytes for frame in frames)

    def _frames(self, parts: list[Any]) -> None:
        self.on_message([parts[0].bytes, *(part.buffer for part in parts[1:])])

    def _event(self, event: Any) -> None:
        kind = event["event"]
        if kind & zmq.Event.HANDSHAKE_SUCCEEDED:
            self.connected = True
        elif kind & _FAILED_EVENTS:
            self._lost("something else than a Concurrent master answers there")
        elif kind & _GONE_EVENTS:
            self._lost("the connection ended" if self.connected else "something else answers there, or nothing")

    def _lost(self, reason: str) -> None:
        if not self._socket.closed:
            self._loop.off_flush(self._flush)
            self._socket.close()
            self.on_closed(reason)
