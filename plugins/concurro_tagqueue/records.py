"""Records of a task manager: tasks, processes, those who wait, counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from concurro_tagqueue.lines import Choice


class TagCounts(NamedTuple):
    """How many tasks of a tag there are.

    Attributes:
        waiting: For somebody who takes them.
        running: Handed out, with no result yet.
        finished: With a result, or an exception, that nobody has taken.
    """

    waiting: int
    running: int
    finished: int


class LabelRecord(NamedTuple):
    """A task manager of a master, and what is in it.

    Attributes:
        label: Its name.
        waiting: Number of tasks that wait, by tag.
        running: Of those that run.
        finished: Of results that nobody has taken.
        processes: What each registered process said of itself, by id.
        terminated: Whether it was terminated.
    """

    label: str
    waiting: dict[str, int]
    running: dict[str, int]
    finished: dict[str, int]
    processes: dict[int, str]
    terminated: bool


class State(Enum):
    """Where a task is."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    TAKEN = "taken"
    """Its result was handed out, and who took it has not said yet that it came."""


@dataclass(slots=True, eq=False)
class TaggedTask:
    """A task request, from its making until its result was taken.

    Attributes:
        task_id: Its name.
        tag: Who handles it.
        parameters: What is to be done; nobody looks at it here.
        priority: The highest goes first.
        requester: Process that made it; None for one that did not say.
        state: Where it is.
        place: Orders those of equal priority, the lowest first.
        handed_out: How often it was.
        process_id: Process that runs it; None for one that did not say.
        session: Connection to which it, or its result, was handed out; None in process.
        losses: How often who ran it was gone.
        raised: Whether it ended by an exception.
        given_up: Whether it did since too many who ran it were gone.
        result: What was stored.
    """

    task_id: str
    tag: str
    parameters: Any
    priority: int = 0
    requester: int | None = None
    state: State = State.WAITING
    place: int = 0
    handed_out: int = 0
    process_id: int | None = None
    session: str | None = None
    losses: int = 0
    raised: bool = False
    given_up: bool = False
    result: Any = None

    @property
    def may_come_late(self) -> bool:
        """Whether somebody may run it who does not hold it any more."""
        return self.handed_out > 1 or self.given_up


@dataclass(slots=True, eq=False)
class Process:
    """A registered process.

    Attributes:
        process_id: Its number.
        info: What it says of itself.
        period: It pings so often [s]; None for never.
        deadline: It is gone then, without a ping [s].
        session: Connection that registered it; None in process.
        running: The tasks that it runs, by id, the oldest first.
    """

    process_id: int
    info: str
    period: float | None
    deadline: float
    session: str | None = None
    running: dict[str, TaggedTask] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"process {self.process_id} ({self.info or 'which said nothing of itself'})"


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for a task, a result, or other counts.

    Attributes:
        choice: Of which tags.
        process_id: Process for which a task is taken; None for one that did not say.
        session: Connection that waits; None in process.
        seen: The counts that are known already.
        number: Its place in line.
        over: Whether it waits no more.
        task: What it got.
        counts: What it got.
        error: Why it got nothing.
    """

    choice: Choice
    process_id: int | None = None
    session: str | None = None
    seen: TagCounts | None = None
    number: int = 0
    over: bool = False
    task: TaggedTask | None = None
    counts: TagCounts | None = None
    error: Exception | None = None
