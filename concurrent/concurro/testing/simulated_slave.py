"""A slave in virtual time: the real core, workers that let time pass.

    master model --LEASES, RECALL, KILL--> SlaveCore --chunks, tokens--> SimulatedWorker
                 <--RESULTS, RETURNED-----            <--results--------

Chunks, tokens, take-back, nudges and kills are those of the core that a slave runs; a worker
claims a token before each task as the real one does, and a task is its duration.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from concurro.execution.slave_core import SlaveCore
from concurro.execution.slave_records import (
    Fetch,
    KillWorker,
    Nudge,
    PostChunk,
    StartWorker,
    StopWorker,
    TakeTokens,
    Tell,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.testing.simulated_time import Agenda, Event

BIRTH = 0.002
"""What it takes to fork a worker [s]."""

FLUSH_AFTER = 0.001
"""Results wait in a worker at most so long for those of the next tasks [s]."""

JOINED_FLUSH_AFTER = 0.004
"""The same for chunks whose results leave together [s]."""


@dataclass(frozen=True, slots=True)
class SlaveModel:
    """A machine.

    Attributes:
        name: Unique.
        workers: Tasks that run at once.
        speed: What a task takes is divided by it.
        resources: Name to amount offered.
        rate: Bytes that reach it per second [B/s].
        cache: Bytes of blobs that it keeps, the latest used ones [B].
    """

    name: str
    workers: int = 4
    speed: float = 1.0
    resources: dict[str, float] = field(default_factory=dict)
    rate: float = 125e6
    cache: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt of a task: where and when [s].

    Attributes:
        system, task, attempt: Which.
        lease: Its lease.
        slave, worker: Where.
        started, ended: When.
        done: Whether it ended by itself; False when it was killed.
    """

    system: int
    task: int
    attempt: int
    lease: int
    slave: str
    worker: int
    started: float
    ended: float
    done: bool = True


class SimulatedWorker:
    """Runs chunks in order, a token for each task."""

    def __init__(self, slave: SimulatedSlave, number: int) -> None:
        self.number = number
        self.tokens = 0
        self._slave = slave
        self._chunks: deque[tuple[deque[list[Any]], bool]] = deque()
        self._results: list[list[Any]] = []
        self._chunks_ended = 0
        self._running: tuple[list[Any], float, Event] | None = None
        self._first = 0.0

    def post(self, entries: list[list[Any]], *, joined: bool) -> None:
        """Take a chunk and its tokens."""
        self.tokens += len(entries)
        self._chunks.append((deque(entries), joined))
        if self._running is None:
            self._go_on()

    def report(self) -> None:
        """Hand over what has ended."""
        if self._results or self._chunks_ended:
            results, self._results = self._results, []
            ended, self._chunks_ended = self._chunks_ended, 0
            self._slave.reported(self, results, ended)

    def die(self) -> None:
        """Stop where it is."""
        if self._running is not None:
            entry, started, event = self._running
            event.cancel()
            self._slave.ran(self, entry, started, done=False)
            self._running = None
        self._chunks.clear()

    def _go_on(self) -> None:
        while self._chunks:
            chunk, joined = self._chunks[0]
            if chunk and self.tokens:
                self.tokens -= 1
                self._start(chunk.popleft())
                return
            self._chunks.popleft()
            self._chunks_ended += 1
            if not (joined and self._chunks) or self._is_late(JOINED_FLUSH_AFTER):
                self.report()

    def _start(self, entry: list[Any]) -> None:
        now = self._slave.agenda.now
        if not self._results:
            self._first = now
        event = self._slave.agenda.after(self._slave.duration_of(entry), self._ended)
        self._running = (entry, now, event)

    def _ended(self) -> None:
        assert self._running is not None  # noqa: S101 - an event of a task that runs
        entry, started, _ = self._running
        self._running = None
        now = self._slave.agenda.now
        self._slave.ran(self, entry, started, done=True)
        self._results.append([entry[0], 0, b"", None, round((now - started) * 1e9)])
        chunk, joined = self._chunks[0]
        if chunk and self._is_late(JOINED_FLUSH_AFTER if joined or self._chunks_ended else FLUSH_AFTER):
            self.report()
        self._go_on()
        self._slave.flush()

    def _is_late(self, limit: float) -> bool:
        return bool(self._results) and self._slave.agenda.now - self._first > limit


