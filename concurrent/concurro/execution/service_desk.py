"""The agent's end of the service channels: frames passed on, slots lent.

    worker == ServiceNote.FRAMES == agent -- TUNNEL [number] + the same frames -- master
             WAITS --> may it lend? --> ANSWER, and WAITS [lease, for what] to the master,
                                        also when that takes longer

A tunnel is one attempt's way to the master. It ends with the attempt, with the worker, with
the slave. The frames are never looked at. When the link to the master is behind, the
channels are read no further: tasks that submit wait, and results do not.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

import msgpack

from concurro.errors import ProtocolError
from concurro.execution.note_fields import check_fields
from concurro.execution.service import ServiceNote
from concurro.wire.messages import Kind, unpack_values
from concurro.wire.segments import Descriptor
from concurro.wire.shapes import count, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from concurro.execution.slave_core import SlaveCore
    from concurro.transport.loop import Loop
    from concurro.transport.stream import StreamLink
    from concurro.wire.messages import Message
    from concurro.wire.shapes import Shape

    Send = Callable[[Kind, list[Any], tuple[Any, ...]], None]

BACKLOG_LIMIT = 4 * 1024 * 1024
"""So much may wait on the way to the master before the channels are read no further [B]."""

LOOK_AGAIN = 0.01
"""How soon a link that was behind is looked at again [s]."""

TELL_AFTER = 0.5
"""When a task waits for so long for a slot to lend, the master is told of its wait [s]."""

APPLICATION_MODULE = "concurro.nodes.nested"
"""What a worker imports when a task asks for its application."""

TEXT_LIMIT = 300
"""Characters of what a task waits for."""

_FIELDS: Mapping[ServiceNote, tuple[Shape, ...]] = {
    ServiceNote.OPEN: (count, count),
    ServiceNote.LEAVE: (count,),
    ServiceNote.WAITS: (count, text),
    ServiceNote.GOES_ON: (count,),
    ServiceNote.FRAMES: (count,),
}


class Speaker(Protocol):
    """A worker, for tasks or for services, as far as it speaks to the master."""

    id: int
    service: StreamLink
    hosts_services: bool


class Tunnel:
    """An attempt's way to the master.

    Attributes:
        number: Of this slave's tunnels.
        session: What the worker calls it.
        lease: The attempt.
        worker: Its worker.
        waits: For what it waits, in words.
        told: Whether the master was told of its wait.
    """

    __slots__ = ("lease", "number", "session", "told", "waits", "worker")

    def __init__(self, number: int, session: int, lease: int, worker: Speaker) -> None:
        self.number = number
        self.session = session
        self.lease = lease
        self.worker = worker
        self.waits = ""
        self.told = False


class ServiceDesk:
    """Passes on what attempts and the master say to each other.

    Loop thread only.

    Args:
        loop: The agent's loop.
        send: Sends a message to the master.
        core: Knows the leases, and who may lend.
        backlog: Says how many bytes wait on the way to the master [B].
        touch: Called before the core learns something.
        prepare: Called once with a module that workers want: the first tunnel is seldom the last.

    Attributes:
        passes: Says whether the way to the master takes descriptors now.
    """

    def __init__(  # noqa: PLR0913 - what it stands between
        self,
        loop: Loop,
        send: Send,
        core: SlaveCore,
        *,
        backlog: Callable[[], int],
        touch: Callable[[], object],
        prepare: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._send = send
        self._core = core
        self._backlog = backlog
        self._touch = touch
        self._prepare: Callable[[str], None] | None = prepare
        self.passes: Callable[[], bool] = _never
        self._numbers = itertools.count(1)
        self._tunnels: dict[int, Tunnel] = {}
        self._of_worker: dict[int, Tunnel] = {}
        self._paused: dict[int, Speaker] = {}
        self._asking: dict[int, Tunnel] = {}
        self._will_tell = False

    def take(self, worker: Speaker, frames: list[Any]) -> None:
        """Take a message of a worker.

        Raises:
            ProtocolError: No worker says that.
        """
        note, *body = unpack_values(frames[0])
        check_service_note(note, body)
        tunnel = self._of_worker.get(worker.id)
        if tunnel is not None and tunnel.session != body[0]:
            tunnel = None  # what was said before its end reached the worker
        if note == ServiceNote.OPEN:
            self._open(worker, *body)
        elif note == ServiceNote.LEAVE:
            if tunnel is not None:
                self._end(tunnel, "the attempt ended")
            self._tell(worker, ServiceNote.LEFT, body[0])
        elif tunnel is None:
            return
        elif note == ServiceNote.FRAMES:
            if frames[-1].__class__ is Descriptor and not self.passes():
                frames.pop()  # a socket that the master cannot get: it is done without
            self._send(Kind.TUNNEL, [tunnel.number], tuple(frames[1:]))
            self._pause_if_behind(worker)
        elif note == ServiceNote.WAITS:
            self._lend(tunnel, body[1][:TEXT_LIMIT])
        elif note == ServiceNote.GOES_ON:
            self._go_on(tunnel)

    def handle(self, message: Message) -> None:
        """Take TUNNEL or TUNNEL_END of the master."""
        tunnel = self._tunnels.get(message.body[0])
        if tunnel is None:
            return
        if message.kind == Kind.TUNNEL:
            packed = msgpack.packb((ServiceNote.FRAMES, tunnel.session))
            tunnel.worker.service.send([packed, *message.frames])
        else:
            self._close(tunnel)
            self._tell(tunnel.worker, ServiceNote.ENDED, tunnel.session, message.body[1])

    def reported(self, worker: Speaker) -> None:
        """Notice results of a worker: a tunnel ends with its attempt.

        Whatever the worker says.
        """
        tunnel = self._of_worker.get(worker.id)
        if tunnel is not None and not self._core.holds(worker.id, tunnel.lease):
            self._end(tunnel, "the attempt ended")

    def gone(self, worker: Speaker) -> None:
        """Notice that a worker has ended."""
        self._paused.pop(worker.id, None)
        tunnel = self._of_worker.get(worker.id)
        if tunnel is not None:
            self._end(tunnel, "its worker ended")

    def wait_answered(self, worker_id: int, *, granted: bool) -> None:
        """Pass on what the core decided about a task that waits."""
        tunnel = self._of_worker.get(worker_id)
        if tunnel is None:
            return
        self._asking.pop(worker_id, None)
        lent, workers = self._core.lent, self._core.workers
        self._tell(tunnel.worker, ServiceNote.ANSWER, tunnel.session, granted, lent, workers)
        if granted:
            self._tell_master(tunnel, f"{tunnel.waits}, its slot is lent")
        elif tunnel.told:
            self._tell_master(tunnel, "")

    def leases(self) -> set[int]:
        """Return the attempts that speak to the master."""
        return {tunnel.lease for tunnel in self._tunnels.values()}

    def abandon(self) -> None:
        """End every tunnel: the master is gone."""
        for tunnel in list(self._tunnels.values()):
            self._close(tunnel)
            self._tell(tunnel.worker, ServiceNote.ENDED, tunnel.session, "the slave lost its master")

    def _open(self, worker: Speaker, session: int, lease: int) -> None:
        known = self._of_worker.get(worker.id)
        if known is not None:
            self._end(known, "the attempt opened another one")
        if worker.hosts_services:
            lease = 0
        elif not self._core.holds(worker.id, lease):
            message = f"lease {lease}, which it does not run, wants to speak to the master"
            raise ProtocolError(message)
        if self._prepare is not None:
            self._prepare(APPLICATION_MODULE)
            self._prepare = None
        tunnel = Tunnel(next(self._numbers), session, lease, worker)
        self._tunnels[tunnel.number] = self._of_worker[worker.id] = tunnel
        self._send(Kind.TUNNEL_OPEN, [tunnel.number, lease], ())

    def _end(self, tunnel: Tunnel, reason: str) -> None:
        self._close(tunnel)
        self._send(Kind.TUNNEL_END, [tunnel.number, reason], ())

    def _close(self, tunnel: Tunnel) -> None:
        self._go_on(tunnel)
        del self._tunnels[tunnel.number]
        del self._of_worker[tunnel.worker.id]

    def _lend(self, tunnel: Tunnel, what: str) -> None:
        tunnel.waits = what
        self._touch()
        self._core.lend(tunnel.worker.id, tunnel.lease)
        self._asking[tunnel.worker.id] = tunnel
        if not self._will_tell:
            self._will_tell = True
            self._loop.after(TELL_AFTER, self._tell_of_asking)

    def _tell_of_asking(self) -> None:
        """Tell the master who waits without lending: that may take long."""
        self._will_tell = False
        asking, self._asking = self._asking, {}
        for tunnel in asking.values():
            self._tell_master(tunnel, f"{tunnel.waits}, and keeps its slot: its slave has lent all that it may")

    def _go_on(self, tunnel: Tunnel) -> None:
        self._touch()  # what it asked for is answered in the next flush
        self._core.end_loan(tunnel.worker.id)
        self._asking.pop(tunnel.worker.id, None)
        if tunnel.told:
            self._tell_master(tunnel, "")

    def _tell_master(self, tunnel: Tunnel, what: str) -> None:
        tunnel.told = bool(what)
        self._send(Kind.WAITS, [tunnel.lease, what], ())

    @staticmethod
    def _tell(worker: Speaker, note: ServiceNote, *body: Any) -> None:
        worker.service.send([msgpack.packb((note, *body))])

    def _pause_if_behind(self, worker: Speaker) -> None:
        if self._backlog() > BACKLOG_LIMIT and worker.id not in self._paused:
            worker.service.pause(True)  # noqa: FBT003 - its only argument
            if not self._paused:
                self._loop.after(LOOK_AGAIN, self._look_again)
            self._paused[worker.id] = worker

    def _look_again(self) -> None:
        if self._backlog() > BACKLOG_LIMIT // 2:
            if self._paused:
                self._loop.after(LOOK_AGAIN, self._look_again)
            return
        paused, self._paused = self._paused, {}
        for worker in paused.values():
            worker.service.pause(False)  # noqa: FBT003 - its only argument


def check_service_note(note: Any, body: list[Any]) -> None:
    """Check a message of a service channel.

    Raises:
        ProtocolError: No worker sends it.
    """
    check_fields("a worker on its service channel", _FIELDS, note, body)


def _never() -> bool:
    """Say no."""
    return False
