"""A worker for services: a process in which services of plugins live.

    agent                             worker
      | SETUP ----------------------> | environment: what is found on the slave
      | OPEN line, service, who ----> | the service is built at its first line
      | <-------------- OPENED | END  |
      | LINE, frames <--------> LINE  | HostedLine --> the service's methods, in this loop
      |                               | or straight: a socket that came with OPEN
      | service channel <----> what services submit and whom they call (current_application)

It runs no tasks: what happens to a task's process happens to no service. It ends with its agent,
by the end of the channel. Notes are private to this machine and version: frame 0 is a msgpack array
that starts with a `StaffNote`; the frames of the message follow it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import msgpack

from concurro.errors import ComponentError, ConcurroError
from concurro.execution.hosted_service import HostedLine, HostedService
from concurro.execution.inside import ProcessDoor, this_process
from concurro.execution.process_controls import offer_to_kernel
from concurro.execution.service import ServiceLink
from concurro.execution.staff_notes import StaffNote
from concurro.execution.standard_streams import flush_prints
from concurro.execution.tidying import keep_tidy
from concurro.interfaces import IWorkerService, IWorkerServiceHost, implementer
from concurro.kernel import Environment
from concurro.transport.link import ignore_closed
from concurro.transport.loop import Loop, Timer
from concurro.transport.stream import StreamLink
from concurro.wire.blobs import store_with_segments
from concurro.wire.importing import importing
from concurro.wire.lines import LineEnd
from concurro.wire.messages import LineCode
from concurro.wire.parcels import PackedValues, Parcel
from concurro.wire.payload import Packer
from concurro.wire.segments import Descriptor
from concurro.wire.travelling import Travelling

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

log = logging.getLogger("concurro.services")


class ServiceProcess:
    """Ties services to the channel. Loop thread only.

    Args:
        loop: Of the process.
        channel: The stream to the agent.
        service: The way to the master, for what services submit.
    """

    def __init__(self, loop: Loop, channel: socket.socket, service: int) -> None:
        self._loop = loop
        self._link = StreamLink(loop, channel, "agent")
        self._link.on_message = self._message
        self._link.on_closed = self._closed
        self._store = store_with_segments()
        keep_tidy(loop, self._store)
        self._packer = Packer(self._store, Travelling())
        self._values = PackedValues(self._packer)
        self._door = this_process.door = ServiceDoor(service, self._packer)
        self._env: Environment | None = None
        self._fault: BaseException | None = None
        self._services: dict[str, HostedService] = {}
        self._lines: dict[int, HostedLine] = {}
        self._straight_lines: dict[int, StreamLink] = {}

    def _closed(self, reason: str) -> None:
        log.debug("worker for services ends: %s", reason)
        self._loop.stop()

    def _message(self, frames: list[Any]) -> None:
        note, *body = msgpack.unpackb(frames[0])
        if note == StaffNote.LINE:
            line = self._lines.get(body[0])
            if line is not None:
                line.take(frames[1:])
        elif note == StaffNote.OPEN:
            self._open(*body, *frames[1:2])
        elif note == StaffNote.END:
            self._end(body[0], body[2])
        elif note == StaffNote.SETUP:
            self._set_up(*body)

    def _set_up(self, config: bytes, plugins: list[str], address: str) -> None:
        self._door.address = address
        try:
            self._env = Environment(pickle.loads(config), kind="worker", plugins=plugins)  # of our own agent
            self._env.start()
        except BaseException as error:  # noqa: BLE001 - plugins are imported; whoever wants a service is told
            self._fault = error

    def _say(self, note: StaffNote, *body: Any, frames: tuple[Any, ...] = ()) -> None:
        self._link.send([msgpack.packb((note, *body)), *frames])

    def _open(self, number: int, name: str, who: str, descriptor: Any = None) -> None:
        try:
            service = self._service(name)
        except BaseException as error:
            if not isinstance(error, ConcurroError):
                log.warning("service %r cannot be built", name, exc_info=error)
            text = f"service {name!r} on {self._door.address}: {type(error).__name__}: {error}"
            self._say(StaffNote.END, number, LineCode.UNKNOWN.value, text)
            return
        straight = self._straight(number, descriptor)
        send = self._relayed(number) if straight is None else straight.send
        end = LineEnd(send, self._store, self._loop.request_flush)
        end.straight = straight is not None
        line = service.open(end, who, lambda code, text: self._hang_up(number, straight, code, text))
        self._lines[number] = line
        if straight is not None:
            self._straight_lines[number] = straight
            straight.on_message = line.take
        self._say(StaffNote.OPENED, number, straight is not None)

    def _relayed(self, number: int) -> Callable[[list[Any]], None]:
        prefix = msgpack.packb((StaffNote.LINE, number))
        return lambda frames: self._link.send([prefix, *frames])

    def _straight(self, number: int, descriptor: Any) -> StreamLink | None:
        """Return the way to a caller on this machine; None when it sent none."""
        if not isinstance(descriptor, Descriptor) or descriptor.fileno() < 0:
            return None
        try:
            stream = socket.socket(fileno=os.dup(descriptor.fileno()))
        except OSError:  # out of descriptors: it is relayed
            return None
        link = StreamLink(self._loop, stream, f"line {number}")
        link.on_closed = lambda reason: self._cut(number, reason)
        return link

    def _end(self, number: int, reason: str) -> None:
        """Notice that a line has ended, and why."""
        straight = self._straight_lines.pop(number, None)
        if straight is not None:
            straight.on_closed = ignore_closed
            straight.drain()  # what was said before is heard first
            straight.close()  # its caller may be alive, and cut off from the master alone
        line = self._lines.pop(number, None)
        if line is not None:
            line.ended(reason)

    def _cut(self, number: int, reason: str) -> None:
        """Notice that the caller's end of a straight line is gone."""
        self._straight_lines.pop(number, None)
        line = self._lines.pop(number, None)
        if line is not None:
            line.ended(reason)
            self._say(StaffNote.END, number, LineCode.CLOSED.value, reason)

    def _hang_up(self, number: int, straight: StreamLink | None, code: LineCode, text: str) -> None:
        self._lines.pop(number, None)
        self._straight_lines.pop(number, None)
        if straight is not None:
            self._loop.flush_now()
            straight.close()
        self._say(StaffNote.END, number, code.value, text)

    def _service(self, name: str) -> HostedService:
        """Return a service, built at first use.

        Raises:
            ComponentError: There is none, or it cannot be used.
            Exception: Its `setup` raised.
        """
        known = self._services.get(name)
        if known is not None:
            return known
        if self._env is None or self._fault is not None:
            message = f"this worker could not find out what there is: {self._fault!r}"
            raise ComponentError(message) from self._fault
        with importing("a service"):
            component: Any = self._env.get(IWorkerService, name)
        component.setup(ServiceHost(name, self._door.address, self._loop, self._packer))
        known = self._services[name] = HostedService(name, component, self._values, self._loop)
        return known

    def end(self) -> None:
        """Let services stop what they started."""
        if self._env is not None:
            try:
                self._env.stop()
            except Exception:
                log.exception("a service did not stop")


