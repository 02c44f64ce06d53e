"""Records of the slave core: its commands, classes of tasks, workers.

Entries are the lists of the messages, untouched: a lease is `[lease, system, class, number,
attempt, payload, blobs]`, a result `[lease, outcome, value, blobs, duration ns]`.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from concurro.execution.devices import RESOURCE

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.execution.devices import Share
    from concurro.ids import Outcome
    from concurro.wire.messages import Kind

Entry = list[Any]

KILL_GRACE = 0.02
"""Seconds that a chunk of short tasks gets to end by itself when one of it is killed [s]."""

LOADING_LIMIT = 300.0
"""Seconds that loading may take before a task whose own time is limited begins [s]."""

ENDING_LIMIT = 2.0
"""Seconds that a worker may take to end by itself [s]."""

CHUNK_DURATION = 1_000_000
"""What a chunk lasts at most, by measurement [ns]."""

JOINED_DURATION = 4_000_000
"""Results of so much work leave together, where much more of it waits [ns]."""

LEAST_SHARE = 50_000
"""What is shared among workers lasts at least so long: less is not worth a message of its own [ns]."""

CHUNK_TASKS = 256
"""Most tasks of a chunk."""

PREFETCH_DURATION = 10_000_000
"""Tasks up to this long wait in the worker itself [ns]; for others the way is short enough."""

_DECAY = 0.8
"""How far an estimate falls with each shorter task: from 1 s to chunks within 31."""


class StartWorker(NamedTuple):
    """Start a worker."""

    worker: int


class StopWorker(NamedTuple):
    """Let an idle worker end."""

    worker: int


class KillWorker(NamedTuple):
    """Kill a worker and its group."""

    worker: int


class PostChunk(NamedTuple):
    """Post as many tokens as there are entries, and send the chunk."""

    worker: int
    task_classes: tuple[TaskCode, ...]
    entries: list[Entry]
    devices: tuple[str, ...] = ()
    timed: bool = False
    joined: bool = False


class TakeTokens(NamedTuple):
    """Take every token back that is left, then call `tokens_taken`."""

    worker: int


class Nudge(NamedTuple):
    """Let a worker report what it holds back.

    Its task takes longer than expected.
    """

    worker: int


class Forget(NamedTuple):
    """Tell every worker that a system is over."""

    system: int


class Fetch(NamedTuple):
    """Get blobs for `owner`, then call `fetched`."""

    owner: Hashable
    blobs: list[Any]


class Release(NamedTuple):
    """Let the blobs of `owner` go."""

    owner: Hashable


class Tell(NamedTuple):
    """Send a message to the master."""

    kind: Kind
    body: list[Any]


class StateChanged(NamedTuple):
    """Report slots, workers and sickness to the master."""


class WaitAnswered(NamedTuple):
    """Tell a task that waits whether its slot is lent.

    Each that asked is told once.
    """

    worker: int
    granted: bool


class Drained(NamedTuple):
    """Nothing is left to do or to acknowledge."""


Command = (
    StartWorker
    | StopWorker
    | KillWorker
    | PostChunk
    | TakeTokens
    | Nudge
    | Forget
    | Fetch
    | Release
    | Tell
    | StateChanged
    | WaitAnswered
    | Drained
)


class TaskCode:
    """A class of tasks in one system, as a slave knows it.

    Attributes:
        key: (system, class).
        name: For people.
        timeout: Seconds an attempt may take [s]; None for no limit.
        devices: How many devices an attempt needs, in parts too; 0 for none.
        generation: Which run of the system it belongs to.
        at_most_once: Whether an attempt that is lost is not made again.
        announcement: `[system, class, name, code payload, blobs, system id]`, what a worker gets.
        duration: Decaying maximum of the measured durations, batches of them taken as one [ns]; None before the first.
        here: Whether its blobs are here.
        fault: Why it can never be loaded; empty when it may.
    """

    __slots__ = (
        "announcement",
        "at_most_once",
        "devices",
        "duration",
        "fault",
        "generation",
        "here",
        "key",
        "name",
        "timeout",
    )

    def __init__(self, announcement: list[Any]) -> None:
        system, number, name, timeout, requires, payload, blobs = announcement[:7]
        self.key = (system, number)
        self.name = name
        self.timeout: float | None = timeout
        self.devices = float(requires.get(RESOURCE, 0))
        system_id = announcement[7] if len(announcement) > 7 else ""  # noqa: PLR2004 - a later field
        self.announcement = [system, number, name, payload, blobs, system_id]
        self.generation = int(announcement[8]) if len(announcement) > 8 else 0  # noqa: PLR2004 - a later field
        self.at_most_once = len(announcement) > 9 and bool(announcement[9])  # noqa: PLR2004 - a later field
        self.duration: float | None = None
        self.here = not blobs
        self.fault = ""

    def measure(self, durations: list[int]) -> None:
        """Learn how long some attempts took [ns].

        What counts is their mean: among many short ones, a single long one mostly had to wait for a processor.
        """
        mean = sum(durations) / len(durations)
        known = self.duration
        if known is None or mean >= known:
            self.duration = max(mean, 1.0)
        else:
            self.duration = max(mean, known * _DECAY ** len(durations), 1.0)

    def chunk_size(self) -> int:
        """Return how many tasks make a chunk."""
        if self.duration is None or self.timeout is not None or self.devices:
            return 1
        return min(CHUNK_TASKS, max(1, int(CHUNK_DURATION / self.duration)))

    def joined_chunks(self) -> int:
        """Return how many chunks may be joined: their results leave together.

        Of tasks that are not run again, the results that a worker had not told would be lost with it.
        """
        if self.duration is None or self.timeout is not None or self.devices or self.at_most_once:
            return 1
        return max(1, round(JOINED_DURATION / (self.duration * self.chunk_size())))

    def least_share(self) -> int:
        """Return how many tasks are not worth sharing among workers."""
        return 1 if self.duration is None else max(1, int(LEAST_SHARE / self.duration))

    def may_prefetch(self) -> bool:
        """Say whether a task may wait behind another in a worker."""
        return self.duration is not None and self.duration <= PREFETCH_DURATION and not (self.timeout or self.devices)


class Chunk:
    """What one message posted; entries leave as results arrive.

    Attributes:
        joined: Whether its results may leave with those of the next chunk.
    """

    __slots__ = ("code", "entries", "joined", "share")

    def __init__(
        self, code: TaskCode, entries: deque[Entry], share: Share | None = None, *, joined: bool = False
    ) -> None:
        self.code = code
        self.entries = entries
        self.share = share
        self.joined = joined


class WorkerState(Enum):
    """Where a worker stands."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"  # ends when it is idle
    ENDING = "ending"  # was told to end, said so itself, or was killed


