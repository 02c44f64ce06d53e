"""The slave agent: the core tied to workers, launcher and master.

    master <--- send / handle ---> SlaveAgent (in somebody's loop)
                                     | core: events in, commands out, once per turn of the loop
                                     | launcher: forks, reports the dead
                                     +-- stream, tokens, output -- worker, worker, ...

It runs in the loop of a slave node, and in the loop of a standalone master: it neither owns
the loop, nor blocks, nor is alone in the process.
"""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from concurro.errors import NodeStartError, ProtocolError
from concurro.execution.launching import Launcher, Nursery, describe_status
from concurro.execution.memory import KernelKills, explain_kill, is_ending
from concurro.execution.native_trace import FATAL
from concurro.execution.output_desk import OutputDesk
from concurro.execution.processors import usable_processors
from concurro.execution.service_desk import ServiceDesk
from concurro.execution.slave_core import SlaveCore
from concurro.execution.slave_records import (
    Drained,
    Fetch,
    Forget,
    KillWorker,
    Nudge,
    PostChunk,
    Release,
    StartWorker,
    StateChanged,
    StopWorker,
    TakeTokens,
    Tell,
    WaitAnswered,
)
from concurro.execution.staff import FIRST_CHILD, LINE_KINDS, Staff, default_settings
from concurro.execution.worker import NUDGE_SIGNAL, Note
from concurro.execution.worker_blobs import WorkerBlobs
from concurro.execution.worker_link import WorkerLink
from concurro.execution.worker_notes import check_note
from concurro.execution.worker_watch import WorkerWatch
from concurro.ids import BlobRef
from concurro.wire.blobs import BlobStore, store_with_segments
from concurro.wire.messages import Kind, Message, unpack_values
from concurro.wire.transfer import BlobTransfer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.execution.launcher_process import LauncherProcess
    from concurro.execution.slave_records import Command
    from concurro.transport.loop import Loop, Timer

    Send = Callable[[Kind, list[Any], tuple[Any, ...]], None]
    Heard = Callable[[WorkerLink, list[Any]], None]

log = logging.getLogger(__name__)

NURSERY_CHILD = 1
"""Child id of the first nursery at the launcher of the node."""

_TUNNEL_KINDS = frozenset({Kind.TUNNEL, Kind.TUNNEL_END})
_BLOB_KINDS = frozenset({Kind.BLOB_GET, Kind.BLOB_CHUNK, Kind.BLOB_MISSING, Kind.BLOB_MAP, Kind.BLOB_MAPPED})


