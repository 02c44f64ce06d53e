"""A task system from its submission until its result is forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from concurro.ids import Failure, Outcome
from concurro.scheduling.answer import AnswerDigest
from concurro.scheduling.flow import InputFlow
from concurro.scheduling.news import News
from concurro.scheduling.snapshots import SnapshotCourse

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.records import SystemRecord
    from concurro.scheduling.history import History
    from concurro.scheduling.replay import Orphans, Replay
    from concurro.scheduling.rerun import Rerun

DEFAULT_TTL = 86_400.0
"""How long the result of a detached system is kept [s]."""


MOST_NOTICES = 100
"""Different notices of one system; its followers are told that there were more."""

HOST_PATIENCE = 60.0
"""For so long a host that answers nothing is taken to work [s]."""


@dataclass(slots=True)
class SystemLife:
    """A task system from its submission until its result is forgotten.

    Attributes:
        notices: What its listeners are to be told.
        noticed: Hashes of the notices that there were: each is told once.
        told: The counts that its followers were told.
        known_to: Peers that follow or own it, or did.
        nested: Whether a task or callback submitted it: it ends with that.
        submitters: Who waits to be told that it is accepted, each with the token of the submission.
        kept: Whether the journal has it.
        history: Its answered inputs, where no journal has them and its host may be started again.
        inputs: Inputs that were sent and not answered, of one that is recorded.
        answer: What its host answered so far to the oldest of them.
        unsettled: Leases to acknowledge once its end is kept.
        replay: How far it is on its way back after the master was restarted; None when it runs.
        rerun: How far it is on its way back after its host died; None when it runs.
        restarted: How often its host was started again.
        ending: Whether its host said that it is over: nothing more of it counts.
        orphans: Its open tasks of which a slave may still tell; None when none will.
        snapshots: How it comes to its snapshots.
        shortest: Duration of its shortest task class when that was looked for [s].
        shortest_at: When that was [s].
    """

    record: SystemRecord
    payload: bytes
    blobs: list[Any] | None
    options: dict[str, Any]
    owner: Hashable | None
    submitted_at: float
    seed: int
    implicit: bool = False
    followers: set[Hashable] = field(default_factory=set)
    flow: InputFlow = field(default_factory=InputFlow)
    result: list[Any] | None = None
    ended_at: float | None = None
    orphan_since: float | None = None
    cancel_by: float | None = None
    progress: list[Any] | None = None
    client: str = ""
    notices: list[str] = field(default_factory=list)
    idle_noticed: bool = False
    told: tuple[int, ...] = ()
    view_at: float = -1e9
    accepted: bool = False
    spooling: int = 0
    news: News = field(default_factory=News)
    round: int = 0
    host_pid: int | None = None
    noticed: set[int] = field(default_factory=set)
    known_to: set[Hashable] = field(default_factory=set)
    nested: bool = False
    submitters: list[tuple[Hashable, int]] = field(default_factory=list)
    kept: bool = False
    inputs: dict[int, list[Any]] = field(default_factory=dict)
    answer: AnswerDigest = field(default_factory=AnswerDigest)
    unsettled: list[tuple[str, int] | None] = field(default_factory=list)
    replay: Replay | None = None
    rerun: Rerun | None = None
    restarted: int = 0
    history: History | None = None
    orphans: Orphans | None = None
    ending: bool = False
    snapshots: SnapshotCourse = field(default_factory=SnapshotCourse)
    shortest: float | None = None
    shortest_at: float = -inf

    @property
    def listeners(self) -> tuple[Hashable, ...]:
        """Who is told what it prints, what is odd about it, and its end."""
        if self.implicit:
            return () if self.owner is None else (self.owner,)
        return tuple(self.followers)

    @property
    def is_recorded(self) -> bool:
        """Whether its inputs are kept once they were answered."""
        return self.kept or self.history is not None

    @property
    def comes_back(self) -> bool:
        """Whether its host is being given recorded inputs."""
        return self.replay is not None or self.rerun is not None

    @property
    def is_over(self) -> bool:
        """Whether its end is decided, told or not."""
        return self.ending or self.record.state.ended or self.ended_at is not None

    @property
    def host(self) -> Hashable:
        """The peer that runs the system."""
        return self.owner if self.implicit else ("host", self.record.number)


def state_of(life: SystemLife) -> tuple[bytes, list[Any] | None]:
    """Return what a new host loads, with its large parts.

    A snapshot, or the submission.
    """
    course = life.rerun or life.replay
    snapshot = None if course is None else course.snapshot
    return (life.payload, life.blobs) if snapshot is None else (snapshot.state, snapshot.parts)


def count_tasks(record: SystemRecord) -> dict[str, int]:
    """Return the tasks of a system by state."""
    return {
        "queued": len(record.open) - record.leased,
        "leased": record.leased,
        "done": record.done,
        "failed": record.failed,
        "cancelled": record.cancelled,
    }


def count_emitted(record: SystemRecord) -> int:
    """Return how many tasks a system has emitted."""
    return len(record.open) + record.done + record.failed + record.cancelled


def kept_until(life: SystemLife, grace: float) -> float | None:
    """Return when the result of an ended system is forgotten [s].

    None while somebody follows it, or before it has ended.
    """
    if life.ended_at is None or life.followers:
        return None
    return life.ended_at + (life.options.get("ttl", DEFAULT_TTL) if life.options.get("detach") else max(grace, 60.0))


def next_deadline(life: SystemLife, grace: float) -> float | None:
    """Return when a system is ended or forgotten [s].

    Unless something happens before.
    """
    if life.record.state.ended:
        return kept_until(life, grace) if life.ended_at is not None else life.news.end_by
    if life.ending:
        return None  # it waits for the journal only
    if life.cancel_by is not None:
        return life.cancel_by  # a replay puts it off with each step
    return None if life.orphan_since is None else life.orphan_since + grace


def awaits_host(life: SystemLife, now: float) -> bool:
    """Say whether a host is about to decide something, or its system to end.

    One that takes very long may itself wait for tasks: it counts no more.
    """
    if life.implicit or life.ended_at is not None:
        return False
    if life.ending or life.comes_back:
        return True
    since = life.flow.oldest() if life.flow.is_started else life.submitted_at
    return since is not None and now - since <= HOST_PATIENCE


def ended_body(life: SystemLife) -> list[Any]:
    """Return what ENDED says."""
    return [life.record.number, life.record.state.value, life.result, life.record.system_id]


def note_notice(life: SystemLife, text: str) -> bool:
    """Keep a notice that was not told yet; return whether it is one."""
    if hash(text) in life.noticed or len(life.noticed) > MOST_NOTICES:
        return False
    if len(life.noticed) == MOST_NOTICES:
        text = f"system {life.record.system_id} has more to say, which is not shown"
    life.noticed.add(hash(text))
    life.notices.append(text)
    return True


def failure_result(type_name: str, message: str) -> list[Any]:
    """Return the result of a system that failed, as ENDED carries it."""
    return [int(Outcome.RAISED), list(Failure(type_name, message)), None]
