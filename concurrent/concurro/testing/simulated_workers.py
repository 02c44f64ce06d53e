"""Workers in virtual time, and the agent's end of each.

    SlaveAgent (real) == SimulatedWorkerLink == notes, tokens == SimulatedWorker

A worker loads its tasks with the real runner and claims a token before each, as the real one
does; a task lasts as long as its plan says. Not modelled: what tasks print, submit, or do to
their process, and blobs that a worker had dropped.
"""

from __future__ import annotations

import signal
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from concurro.execution.task_runner import RESULT, TaskRunner
from concurro.execution.worker import Note
from concurro.testing.simulated_work import SimulatedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from concurro.execution.slave_records import PostChunk
    from concurro.testing.simulated_network import Network, SimulatedLink
    from concurro.testing.simulated_processes import Process
    from concurro.wire.blobs import BlobStore

FLUSH_AFTER = 0.001
"""Results wait in a worker at most so long for those of the next tasks [s]."""

JOINED_FLUSH_AFTER = 0.004
"""The same for chunks whose results leave together [s]."""


class _NoOutput:
    """Stands for what a worker prints: nothing."""

    fds = ()
    on_closed: Any = None

    class flow:  # noqa: N801 - it stands for an object
        """Stands for output that waits: none."""

        waiting = False
        period = 1.0

        @staticmethod
        def settle(*facts: Any, **more: Any) -> list[Any]:
            """Return nothing."""
            del facts, more
            return []

    def read(self) -> None:
        """Read nothing."""

    def close(self) -> None:
        """Close nothing."""

    def last_lines(self) -> str:
        """Return nothing."""
        return ""


class _NoTrace:
    """Stands for the native trace of a worker: none."""

    def read(self) -> str:
        """Return nothing."""
        return ""


class SimulatedWorkerLink:
    """Stands for `WorkerLink`: posts to one worker and hears from it.

    Args:
        network: Makes its channel.
        run: Called with (lease, worker) when a task starts, and again when it ended.
        loop: Of the agent.
        worker_id: Its id.
    """

    def __init__(self, network: Network, witness: Witness, loop: Any, worker_id: int) -> None:
        self.id = worker_id
        self.pid = 0
        self.cause: str | None = None
        self.fault = ""
        self.killed = False
        self.closed = False
        self.sent: set[bytes] = set()
        self.parts: dict[bytes, bytearray] = {}
        self.speaker: tuple[int, str] | None = None
        self.output = _NoOutput()
        self.trace = _NoTrace()
        self.tokens = 0
        self._network = network
        self._witness = witness
        self._loop = loop
        ends = network.connect((loop, None), ("", ""), f"worker {worker_id}", ordered=True)
        self.link, self._far = ends
        self.service = network.connect((loop, None), ("", ""), "service", ordered=True)[0]
        self.child_fds = [self._born]

    def _born(self, process: Process) -> None:
        process.node = SimulatedWorker(process, self._far, self, self._witness)
        self._far.hand_to(process.loop)

    def send(self, note: Note, *body: Any, frame: Any = None) -> None:
        """Queue a message to the worker."""
        packed = msgpack.packb((note, *body))
        self.link.send([packed] if frame is None else [packed, frame])

    def post(self, chunk: PostChunk, store: BlobStore) -> None:
        """Post a chunk: blobs that it has not seen, then tokens and entries."""
        announcements = [code.announcement for code in chunk.task_classes]
        for described in [*(each[4] for each in announcements), *(entry[6] for entry in chunk.entries)]:
            self.send_blobs(described or [], store)
        self.tokens += len(chunk.entries)
        self.send(Note.CHUNK, announcements, chunk.entries, chunk.devices, chunk.timed, chunk.joined)

    def send_blobs(self, blobs: list[Any], store: BlobStore) -> None:
        """Send blobs once."""
        for _, digest, _ in blobs:
            if digest not in self.sent:
                self.send_blob(digest, store)

    def send_blob(self, digest: bytes, store: BlobStore) -> None:
        """Send one blob."""
        self.sent.add(digest)
        view = store.get(digest)
        self.send(Note.BLOB, digest, len(view), 0, frame=view)

    def shut(self) -> None:
        """Let the worker end."""
        self.link.close()
        self.closed = True

    def take_tokens(self) -> int:
        """Take back every token that is left; return how many."""
        left, self.tokens = self.tokens, 0
        return left

    def close(self) -> None:
        """Close its channels. Idempotent."""
        self.link.close()
        self.service.close()


class Witness:
    """Who saw which task run, outside of everything that decides.

    Attributes:
        on_start: Called with each `Execution` that begins.
        on_acknowledged: Called with leases whose results a master has.
        on_killed: Called with leases that a master does not want.
    """

    def __init__(self) -> None:
        self.on_start: Callable[[Execution], None] = lambda execution: None  # noqa: ARG005
        self.on_acknowledged: Callable[[Collection[int]], None] = lambda leases: None  # noqa: ARG005
        self.on_killed: Callable[[Collection[int]], None] = lambda leases: None  # noqa: ARG005
        self.executions: list[Execution] = []

    def started(self, execution: Execution) -> None:
        """Note that a task begins."""
        self.executions.append(execution)
        self.on_start(execution)