class SlaveAgent:
    """Runs the tasks that a master leases to this machine. Loop thread only.

    Args:
        loop: The loop of the node.
        send: Sends a message to the master: kind, body, further frames.
        workers: How many tasks run at once; 0 for one per usable processor.
        name: The slave's id, as far as it is known; see `set_slave_id`.
        resources: What tasks may require.
        launcher: A running launcher, which forks a nursery for the workers; None for an own one.
        process: What an own launcher is; None executes one.
        blobs: Where blobs are kept; None for an own store.
        backlog: Says how many bytes wait on the way to the master [B].
        memory_limit: What a worker and the processes below it may hold [B]; None for no limit.
        devices: Names of what the resource `gpu` stands for.
        settings: Returns what a worker for services is told: config, pickled, and paths of plugins.
    """

    def __init__(  # noqa: PLR0913 - what a slave is made of
        self,
        loop: Loop,
        *,
        send: Send,
        workers: int = 0,
        name: str = "",
        resources: dict[str, float] | None = None,
        launcher: Launcher | None = None,
        process: LauncherProcess | None = None,
        blobs: BlobStore | None = None,
        backlog: Callable[[], int] = lambda: 0,
        memory_limit: int | None = None,
        devices: Sequence[str] = (),
        settings: Callable[[], tuple[bytes, list[str]]] | None = None,
    ) -> None:
        self.blobs = blobs if blobs is not None else store_with_segments()
        self.core = SlaveCore(workers or usable_processors(), devices=devices)
        self._loop = loop
        self._send = send
        self._resources = resources or {}
        self._transfer = BlobTransfer(self.blobs, send, loop.request_flush)
        self._links: dict[int, WorkerLink] = {}
        self._worker_blobs = WorkerBlobs(self.blobs, self._links)
        self._desk = OutputDesk(loop, send, self.core.current_lease, backlog)
        nursery = Nursery(loop, launcher, NURSERY_CHILD) if launcher is not None else None
        self._launcher = nursery or Launcher(loop, process=process)
        prepare = self._launcher.prepare
        self._services = ServiceDesk(loop, send, self.core, backlog=backlog, touch=self._learning, prepare=prepare)
        launcher = self._launcher
        self._staff = Staff(
            loop, send, launcher, self._services, lambda: self.core.workers, settings or default_settings, memory_limit
        )
        self.slave_id = self._staff.slave_id = name
        self._memory_limit = memory_limit
        self._watch = WorkerWatch(loop, self._links, self.core.is_busy, memory_limit)
        self._watch.on_exceeded = self._exceeded
        self._watch.on_stopped = self._kill
        self._watch.on_change = self._tell_state
        self._kernel_kills = KernelKills()
        self._watch.on_look = self._kernel_kills.look
        self._timer: Timer | None = None
        self._on_drained: Callable[[], None] | None = None
        self._state: list[Any] = []
        self._running = False
        self._touched = True
        self._looked_ahead = False
        self._due: float | None = None

    # For the node

    def start(self) -> None:
        """Start the workers.

        Raises:
            NodeStartError: The launcher cannot be executed.
        """
        self._running = True
        self._launcher.on_started = self.worker_started
        self._launcher.on_ended = self.worker_ended
        self._launcher.on_failed = self.worker_failed
        self._launcher.on_lost = self.launcher_lost
        self._launcher.start()
        self.core.start()
        self._loop.on_flush(self.flush)
        self.flush()

    def stop(self) -> None:
        """End every worker at once. Idempotent.

        All are gone when it returns, or, with the launcher of somebody else, when that one is.
        """
        if not self._running:
            return
        self._running = False
        self._loop.off_flush(self.flush)
        if self._timer is not None:
            self._timer.cancel()
        self._launcher.stop()
        self._desk.close()
        self._staff.close()
        for link in self._links.values():
            link.close()
        self._links.clear()

    def drain(self, done: Callable[[], None]) -> None:
        """Return what has not started; call `done` when the rest has ended."""
        self._on_drained = done
        self._start_draining()
        self._loop.wake()

    def update_pool(self, workers: int) -> None:
        """Keep another number of workers (1 or more)."""
        self._learning().update_pool(workers)
        self._loop.wake()

    def set_slave_id(self, slave_id: str) -> None:
        """Learn the id that the master gave; tasks see it."""
        self.slave_id = self._staff.slave_id = slave_id
        for link in self._links.values():
            link.send(Note.IDENTITY, slave_id, self._memory_limit)

    @property
    def slots(self) -> int:
        """How many tasks run at once."""
        return self.core.slots

    @property
    def sick(self) -> str:
        """Why it must not get tasks; empty when it may."""
        return self.core.sick

    def worker_pids(self) -> list[int]:
        """Return the process ids of the living workers."""
        return [link.pid for link in self._links.values() if link.pid and link.cause is None]

    def announce(self) -> None:
        """Send SLAVE_STATE, changed or not: the master is a new one."""
        self._state = []
        self._tell_state()

    def recall_all(self) -> None:
        """Return now every lease that has not started; the workers stay."""
        self._learning().recall(self.core.inventory())
        self.flush()

    def use_descriptors(self, passes: Callable[[], bool]) -> None:
        """Learn who says whether descriptors reach the master and back."""
        self._transfer.maps = self._services.passes = passes

    def resume_transfers(self) -> None:
        """Ask again for the blobs under way: what was sent may have been lost."""
        self._transfer.restart()

    def keep(self, *, keeps: bool) -> None:
        """Learn whether a restarted master will want to know what is held."""
        self.core.keep(keeps=keeps)

    def hold(self) -> None:
        """Go on with what runs: the master is gone, and may come back for it.

        A task that speaks to the master cannot: it is run again.
        """
        leases = self._services.leases()
        self._services.abandon()
        self._staff.dismiss()
        core = self._learning()
        core.kill(leases, self._loop.now())
        core.hold()
        self._transfer.fail_all("the master is gone")
        self._loop.wake()

    def holdings(self) -> list[list[Any]]:
        """Return what is held, as INVENTORY has it; its results are told again."""
        return self._learning().holdings()

    def abandon(self) -> None:
        """Drop every lease and result: the master that gave them is gone."""
        self._services.abandon()
        self._staff.dismiss()
        self._learning().abandon()
        self._transfer.fail_all("the master is gone")
        self._loop.wake()

    def handle(self, message: Message) -> None:  # noqa: C901 - one branch per kind
        """Take a message of the master.

        Raises:
            ProtocolError: It is none that a slave gets, or a blob has wrong bytes.
        """
        kind, body = message.kind, message.body
        if kind == Kind.LEASES:
            self._learning().leases(body)
        elif kind == Kind.RESULT_ACK:
            self._touched |= self.core.acknowledge(body[0])
        elif kind == Kind.CLASSES:
            self._learning().classes(body)
        elif kind == Kind.RECALL:
            self._learning().recall(body[0])
        elif kind == Kind.KILL:
            self._learning().kill(body[0], self._loop.now())
        elif kind == Kind.FORGET:
            self._learning().forget(body[0])
        elif kind == Kind.REFUSE_WAIT:
            self._learning().refuse_wait()
        elif kind == Kind.DRAIN:
            self._start_draining()
        elif kind in _BLOB_KINDS:
            self._transfer.handle(message)
        elif kind in _TUNNEL_KINDS:
            self._services.handle(message)
        elif kind in LINE_KINDS:
            self._staff.handle(message)
        else:
            text = f"a slave does not get messages of kind {kind}"
            raise ProtocolError(text)

    # For the launcher

    def worker_started(self, child_id: int, pid: int) -> None:
        """Notice that a worker's process runs."""
        if child_id > FIRST_CHILD:
            self._staff.started(child_id, pid)
            return
        link = self._links.get(child_id)
        if link is not None:
            link.pid = pid
            self._tell_state()

    def worker_ended(self, child_id: int, pid: int, status: int, peak: int) -> None:
        """Notice that a worker's process ended; what it sent is read first."""
        del pid
        if child_id > FIRST_CHILD:
            self._staff.ended(child_id, status)
            return
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        link = self._links.get(child_id)
        if link is None:
            return
        if number == signal.SIGKILL and not link.killed:
            link.fault = explain_kill(peak, self._kernel_kills)
        self._ended(child_id, describe_status(status), link.trace.read() if number in FATAL else "")

    def worker_failed(self, child_id: int, text: str) -> None:
        """Notice that a worker could not be forked."""
        if child_id > FIRST_CHILD:
            self._staff.failed(child_id, text)
            return
        self._ended(child_id, text)

    def launcher_lost(self, reason: str) -> None:
        """Notice that the launcher died, and every worker with it."""
        log.warning("%s; its workers are gone with it, new ones are started", reason)
        self._learning().workers_vanish()
        for child_id in list(self._links):
            self._ended(child_id, reason)
        self._staff.launcher_lost(reason)

    # Workers

    def _ended(self, worker_id: int, cause: str, trace: str = "") -> None:
        link = self._links.get(worker_id)
        if link is None or link.cause is not None:
            return
        link.cause = cause
        link.link.drain()  # what it sent before it died counts
        self._bury(link, trace)

    def _channel_closed(self, link: WorkerLink) -> None:
        link.closed = True
        # A worker without its channel is of no use; usually it has ended already.
        if link.cause is None and self._running and not is_ending(link.pid):
            self._kill(link.id, link.fault or ", since its channel to the slave was closed")

    def _exceeded(self, worker_id: int, text: str) -> None:
        self._learning().worker_exceeds(worker_id, text)
        self._loop.wake()

    def _kill(self, worker_id: int, reason: str = "") -> None:
        """Kill a worker and its group; `reason` goes behind the cause."""
        link = self._links.get(worker_id)
        if link is not None:
            link.killed = True
            link.fault = reason or link.fault
        self._launcher.kill(worker_id)

    def _bury(self, link: WorkerLink, trace: str) -> None:
        if self._links.pop(link.id, None) is None:
            return
        self._services.gone(link)
        tokens = link.take_tokens()
        self._desk.remove(link)
        link.close()
        self._worker_blobs.gone(link)
        cause = f"{link.cause or '?'}{link.fault}"
        self._learning().worker_ended(link.id, cause, tokens, self._loop.now(), link.output.last_lines(), trace)

    def _take(self, link: WorkerLink, frames: list[Any], heard: Heard) -> None:
        """Take a message of a worker, on either of its channels.

        A task may write on its worker's channel. Nonsense ends the worker, and costs its task only.
        """
        try:
            heard(link, frames)
        except Exception as error:
            # Whatever one worker's message leads to, the others go on.
            unforeseen = not isinstance(error, ProtocolError)
            log.warning("bad message from worker %d: %s", link.id, error, exc_info=unforeseen)
            link.fault = f", since it sent what no worker sends: {error}"
            link.shut()
            self._learning().worker_misbehaves(link.id)

    def _heard(self, link: WorkerLink, frames: list[Any]) -> None:  # noqa: C901 - one branch per note
        note, *body = unpack_values(frames[0])
        check_note(note, body)
        if note == Note.RESULTS:
            ended, results = body
            self._worker_blobs.keep(link, results)
            if results:
                self._desk.reported(link, results[-1][0])
            self._learning().worker_results(link.id, results, ended, self._loop.now())
            self._services.reported(link)
        elif note == Note.SPEAKS:
            self._speaks(link, *body)
        elif note == Note.BLOB:
            self._worker_blobs.take(link, body, frames[1] if len(frames) > 1 else b"")
        elif note == Note.MAPPED:
            self._worker_blobs.take_mapped(link, BlobRef(*body), *frames[1:2])
        elif note == Note.GET:
            missing = self._worker_blobs.give(link, body[0])
            if missing is not None:
                log.error("worker %d asks for a blob that is not here: %s", link.id, missing.hex()[-12:])
                self._kill(link.id, f", since it asked for blob {missing.hex()[-12:]}, which is not here")
        elif note == Note.READY:
            link.send(Note.IDENTITY, self.slave_id, self._memory_limit)
            self._learning().worker_ready(link.id, self._loop.now())
        elif note == Note.STARTS:
            self._learning().worker_starts(link.id, body[0], self._loop.now())
        elif note == Note.RECYCLE:
            log.debug("worker %d is replaced: its task changed %s", link.id, body[0])
            self._desk.speaks(link, 0, "")  # what its children still write is nobody's, least of all the next task's
            self._learning().worker_recycles(link.id, self._loop.now())

    def _speaks(self, link: WorkerLink, lease: int, name: str) -> None:
        if link.speaker is not None or not self.core.holds(link.id, lease):
            text = f"lease {lease}, which it does not run, prints"
            raise ProtocolError(text)
        self._desk.speaks(link, lease, name)

    def _learning(self) -> SlaveCore:
        """Return the core, which is about to learn something.

        The next flush asks what follows.
        """
        self._touched = True
        return self.core

    # Once per turn

    def flush(self) -> None:
        """Do what is due, and see to what will be; once per turn."""
        self.act()
        if not self._looked_ahead and self._running:
            now = self._loop.now()
            due = self.core.next_time()
            if due is not None and due <= now:  # by what it has learned
                self.core.tick(now)
                self._carry_out(now)
                due = self.core.next_time()
            self._looked_ahead = True
            self._due = due
            self._set_timer(due)
        self._worker_blobs.unmap()  # in an idle turn, too: pages are given back in one

    def act(self) -> None:
        """Do what follows from what was learned, and write it.

        `flush` must come behind it in the same turn.
        """
        if not self._running:
            return
        now, due = self._loop.now(), self._due
        is_due = due is not None and due <= now
        if is_due:
            self._due = None
            self.core.tick(now)
        if self._touched or is_due:
            self._carry_out(now)
            self._loop.flush_now()  # a worker that waits need not wait for what is due later

    def _carry_out(self, now: float) -> None:
        """Do what the core commands, and what that leads to."""
        self._touched, self._looked_ahead = True, False
        while self._touched:
            self._touched = False
            for command in self.core.take_commands(now):
                self._do(command)

    def _set_timer(self, due: float | None) -> None:
        timer = self._timer
        if timer is not None and timer.callback is not None:
            if due is not None and timer.when <= due:
                return  # it wakes the loop early, which then looks again
            timer.cancel()
        self._timer = self._loop.at(due, _wake) if due is not None else None

    def _do(self, command: Command) -> None:  # noqa: C901, PLR0912 - one line per command
        if isinstance(command, PostChunk):
            link = self._links.get(command.worker)
            if link is not None:
                link.post(command, self.blobs)
                self._watch.arm(command.worker)
        elif isinstance(command, Tell):
            self._send(command.kind, command.body, ())
        elif isinstance(command, Release):
            self.blobs.release(command.owner)
        elif isinstance(command, TakeTokens):
            link = self._links.get(command.worker)
            if link is not None:
                self._learning().tokens_taken(command.worker, link.take_tokens(), self._loop.now())
        elif isinstance(command, Fetch):
            owner = command.owner
            self._transfer.fetch(command.blobs, owner, lambda fault: self._learning().fetched(owner, fault))
        elif isinstance(command, StartWorker):
            self._start_worker(command.worker)
        elif isinstance(command, KillWorker):
            self._kill(command.worker)
        elif isinstance(command, Nudge):
            self._launcher.kill(command.worker, NUDGE_SIGNAL, group=False)
        elif isinstance(command, StopWorker):
            link = self._links.get(command.worker)
            if link is not None:
                link.shut()
        elif isinstance(command, Forget):
            for link in self._links.values():
                link.send(Note.FORGET, command.system)
        elif isinstance(command, StateChanged):
            self._tell_state()
        elif isinstance(command, WaitAnswered):
            self._services.wait_answered(command.worker, granted=command.granted)
        elif isinstance(command, Drained):
            self._drained()

    def _start_worker(self, worker_id: int) -> None:
        try:
            if not self._launcher.running:
                self._launcher.start()
            link = WorkerLink(self._loop, worker_id, self._desk.note)
        except (OSError, NodeStartError) as error:
            self._learning().worker_ended(worker_id, f"no worker can be started: {error}", 0, self._loop.now())
            return
        self._links[worker_id] = link
        self._desk.add(link)
        link.link.on_message = lambda frames: self._take(link, frames, self._heard)
        link.service.on_message = lambda frames: self._take(link, frames, self._services.take)
        link.link.on_closed = lambda reason: self._channel_closed(link)  # noqa: ARG005 - the launcher knows the cause
        self._launcher.fork_worker(worker_id, link.child_fds)

    def _start_draining(self) -> None:
        self._learning().drain()
        self._tell_state()  # before the leases go back, or the master would lease them to us again

    def _tell_state(self) -> None:
        state = [
            self.core.slots,
            self.worker_pids(),
            self.core.sick,
            self._resources,
            self.core.draining,
            self.core.lent,
            self._watch.stopped,
        ]
        if state != self._state:
            self._state = state
            self._send(Kind.SLAVE_STATE, state, ())

    def _drained(self) -> None:
        done, self._on_drained = self._on_drained, None
        if done is not None:
            done()


def _wake() -> None:
    """Do nothing: a due timer makes the loop turn, and the flush hook looks."""