class WorkerRecord:
    """A worker as the core knows it.

    Attributes:
        id: Never reused.
        state: Where it stands.
        chunks: Posted and not ended, oldest first.
        known: What it was sent last of each class, by key: another master gives the same numbers to others.
        nudges: How often it was told to report since it was last heard of.
        taking: Tokens are being taken back.
        taken: Tokens were taken back; nothing new until it is idle.
        recalled: Leases that go back to the master when they have not started.
        killed: Leases whose result nobody wants.
        devices: What it is bound to: it has run a task on them; empty before the first.
        deadline: When the running task must have ended [s]; None for no limit.
        verdict: How its task ends when it is killed; None: the worker just died.
        worked: Whether it started any task.
        counts: Whether its death tells that workers do not live well here.
        runs_since: When a task with a time limit began [s]; None while it is loaded, and for others.
        progress: When it was last posted to or heard of [s].
    """

    __slots__ = (
        "chunks",
        "counts",
        "deadline",
        "devices",
        "id",
        "killed",
        "known",
        "nudges",
        "progress",
        "recalled",
        "runs_since",
        "started_at",
        "state",
        "taken",
        "taking",
        "verdict",
        "worked",
    )

    def __init__(self, worker_id: int, now: float) -> None:
        self.id = worker_id
        self.state = WorkerState.STARTING
        self.chunks: deque[Chunk] = deque()
        self.known: dict[tuple[int, int], TaskCode] = {}
        self.nudges = 0
        self.taking = False
        self.taken = False
        self.recalled: set[int] = set()
        self.killed: set[int] = set()
        self.devices: tuple[str, ...] = ()
        self.deadline: float | None = None
        self.verdict: tuple[Outcome, str] | None = None
        self.worked = False
        self.counts = True
        self.progress = now
        self.started_at = now
        self.runs_since: float | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it has reported, and is not told to end."""
        return self.state is WorkerState.READY

    def may_be_posted(self) -> bool:
        """Say whether it has nothing to do and may get a chunk."""
        return not self.chunks and self.is_ready and not self.taken and not self.taking

    def outstanding(self) -> list[Entry]:
        """Return what was posted and has no result, oldest first."""
        return [entry for chunk in self.chunks for entry in chunk.entries]

    def may_answer(self, results: list[Entry], ended: int) -> bool:
        """Say whether these may be its next results, and its next ends."""
        chunks, count = self.chunks, len(results)
        if ended > len(chunks):
            return False
        missing = sum([len(chunk.entries) for chunk in islice(chunks, ended)]) - count
        if missing > 0 or (missing and (ended == len(chunks) or len(chunks[ended].entries) < -missing)):
            return False
        expected = islice(chain.from_iterable([chunk.entries for chunk in islice(chunks, ended + 1)]), count)
        return [entry[0] for entry in expected] == [result[0] for result in results]

    def may_hold_back(self) -> bool:
        """Say whether results of its chunk may wait for the end of a long task."""
        return bool(self.chunks) and (len(self.chunks[0].entries) > 1 or self.chunks[0].joined)

    def may_be_sent_ahead(self) -> bool:
        """Say whether others may wait behind what it has."""
        chunks = self.chunks
        return (
            bool(chunks)
            and self.state is WorkerState.READY
            and not (self.taken or self.taking)
            and sum([not chunk.joined for chunk in chunks]) == 1
            and chunks[-1].code.may_prefetch()
        )

    def has_waiting(self) -> bool:
        """Say whether a task waits behind another, and could be taken back."""
        return (
            sum(len(chunk.entries) for chunk in self.chunks) > 1
            and not self.taken
            and not self.taking
            and self.state is WorkerState.READY
        )

    def take_first(self, results: list[Entry]) -> list[Entry]:
        """Remove the entries of these results, and learn how long they took."""
        removed: list[Entry] = []
        for chunk in self.chunks:
            entries = chunk.entries
            count = min(len(entries), len(results) - len(removed))
            if count:
                chunk.code.measure([result[4] for result in results[len(removed) : len(removed) + count]])
                removed += [entries.popleft() for _ in range(count)]
            if len(removed) == len(results):
                break
        return removed

    def take_last(self, count: int) -> list[tuple[TaskCode, Entry]]:
        """Remove the last `count` entries: they will not start. In order."""
        removed: list[tuple[TaskCode, Entry]] = []
        for chunk in reversed(self.chunks):
            while chunk.entries and len(removed) < count:
                removed.append((chunk.code, chunk.entries.pop()))
        removed.reverse()
        return removed
