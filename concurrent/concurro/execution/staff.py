"""The agent's side of workers for services.

They are started, watched, spoken to.

    master --HIRE----------------> Staff: as many as tasks run at once; one that ends is replaced
           <-STAFF alive, ended--
           --LINE_OPEN, LINE-----> --StaffNote OPEN, LINE--> worker
           <-LINE_OPENED, LINE_END <------------------------

Nothing of a line is looked at here. A worker that ends, is stopped for too long, or holds too much
takes its lines with it: each caller is told why.
"""

from __future__ import annotations

import itertools
import logging
import pickle
import signal
import socket
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.config import Config
from concurro.config.quantities import format_size
from concurro.errors import NodeStartError, ProtocolError
from concurro.execution.launching import describe_status
from concurro.execution.memory import descendants, is_ending, resident_size, state_of
from concurro.execution.note_fields import check_fields
from concurro.execution.restarts import Restarts
from concurro.execution.service_desk import APPLICATION_MODULE
from concurro.execution.staff_notes import MODULE, StaffNote
from concurro.execution.worker_watch import STATE_PERIOD, STOPPED_LIMIT
from concurro.transport.meeting import come_to
from concurro.transport.stream import StreamLink
from concurro.wire.messages import Kind, LineCode, Message, unpack_values
from concurro.wire.segments import Descriptor
from concurro.wire.shapes import count, flag, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from concurro.execution.launching import Launcher
    from concurro.execution.service_desk import ServiceDesk
    from concurro.transport.loop import Loop, Timer
    from concurro.wire.shapes import Shape

    Send = Callable[[Kind, list[Any], tuple[Any, ...]], None]

log = logging.getLogger(__name__)

FIRST_CHILD = 1 << 30
"""Child ids from here on are of workers for services."""

WELL_AFTER = 1.0
"""A worker that lived for so long shows that they can live here [s]."""

LINE_KINDS = frozenset({Kind.LINE_OPEN, Kind.LINE, Kind.LINE_END, Kind.HIRE})

_FIELDS: Mapping[StaffNote, tuple[Shape, ...]] = {
    StaffNote.OPENED: (count, flag),
    StaffNote.LINE: (count,),
    StaffNote.END: (count, text, text),
}