@implementer(IWorkerServiceHost)
class ServiceHost:
    """What a service sees of this process."""

    def __init__(self, name: str, address: str, loop: Loop, packer: Packer) -> None:
        self.log = logging.getLogger(f"concurro.{name}")
        self.address = address
        self._loop = loop
        self._packer = packer

    def now(self) -> float:
        """Return the monotonic time [s]."""
        return self._loop.now()

    def post(self, callback: Callable[[], object]) -> None:
        """Call once in this process's loop. Thread-safe."""
        self._loop.post(lambda: guarded(self.log, callback))

    def after(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call once after `delay` seconds [s]; the answer has `cancel()`."""
        return self._loop.after(delay, lambda: guarded(self.log, callback))

    def pack(self, value: Any) -> Parcel:
        """Return a value, packed once. Thread-safe.

        Raises:
            NotPicklableError: It cannot travel; names the culprit.
        """
        return Parcel.of(value, self._packer)


class ServiceDoor(ProcessDoor):
    """The door of services: what goes through it lives as long as the process.

    Args:
        fd: The service channel.
        packer: Of the process.

    Attributes:
        address: Of this worker.
    """

    def __init__(self, fd: int, packer: Packer) -> None:
        super().__init__(packer, "service")
        self.address = ""
        self._fd = fd

    @property
    def whose(self) -> str:  # type: ignore[override]  # known after SETUP
        """The worker."""
        return f"services on {self.address}"

    def open_link(self, loop: Loop) -> ServiceLink:
        """Begin the session of this process."""
        link = ServiceLink(loop, socket.socket(fileno=os.dup(self._fd)), 1, 0)
        link.passes_descriptors = True  # where the way ends for them, they are left out
        return link


def guarded(logger: logging.Logger, callback: Callable[[], object]) -> None:
    """Call what a service wants called; the loop goes on whatever it raises."""
    try:
        callback()
    except Exception:
        logger.exception("a callback of a service raised")


def _stay(number: int, frame: FrameType | None) -> None:
    """Stay: the end of the agent is ours."""


def run(channel: int, service: int) -> NoReturn:
    """Be a worker for services, in a process that was just started for it.

    Args:
        channel: The stream to the agent.
        service: The way to the master for what services submit.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stay)
    offer_to_kernel()
    for fd in (channel, service):
        os.set_inheritable(fd, False)  # noqa: FBT003 - the standard library's signature
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    loop = Loop()
    process = ServiceProcess(loop, socket.socket(fileno=channel), service)
    loop.run()
    process.end()
    flush_prints()
    sys.stdout.flush()
    with contextlib.suppress(Exception):
        logging.shutdown()
    os._exit(0)


def main() -> None:
    """Run it on the descriptors 3 and 4."""
    run(3, 4)


if __name__ == "__main__":
    main()
