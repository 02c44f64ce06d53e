"""The lines of an application: opened, spoken through, ended.

service(name)         --LINE_OPEN--> master, its service
service(name, worker) --LINE_OPEN--> master --> slave --> worker     relayed, or straight:
                      with one end of a socketpair, where everybody in between is on this machine
                      and of this user, or over a socket at which the slave meets the application, where
                      those two are; the worker takes it, and nobody stands in between any more
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from concurro.errors import ConcurroError, ConfigError, MasterUnreachable, ServiceLostError
from concurro.ids import ServiceWorker
from concurro.nodes.control import Control
from concurro.nodes.service_proxy import CallingEnd
from concurro.transport.meeting import MeetingPoint
from concurro.transport.stream import StreamLink
from concurro.wire.messages import Kind, LineCode, Message
from concurro.wire.parcels import PackedValues, Parcel, PlainValues
from concurro.wire.segments import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.nodes.service_proxy import ServiceProxy
    from concurro.transport.loop import Loop
    from concurro.wire.payload import Packer

    Send = Callable[[Kind, list[Any], tuple[Any, ...]], None]

log = logging.getLogger("concurro.application")

REASON_PATIENCE = 1.0
"""How long the end of a straight line waits for its reason [s]."""

WORKERS_LIMIT = 30.0


class _Line:
    """A line and how its messages travel.

    Attributes:
        end: Our end.
        link: Our end of a socket that was offered, or is used; None when there is none.
        invitation: To meet the slave of the worker on this machine; empty for none.
        opened: Whether the service is there.
    """

    __slots__ = ("end", "invitation", "link", "opened")

    def __init__(self, end: CallingEnd) -> None:
        self.end = end
        self.link: StreamLink | None = None
        self.invitation = ""
        self.opened = False


class ServiceLines:
    """Every line of an application. Loop thread only, but for `proxy`.

    Args:
        control: The application, for futures.
        loop: Its loop.
        packer: Packs and loads values.
        send: Sends to the master.
        passes: Says whether descriptors can be passed to the master now.

    Attributes:
        meets: Whether it meets slaves of this machine.
        guests: What is to be called before the application ends. Any thread.
    """

    def __init__(self, control: Control, loop: Loop, packer: Packer, send: Send, passes: Callable[[], bool]) -> None:
        self._control = control
        self._loop = loop
        self._packer = packer
        self._send = send
        self._passes = passes
        self.meets = True
        self.guests: deque[Callable[[], object]] = deque()
        self._meeting: MeetingPoint | None = None
        self._connected = False
        self._closed: Exception | None = None
        self._numbers = itertools.count(1)
        self._lines: dict[int, _Line] = {}
        self._lock = threading.Lock()
        self._ends: dict[tuple[str, str], CallingEnd] = {}

    def proxy(self, service: str, worker: str) -> ServiceProxy:
        """Return the proxy of a service, one as long as its line lives.

        Thread-safe.
        """
        with self._lock:
            known = self._ends.get((service, worker))
            if known is not None and known.lost is None:
                return known.proxy
            values = PackedValues(self._packer) if worker else PlainValues()
            store = self._packer.blobs if worker else None
            end = CallingEnd(service, worker, self._control, self._loop, values, store, self._close)
            self._ends[service, worker] = end
        self._loop.post(lambda: self._add(end))
        return end.proxy

    def joined(self) -> None:
        """Go on after a connection was made."""
        self._connected = True
        for number, line in self._lines.items():
            self._open(number, line)

    def lost(self, reason: str) -> None:
        """End every line: the session with the master has ended."""
        self._connected = False
        for number in list(self._lines):
            error = MasterUnreachable(f"the connection to the master was lost, calls of services with it: {reason}")
            self._drop(number).fail(error)

    def close(self, error: Exception) -> None:
        """End every line with an error."""
        self._connected = False
        self._closed = error
        for number in list(self._lines):
            self._drop(number).fail(error)
        for end in list(self._ends.values()):  # of lines that were not begun
            end.fail(error)
        if self._meeting is not None:
            self._meeting.close()

    def handle(self, message: Message) -> None:
        """Take LINE, LINE_OPENED or LINE_END of the master."""
        number = message.body[0]
        line = self._lines.get(number)
        if line is None:
            return
        if message.kind == Kind.LINE:
            line.end.take(list(message.frames))
        elif message.kind == Kind.LINE_OPENED:
            self._opened(number, line, straight=message.body[1])
        else:
            if line.link is not None and line.opened:
                line.link.drain()  # what was said before is heard first
            if number in self._lines:
                self._drop(number).ended(*message.body[1:3])

    def _add(self, end: CallingEnd) -> None:
        if self._closed is not None:
            end.fail(self._closed)
            return
        line = _Line(end)
        number = next(self._numbers)
        self._lines[number] = line
        if self._connected:
            self._open(number, line)

    def _open(self, number: int, line: _Line) -> None:
        end = line.end
        frames: tuple[Any, ...] = ()
        if end.worker and self._passes():
            with contextlib.suppress(OSError):  # out of descriptors: it is relayed
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                line.link = StreamLink(self._loop, ours, end.describe())
                frames = (Descriptor(theirs.detach()),)
        if end.worker and self.meets:
            line.invitation = self._invite()
        self._send(Kind.LINE_OPEN, [number, end.service, end.worker, "", line.invitation], frames)

    def _invite(self) -> str:
        """Return an invitation to meet here; empty where nobody can."""
        with contextlib.suppress(OSError):  # not on Linux, or out of descriptors: it is relayed
            if self._meeting is None:
                self._meeting = MeetingPoint()
            return self._meeting.invite()
        return ""

    def _guest_of(self, line: _Line) -> socket.socket | None:
        """Return who came by the invitation of a line; it holds no longer."""
        invitation, line.invitation = line.invitation, ""
        return self._meeting.take(invitation) if self._meeting is not None and invitation else None

    def _opened(self, number: int, line: _Line, *, straight: bool) -> None:
        line.opened = True
        guest = self._guest_of(line)
        if guest is not None:
            if line.link is not None:
                line.link.close()
            line.link = StreamLink(self._loop, guest, line.end.describe())
        link = line.link
        if straight and link is not None:
            link.on_message = line.end.take
            link.on_closed = lambda reason: self._cut(number, reason)
            line.end.opened(link.send, straight=True)
            return
        if straight:
            text = "its worker waits at a socket that could not be taken here; look at the limit of files (ulimit -n)"
            self._send(Kind.LINE_END, [number, LineCode.CLOSED.value, text], ())
            self._drop(number).ended(LineCode.LOST.value, text)
            return
        if link is not None:
            link.close()
            line.link = None
        line.end.opened(lambda frames: self._send(Kind.LINE, [number], tuple(frames)), straight=False)

    def _cut(self, number: int, reason: str) -> None:
        """Notice that a straight line has ended; the master knows why."""

        def end() -> None:
            if number in self._lines:
                self._drop(number).ended(LineCode.LOST.value, f"its worker is gone: {reason}")

        self._loop.after(REASON_PATIENCE, end)

    def _close(self, end: CallingEnd) -> None:
        """End a line from here. Idempotent."""
        for number, line in list(self._lines.items()):
            if line.end is end:
                self._loop.flush_now()
                self._drop(number)
                if self._connected:
                    self._send(Kind.LINE_END, [number, LineCode.CLOSED.value, "its caller closed the line"], ())
        end.fail(ServiceLostError(f"{end.describe()}: the line was closed here", end.service, end.worker))

    def _drop(self, number: int) -> CallingEnd:
        line = self._lines.pop(number)
        end = line.end
        if line.link is not None:
            line.link.close()
        guest = self._guest_of(line)
        if guest is not None:  # of a worker that ended before it said so, or of whom we heard no more
            guest.close()
        with self._lock:
            if self._ends.get((end.service, end.worker)) is end:
                del self._ends[end.service, end.worker]
        return end


class ServiceCaller(Control):
    """An application's way to services. Thread-safe.

    Attributes:
        lines: Its lines; the application makes them.
    """

    lines: ServiceLines
    _packer: Packer

    def connect(self) -> None:
        """Connect to the master."""
        raise NotImplementedError

    def service(self, name: str, worker: str = "") -> ServiceProxy:
        """Return a proxy of a service of the master, or of one in a worker.

        At once: that there is no such service is told by the first call. The line behind the proxy
        keeps the order of calls, and ends with the application.

        Args:
            name: The component's name.
            worker: Address of a worker for services (see `workers`); empty for the master's.

        Raises:
            MasterUnreachable: No master answered.
            ClosedError: The application was closed.
            ConfigError: What is given is no text.
        """
        if not all(isinstance(given, str) for given in (name, worker)):
            message = f"name and worker of a service are texts, got {name!r} and {worker!r}"
            raise ConfigError(message)
        self.connect()
        return self.lines.proxy(name, worker)

    def workers(self) -> list[ServiceWorker]:
        """Return the workers for services; the first who asks has them started.

        Waits until every slave that is here has some, for a few seconds at most.

        Raises:
            MasterUnreachable: No master answered, or not within 30 s.
            WaitInCallbackError: Called in a callback of this application.
        """
        self.refuse_to_wait("workers()")
        answer = self.request("workers", [])
        try:
            listed: list[list[Any]] = answer.result(WORKERS_LIMIT)
        except TimeoutError:
            if answer.done():  # it is what the master answered, or that it is gone
                raise
            message = f"the master did not list its workers for services within {WORKERS_LIMIT:g} s; ask again"
            raise MasterUnreachable(message) from None
        return [ServiceWorker(*entry) for entry in listed]

    def before_end(self, callback: Callable[[], object]) -> None:
        """Call once before it ends, while services still answer.

        To say what was not said yet. It may wait, some seconds at most. In the thread that ends it.
        """
        self.lines.guests.append(callback)  # at once, whoever else does

    def let_guests_end(self) -> None:
        """Let whoever asked for it say what was not said yet. Idempotent."""
        guests = self.lines.guests
        if guests:
            try:
                self.refuse_to_wait("what is to be called before it ends")
            except ConcurroError:  # in the thread that brings answers, nothing would be answered
                guests.clear()
        for _ in range(len(guests)):
            try:
                callback = guests.popleft()
            except IndexError:  # another thread ends it as well
                return
            try:
                callback()
            except Exception:
                log.exception("what was to be called before an application ends raised")

    @property
    def zmq_context(self) -> Any:
        """The zmq context of the way to the master.

        That of the process where it is a path.
        """
        from concurro.transport.tcp import context_of  # noqa: PLC0415 - a path needs no zmq

        peer = getattr(self, "_peer", None)
        return context_of(peer.link if peer is not None else None)

    def pack(self, value: Any) -> Parcel:
        """Return a value, packed once: for arguments of services in workers.

        Raises:
            NotPicklableError: It cannot travel; names the culprit.
        """
        return Parcel.of(value, self._packer)

    def dumps(self, value: Any) -> bytes:
        """Return a value as bytes that hold all of it.

        For what takes no more than bytes: a service of the master, a file. As what is sent to workers,
        classes of `__main__` included; `loads`, of any application, rebuilds it.

        Raises:
            NotPicklableError: It cannot travel; names the culprit.
        """
        return self._packer.dumps_whole(value)

    def carries_code(self, packed: bytes) -> bool:
        """Say whether code travels in what `dumps` packed.

        Classes of scripts do, for example.
        """
        return self._packer.carries_code(packed)

    def loads(self, packed: bytes) -> Any:
        """Return the value that `dumps` packed, another copy each time.

        Loading runs code of users: it may raise anything.
        """
        return self._packer.loads_whole(packed)