class StaffWorker:
    """One worker for services. Loop thread only.

    Attributes:
        id: Child id at the launcher.
        hosts_services: It is for services, not for tasks.
        number: What the master calls it on this slave.
        pid: Its process id; 0 before it runs.
        lines: Numbers of its lines.
        service: What its services submit.
        killed: Why the agent killed it; empty when it did not.
        since: When it was started [s].
        stopped_since: Since when it is stopped, as by SIGSTOP [s]; None: it is not.
    """

    hosts_services = True

    def __init__(self, loop: Loop, child_id: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        service, service_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.id = child_id
        self.number = child_id - FIRST_CHILD
        self.pid = 0
        self.lines: set[int] = set()
        self.killed = ""
        self.since = loop.now()
        self.stopped_since: float | None = None
        self.child_fds = [theirs.detach(), service_end.detach()]
        self.link = StreamLink(loop, ours, f"worker {self.number} for services")
        self.service = StreamLink(loop, service, f"worker {self.number} for services")

    def say(self, note: StaffNote, *body: Any, frames: tuple[Any, ...] = ()) -> None:
        """Queue a message to it."""
        self.link.send([msgpack.packb((note, *body)), *frames])

    def close(self) -> None:
        """Release every descriptor. Idempotent."""
        self.link.close()
        self.service.close()


class Staff:
    """The workers for services of one slave. Loop thread only.

    Args:
        loop: The agent's loop.
        send: Sends a message to the master.
        launcher: Forks and kills them.
        desk: Passes on what their services submit.
        size: Says how many there should be.
        settings: Returns config, pickled, and the paths of plugins.
        memory_limit: What one and the processes below it may hold [B]; None for no limit.
    """

    def __init__(  # noqa: PLR0913 - what it stands between
        self,
        loop: Loop,
        send: Send,
        launcher: Launcher,
        desk: ServiceDesk,
        size: Callable[[], int],
        settings: Callable[[], tuple[bytes, list[str]]],
        memory_limit: int | None = None,
    ) -> None:
        self.slave_id = ""
        self._loop = loop
        self._send = send
        self._launcher = launcher
        self._desk = desk
        self._size = size
        self._settings = settings
        self._memory_limit = memory_limit
        self._packed: tuple[bytes, list[str]] | None = None
        self._hired = False
        self._ids = itertools.count(FIRST_CHILD + 1)
        self._workers: dict[int, StaffWorker] = {}
        self._of_line: dict[int, StaffWorker] = {}
        self._ended: list[list[Any]] = []
        self._restarts = Restarts()
        self._timer: Timer | None = None
        self._watch: Timer | None = None

    def handle(self, message: Message) -> None:
        """Take HIRE, LINE_OPEN, LINE or LINE_END of the master."""
        kind, body = message.kind, message.body
        if kind == Kind.LINE:
            worker = self._of_line.get(body[0])
            if worker is not None:
                worker.say(StaffNote.LINE, body[0], frames=message.frames)
        elif kind == Kind.LINE_OPEN:
            self._open(*body[:4], frames=message.frames[:1], invitation=str(body[4]) if len(body) > 4 else "")  # noqa: PLR2004 - newer than the others
        elif kind == Kind.LINE_END:
            worker = self._of_line.pop(body[0], None)
            if worker is not None:
                worker.lines.discard(body[0])
                worker.say(StaffNote.END, *body[:3])
        elif kind == Kind.HIRE:
            self._hire()

    def started(self, child_id: int, pid: int) -> None:
        """Notice that the process of one runs."""
        worker = self._workers.get(child_id)
        if worker is not None:
            worker.pid = pid
            self._tell()

    def ended(self, child_id: int, status: int) -> None:
        """Notice that the process of one ended; what it sent is read first."""
        worker = self._workers.get(child_id)
        if worker is not None:
            worker.link.drain()
            self._bury(worker, f"{describe_status(status)}{worker.killed}")

    def failed(self, child_id: int, reason: str) -> None:
        """Notice that one could not be forked, or is gone with its launcher."""
        worker = self._workers.get(child_id)
        if worker is not None:
            self._bury(worker, reason)

    def launcher_lost(self, reason: str) -> None:
        """Notice that the launcher died, and every worker with it."""
        for child_id in list(self._workers):
            self.failed(child_id, reason)

    def dismiss(self) -> None:
        """End all: the master that hired them is gone, or gave us up.

        Their services, and what calls them, belong to that master's time.
        """
        self._hired = False
        self._ended.clear()
        for worker in self._workers.values():
            self._of_line.clear()
            worker.lines.clear()
            self._kill(worker, ", since its slave lost the master")

    def close(self) -> None:
        """Release every descriptor; the launcher ends the processes. Idempotent."""
        self._hired = False
        for timer in (self._timer, self._watch):
            if timer is not None:
                timer.cancel()
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()
        self._of_line.clear()

    # How

    def _hire(self) -> None:
        if not self._hired:
            self._hired = True
            self._launcher.prepare(MODULE)
            self._launcher.prepare(APPLICATION_MODULE)
        self._fill()
        self._tell()

    def _fill(self) -> None:
        """Start as many as are missing, unless they die at once here."""
        self._timer = None
        if not self._hired:
            return
        now = self._loop.now()
        missing = self._size() - sum(not worker.killed for worker in self._workers.values())
        if missing > 0 and now < self._restarts.at:
            self._timer = self._loop.at(self._restarts.at, self._fill)
            return
        for _ in range(missing):
            self._start()
        if self._watch is None:
            self._watch = self._loop.after(STATE_PERIOD, self._look)

    def _start(self) -> None:
        child_id = next(self._ids)
        try:
            if not self._launcher.running:
                self._launcher.start()
            worker = StaffWorker(self._loop, child_id)
        except (OSError, NodeStartError) as error:
            self._ended.append([child_id - FIRST_CHILD, f"no worker for services can be started: {error}"])
            self._restarts.died(str(error), self._loop.now())
            self._again()
            return
        self._workers[child_id] = worker
        worker.link.on_message = lambda frames: self._take(worker, frames, self._heard)
        worker.service.on_message = lambda frames: self._take(worker, frames, self._submits)
        worker.link.on_closed = lambda reason: self._channel_closed(worker, reason)
        if self._packed is None:
            self._packed = self._settings()
        worker.say(StaffNote.SETUP, *self._packed, f"{self.slave_id}/{worker.number}")
        self._launcher.start_host(child_id, MODULE, worker.child_fds)

    def _channel_closed(self, worker: StaffWorker, reason: str) -> None:
        if not is_ending(worker.pid):  # else its launcher says how it ended
            self._kill(worker, f", since its channel was closed: {reason}")

    def _again(self) -> None:
        if self._hired and self._timer is None:
            self._timer = self._loop.at(max(self._loop.now(), self._restarts.at), self._fill)

    def _bury(self, worker: StaffWorker, how: str) -> None:
        del self._workers[worker.id]
        self._desk.gone(worker)
        worker.close()
        reason = f"worker {self.slave_id}/{worker.number} for services (process {worker.pid}) ended: {how}"
        if worker.lines or self._hired:
            log.log(logging.WARNING if worker.lines else logging.INFO, "%s", reason)
        for line in worker.lines:
            del self._of_line[line]
            self._send(Kind.LINE_END, [line, LineCode.LOST.value, reason], ())
        if self._hired:
            self._ended.append([worker.number, how])
            self._tell()
        if worker.lines or self._loop.now() - worker.since > WELL_AFTER:
            self._restarts.worked()
        elif not worker.killed:
            self._restarts.died(how, self._loop.now())
        self._again()

    def _tell(self) -> None:
        alive = [[worker.number, worker.pid] for worker in self._workers.values() if worker.pid and not worker.killed]
        ended, self._ended = self._ended, []
        self._send(Kind.STAFF, [alive, ended], ())

    def _kill(self, worker: StaffWorker, why: str) -> None:
        if worker.id in self._workers and not worker.killed:
            worker.killed = why
            self._launcher.kill(worker.id, signal.SIGKILL)

    # Lines

    def _open(  # noqa: PLR0913 - as it travels
        self, line: int, service: str, address: str, who: str, *, frames: tuple[Any, ...], invitation: str
    ) -> None:
        slave_id, _, number = address.rpartition("/")
        found = self._workers.get(FIRST_CHILD + int(number)) if number.isdigit() else None
        if found is None or found.killed or slave_id != self.slave_id:
            text = f"worker {address} for services has ended, or never was"
            self._send(Kind.LINE_END, [line, LineCode.LOST.value, text], ())
            return
        self._of_line[line] = found
        found.lines.add(line)
        socket_for_it = tuple(frame for frame in frames if isinstance(frame, Descriptor))
        if not socket_for_it:
            stream = come_to(invitation)
            socket_for_it = (Descriptor(stream.detach()),) if stream is not None else ()
        found.say(StaffNote.OPEN, line, service, who, frames=socket_for_it)

    def _take(self, worker: StaffWorker, frames: list[Any], heard: Callable[[StaffWorker, list[Any]], None]) -> None:
        """Take a message of a worker; nonsense ends it and its services."""
        try:
            heard(worker, frames)
        except Exception as error:
            log.warning("bad message of %d: %s", worker.number, error, exc_info=not isinstance(error, ProtocolError))
            self._kill(worker, f", since it sent what no worker sends: {error}")

    def _submits(self, worker: StaffWorker, frames: list[Any]) -> None:
        self._desk.take(worker, frames)

    def _heard(self, worker: StaffWorker, frames: list[Any]) -> None:
        note, *body = unpack_values(frames[0])
        check_fields("a worker for services", _FIELDS, note, body)
        if body[0] not in worker.lines:
            return  # said before it heard that the line has ended
        if note == StaffNote.LINE:
            self._send(Kind.LINE, [body[0]], tuple(frames[1:]))
        elif note == StaffNote.OPENED:
            self._send(Kind.LINE_OPENED, body, ())
        else:
            worker.lines.discard(body[0])
            del self._of_line[body[0]]
            self._send(Kind.LINE_END, body, ())

    # Whether they run

    def _look(self) -> None:
        self._watch = self._loop.after(STATE_PERIOD, self._look) if self._workers else None
        now = self._loop.now()
        for worker in self._workers.values():
            if not worker.pid or worker.killed:
                continue
            if state_of(worker.pid) != "T":
                worker.stopped_since = None
            elif worker.stopped_since is None:
                worker.stopped_since = now
            elif now - worker.stopped_since >= STOPPED_LIMIT:
                self._kill(worker, f", since it was stopped for {STOPPED_LIMIT:g} s and nobody let it go on")
            if self._memory_limit is not None:
                self._weigh(worker, self._memory_limit)

    def _weigh(self, worker: StaffWorker, limit: int) -> None:
        size = resident_size(worker.pid) + sum(resident_size(pid) for pid in descendants(worker.pid))
        if size > limit:
            held, most = format_size(size), format_size(limit)
            self._kill(worker, f", since it held {held}, more than the memory limit of {most} per worker")


def default_settings() -> tuple[bytes, list[str]]:
    """Return the settings of an environment without any file."""
    return pickle.dumps(Config.empty()), []
