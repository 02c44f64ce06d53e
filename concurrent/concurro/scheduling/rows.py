"""What a journal keeps, row by row.

A system is a function of its numbered inputs: what was submitted, the inputs since the last
snapshot, and what the host answered to each, are enough to have it again. Payloads are
opaque bytes here as everywhere in the master.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Note(NamedTuple):
    """What a host answered to one input, short enough to compare.

    Attributes:
        first: Number of the first task that it emitted.
        emitted: How many tasks it emitted.
        digest: BLAKE2b-128 of the emitted tasks and the cancelled numbers.
    """

    first: int
    emitted: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class SystemAccepted:
    """A system was submitted; committed before its application is told so.

    Attributes:
        system: The master's number for it; never used again in this journal.
        system_id: Its id as people see it.
        name: Class name, for people.
        payload: The pickled system.
        blobs: References of its large parts, as they travel.
        options: Of its submission.
        client: Id of the application.
        seed: Of its random numbers.
        submitted_at: Wall clock [s].
    """

    system: int
    system_id: str
    name: str
    payload: bytes
    blobs: list[Any] | None
    options: dict[str, Any]
    client: str
    seed: int
    submitted_at: float


@dataclass(frozen=True, slots=True)
class InputApplied:
    """An input of a host, and what it answered.

    Attributes:
        system: Whose.
        n: Its number; inputs of a system follow each other without a gap.
        body: The body of the IN message; of number 0, the facts of START.
        note: Of the answer.
    """

    system: int
    n: int
    body: list[Any]
    note: Note


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """The state of a host after an input; older inputs may go.

    Attributes:
        system: Whose.
        n: The last input that it has seen.
        generation: Which run of the system it belongs to.
        state: What the host pickled, opaque.
        open_tasks: `[number, class, payload, blobs]` of each task that the host took for open.
        classes: Entries of the classes announced so far.
        parts: References of the large parts of the state, as they travel.
        published: How many partial results the host had published.
        counts: How many tasks were done, failed, cancelled.
        cancelled: Numbers of the open tasks that were cancelled and not told of.
        progress: As the host reported it last; None when it did not.
    """

    system: int
    n: int
    generation: int
    state: bytes
    open_tasks: list[Any]
    classes: list[Any]
    parts: list[Any] | None = None
    published: int = 0
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    cancelled: list[int] = field(default_factory=list)
    progress: list[Any] | None = None

    @property
    def emitted(self) -> int:
        """How many tasks the host had emitted."""
        return len(self.open_tasks) + sum(self.counts)

    @property
    def blobs(self) -> list[Any]:
        """References of all large parts that restoring it takes."""
        parts = list(self.parts or ())
        parts += [blob for entry in self.open_tasks for blob in entry[3] or ()]
        return parts + [blob for entry in self.classes for blob in entry[7] or ()]


@dataclass(frozen=True, slots=True)
class GenerationBegun:
    """A replay emitted other tasks than before.

    Leases of older generations never count. A snapshot after a later input goes.

    Attributes:
        system: Whose.
        generation: The new one.
        after: The last input that is kept; later ones are dropped.
    """

    system: int
    generation: int
    after: int


@dataclass(frozen=True, slots=True)
class AttemptIntended:
    """A task that may run at most once is about to be leased."""

    system: int
    number: int
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptCrashed:
    """A task took its worker with it.

    Attributes:
        system: Whose.
        number: Which task.
        crashes: How often it did so.
        lease: Of the attempt that did so last, whose slave may tell of it again; 0 when it is not known.
    """

    system: int
    number: int
    crashes: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody cancelled a system.

    Attributes:
        system: Which.
        reason: Why, for people.
    """

    system: int
    reason: str


@dataclass(frozen=True, slots=True)
class PublicationsTaken:
    """Every follower of a system has its first partial results.

    Attributes:
        system: Which.
        count: So many of them, since the generation began.
    """

    system: int
    count: int


@dataclass(frozen=True, slots=True)
class HostRestarted:
    """The host of a system died, and is started again.

    Attributes:
        system: Which.
        count: How often, this time included.
    """

    system: int
    count: int


@dataclass(frozen=True, slots=True)
class SlaveSeen:
    """A slave joined, or left.

    Attributes:
        slave_id: Which.
        here: Whether it is there now.
    """

    slave_id: str
    here: bool


@dataclass(frozen=True, slots=True)
class ServiceKept:
    """A service of the master wants to find this again after a restart.

    Attributes:
        service: Its name.
        key: What it calls it.
        entry: `[key, value]` packed, as the value was then: the service may change it, and another thread writes;
            None removes it.
    """

    service: str
    key: str
    entry: bytes | None


@dataclass(frozen=True, slots=True)
class SystemEnded:
    """A system is over; committed before anybody is told.

    Attributes:
        system: Which.
        state: Value of its `SystemState`.
        result: As ENDED carries it.
        ended_at: Wall clock [s].
        tasks: How many of its tasks were done, failed, cancelled.
    """

    system: int
    state: str
    result: list[Any]
    ended_at: float
    tasks: Sequence[int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class SystemForgotten:
    """Nobody wants the system's result any more: everything of it goes."""

    system: int


@dataclass(frozen=True, slots=True)
class BlobKept:
    """Bytes that a system needs: of its submission, an input, its result.

    Attributes:
        system: Whose.
        digest: BLAKE2b-256 of the bytes.
        content: The bytes themselves; any buffer.
    """

    system: int
    digest: bytes
    content: Any = field(repr=False)


Row = (
    SystemAccepted
    | InputApplied
    | SnapshotTaken
    | GenerationBegun
    | AttemptIntended
    | AttemptCrashed
    | CancelAsked
    | PublicationsTaken
    | HostRestarted
    | SlaveSeen
    | ServiceKept
    | SystemEnded
    | SystemForgotten
    | BlobKept
)


@dataclass(slots=True)
class KeptSystem:
    """A system as a journal has it.

    Attributes:
        accepted: Its submission.
        generation: Which run of it counts.
        snapshot: The last one; None when there was none.
        inputs: The inputs after the snapshot, in order.
        intents: Task number to the attempt that may have run.
        crashes: Task number to how often it took its worker with it.
        counted: Task number to the lease of the last attempt among them.
        cancel: Why it was cancelled; None when nobody did.
        taken: How many of its partial results its followers have.
        restarted: How often its host was started again.
        ended: How it ended; None while it runs.
        blobs: Digests of the blobs that are kept for it.
    """

    accepted: SystemAccepted
    generation: int = 1
    snapshot: SnapshotTaken | None = None
    inputs: list[InputApplied] = field(default_factory=list)
    intents: dict[int, int] = field(default_factory=dict)
    crashes: dict[int, int] = field(default_factory=dict)
    counted: dict[int, int] = field(default_factory=dict)
    cancel: str | None = None
    taken: int = 0
    restarted: int = 0
    ended: SystemEnded | None = None
    blobs: set[bytes] = field(default_factory=set)