class Execution:
    """One time that a task ran.

    Attributes:
        system, number, attempt, lease: Which.
        plan: What it does.
        worker: The name of its worker's process.
        end: `done`, `raised`, `crashed` (by its worker's death alone) or `lost`; empty while it runs.
    """

    __slots__ = ("attempt", "end", "lease", "number", "plan", "started", "system", "worker")

    def __init__(self, task: SimulatedTask, entry: list[Any], worker: str, started: float) -> None:
        self.system = str(task.system_id)
        self.lease, self.number, self.attempt = entry[0], entry[3], entry[4]
        self.plan = task.plan
        self.worker = worker
        self.started = started
        self.end = ""


class _Chunk(NamedTuple):
    """What one message posted."""

    announcements: list[Any]
    entries: deque[list[Any]]
    timed: bool
    joined: bool


class SimulatedWorker:
    """Serves one channel until it ends."""

    def __init__(self, process: Process, channel: SimulatedLink, link: SimulatedWorkerLink, witness: Witness) -> None:
        self.running: Execution | None = None
        self._process = process
        self._loop = process.loop
        self._channel = channel
        self._link = link
        self._witness = witness
        self._runner = TaskRunner()
        self._chunks: deque[_Chunk] = deque()
        self._open: _Chunk | None = None
        self._results: list[Any] = []
        self._chunks_ended = 0
        self._first = 0.0
        channel.on_message = self._heard
        channel.on_closed = lambda reason: self._loop.stop()  # noqa: ARG005 - the end of the agent is ours
        self._send([Note.READY])

    def nudge(self) -> None:
        """Send the results before a long task, from inside it."""
        if self.running is not None and (self._results or self._chunks_ended):
            self._report()

    def _heard(self, frames: list[Any]) -> None:
        note, *body = msgpack.unpackb(frames[0], strict_map_key=False)
        if note == Note.CHUNK:
            announcements, entries, _, timed, joined = body
            self._chunks.append(_Chunk(announcements, deque(entries), timed, joined))
            self._go_on()
        elif note == Note.BLOB:
            self._runner.blobs.put(frames[1], "arrived", body[0])
        elif note == Note.FORGET:
            self._runner.forget(body[0])
        elif note == Note.IDENTITY:
            self._runner.slave_id = body[0]

    def _go_on(self) -> None:
        while self.running is None:
            if self._open is None:
                if not self._chunks:
                    return
                self._open = self._chunks.popleft()
                for announcement in self._open.announcements:
                    self._runner.announce(announcement)
            chunk = self._open
            if chunk.entries and self._link.tokens > 0:
                self._link.tokens -= 1
                self._start(chunk.entries.popleft(), timed=chunk.timed)
                continue
            self._open = None
            self._chunks_ended += 1
            if not (chunk.joined and self._chunks) or self._is_late(JOINED_FLUSH_AFTER):
                self._report()

    def _start(self, entry: list[Any], *, timed: bool) -> None:
        now = self._loop.now()
        if not self._results:
            self._first = now
        if timed:
            self._send([Note.STARTS, entry[0]])
        task = self._runner.load(entry)
        if not isinstance(task, SimulatedTask):
            self._results.append((entry[0], *task, 0))  # type: ignore[misc]  # it could not be loaded
            return
        execution = self.running = Execution(task, entry, self._process.name, now)
        self._witness.started(execution)
        if task.plan.behaviour == "poison":
            self._loop.after(task.plan.seconds / 2, self._die)
        else:
            self._loop.after(task.plan.seconds, lambda: self._ended(entry, now))

    def _die(self) -> None:
        if self.running is not None:
            self.running.end, self.running = "crashed", None
        self._process.end(int(signal.SIGSEGV))

    def _ended(self, entry: list[Any], started: float) -> None:
        assert self.running is not None  # noqa: S101 - a timer of a task that runs
        outcome, value, blobs = self._runner.run(entry)
        self.running.end = "raised" if outcome else "done"
        self.running = None
        now = self._loop.now()
        for _, digest, size in blobs or ():
            self._send([Note.BLOB, digest, size, 0], self._runner.blobs.get(digest))
        if blobs:
            self._runner.blobs.release(RESULT)
        self._results.append((entry[0], outcome, value, blobs, round((now - started) * 1e9)))
        assert self._open is not None  # noqa: S101 - its chunk
        joined = self._open.joined or self._chunks_ended
        if self._open.entries and self._is_late(JOINED_FLUSH_AFTER if joined else FLUSH_AFTER):
            self._report()
        self._go_on()

    def _is_late(self, limit: float) -> bool:
        return bool(self._results) and self._loop.now() - self._first > limit

    def _report(self) -> None:
        results, self._results = self._results, []
        ended, self._chunks_ended = self._chunks_ended, 0
        self._send([Note.RESULTS, ended, results])

    def _send(self, body: list[Any], *frames: Any) -> None:
        self._channel.send([msgpack.packb(body), *frames])