class SimulatedSlave:
    """A slave core, its workers, and its way for blobs.

    Args:
        model: The machine.
        agenda: What happens when.
        duration_of: Says what a task takes on a machine of speed 1 [s], by system and number.
        tell: Takes (slave name, kind, body) to the master.
        record: Takes every run.
    """

    def __init__(
        self,
        model: SlaveModel,
        agenda: Agenda,
        duration_of: Callable[[int, int], float],
        tell: Callable[[str, int, list[Any]], None],
        record: Callable[[Run], None],
    ) -> None:
        self.model = model
        self.agenda = agenda
        self.core = SlaveCore(model.workers)
        self.moved = 0
        self._duration_of = duration_of
        self._tell = tell
        self._record = record
        self._workers: dict[int, SimulatedWorker] = {}
        self._kept: OrderedDict[bytes, tuple[float, int]] = OrderedDict()
        self._way_free = 0.0
        self._timer: Event | None = None
        self.core.start()
        self.flush()

    # For its workers

    def duration_of(self, entry: list[Any]) -> float:
        """Return what a lease takes here [s]."""
        return self._duration_of(entry[1], entry[3]) / self.model.speed

    def ran(self, worker: SimulatedWorker, entry: list[Any], started: float, *, done: bool) -> None:
        """Note a run."""
        lease, system, _, task, attempt = entry[:5]
        name, now = self.model.name, self.agenda.now
        self._record(Run(system, task, attempt, lease, name, worker.number, started, now, done))

    def reported(self, worker: SimulatedWorker, results: list[list[Any]], ended: int) -> None:
        """Take the results of a worker."""
        self.core.worker_results(worker.number, results, ended, self.agenda.now)

    # For the master

    def take(self, orders: Callable[[SlaveCore, float], None]) -> None:
        """Carry out what the master says."""
        orders(self.core, self.agenda.now)
        self.flush()

    def flush(self) -> None:
        """Do what the core wants done, as the agent does once per turn."""
        now = self.agenda.now
        due = self.core.next_time()
        if due is not None and due <= now:
            self.core.tick(now)
        while commands := self.core.take_commands(now):
            for command in commands:
                self._do(command)
        self._set_timer(self.core.next_time())

    def _set_timer(self, due: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self.agenda.at(max(due, self.agenda.now), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.flush()

    def _do(self, command: Any) -> None:
        worker = self._workers.get(getattr(command, "worker", 0))
        if isinstance(command, StartWorker):
            # The first workers were there before the slave joined.
            self.agenda.after(BIRTH if self.agenda.now else 0.0, lambda: self._born(command.worker))
        elif isinstance(command, Tell):
            self._tell(self.model.name, command.kind, command.body)
        elif isinstance(command, Fetch):
            self._fetch(command.owner, command.blobs)
        elif worker is None:
            pass
        elif isinstance(command, PostChunk):
            worker.post(command.entries, joined=command.joined)
        elif isinstance(command, TakeTokens):
            taken, worker.tokens = worker.tokens, 0
            self.core.tokens_taken(worker.number, taken, self.agenda.now)
        elif isinstance(command, Nudge):
            worker.report()
        elif isinstance(command, KillWorker | StopWorker):
            self._end(worker)

    def _born(self, number: int) -> None:
        self._workers[number] = SimulatedWorker(self, number)
        self.core.worker_ready(number, self.agenda.now)
        self.flush()

    def _end(self, worker: SimulatedWorker) -> None:
        worker.report()
        worker.die()
        del self._workers[worker.number]

        def ended() -> None:
            self.core.worker_ended(worker.number, "killed by SIGKILL", worker.tokens, self.agenda.now)
            self.flush()

        self.agenda.after(0.0, ended)

    def _fetch(self, owner: Hashable, blobs: list[Any]) -> None:
        """Bring what is not here, one blob after the other."""
        here_at = self.agenda.now
        for _, digest, size in blobs:
            known = self._kept.pop(digest, None)
            if known is None:
                self._way_free = max(self._way_free, self.agenda.now) + size / self.model.rate
                self.moved += size
                known = (self._way_free, size)
            self._kept[digest] = known
            here_at = max(here_at, known[0])
        while sum(size for _, size in self._kept.values()) > self.model.cache and len(self._kept) > len(blobs):
            self._kept.popitem(last=False)

        def fetched() -> None:
            self.core.fetched(owner, None)
            self.flush()

        self.agenda.at(here_at, fetched)
