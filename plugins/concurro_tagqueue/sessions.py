"""Connections to a task manager of a master, and their answers. Pure.

A session is one `TaskManagerProxy`, whatever lines it has spoken through. It numbers its requests, and
each is done once: one that comes again, since the line was lost with its answer, is answered again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from concurro_tagqueue.records import TaggedTask, Waiter

INLINE = 1024 * 1024
"""Largest value that travels in one message; what is larger comes in parts of that size [B]."""


GIVEN_UP = 2
"""In place of whether a task raised: its result is the reason why it was given up, as text."""


class Status(IntEnum):
    """How a request ended, as it travels."""

    OK = 0
    FAILED = 1


class Form(IntEnum):
    """What an answer is made of, as the journal has it."""

    PLAIN = 0
    TASK = 1
    RESULT = 2
    TASKS = 3
    VALUE = 4


@dataclass(slots=True, eq=False)
class Answer:
    """What a request was answered, or will be.

    Attributes:
        session: Who asked.
        number: Of the request.
        keeps: Whether the request changes anything, and so is written down.
        lasts: Whether what it did outlives the session.
        form: What it is made of.
        value: What travels; the parts of a value.
        tasks: Those that it hands over.
        over: Whether it is known.
        there: Whether it may be told: what it says is on disk.
        failed: Whether it is an error.
        waiter: Who waits for it in the core; None when nobody does.
        timer: Ends the wait.
        futures: Those who want it.
    """

    session: Session
    number: int
    keeps: bool = True
    lasts: bool = True
    form: Form = Form.PLAIN
    value: Any = None
    tasks: list[TaggedTask] = field(default_factory=list)
    over: bool = False
    there: bool = False
    failed: bool = False
    waiter: Waiter | None = None
    timer: Any = None
    futures: list[Future[Any]] = field(default_factory=list)

    def say(self, value: Any = None, form: Form = Form.PLAIN) -> None:
        """Be a value."""
        self.value, self.form, self.over = value, form, True

    def hand(self, form: Form, *tasks: TaggedTask) -> None:
        """Be some tasks."""
        self.form, self.tasks, self.over = form, list(tasks), True

    def fail(self, error: Exception) -> None:
        """Be an error: its class, its text, the fact that it keeps."""
        fact = next((value for value in vars(error).values() if isinstance(value, str | int)), None)
        self.say([type(error).__name__, str(error), fact])
        self.failed = True

    def row(self) -> list[Any]:
        """Return it as the journal has it: tasks by id."""
        value = self.value if self.form is Form.PLAIN else [task.task_id for task in self.tasks]
        return [int(self.form), value, self.lasts]

    def parts(self) -> list[bytes]:
        """Return the parts of its large value; none when it has none."""
        if self.form is Form.VALUE:
            found: list[bytes] = self.value
            return found
        if self.form not in (Form.TASK, Form.RESULT):
            return []
        task = self.tasks[0]
        return (task.result if self.form is Form.RESULT else task.parameters) or []

    def message(self) -> list[Any]:
        """Return it as it travels."""
        status = int(Status.FAILED if self.failed else Status.OK)
        if self.form is Form.PLAIN:
            return [status, self.value]
        if self.form is Form.VALUE:
            return [status, carried(self.value)]
        if self.form is Form.TASKS:
            return [status, [[task.task_id, task.parameters] for task in self.tasks]]
        task = self.tasks[0]
        ending: bool | int = GIVEN_UP if task.given_up else task.raised
        return [status, [task.task_id, task.tag, ending, carried(self.parts())]]


@dataclass(slots=True, eq=False)
class Session:
    """A connection.

    Attributes:
        name: Its id.
        peer: Who speaks for it; None while nobody does.
        answers: What was answered, by number; what has arrived is forgotten.
        ahead: Parts of large values that were sent ahead of their request, by its number.
        essential: Whether the task manager ends with it.
        since: When it ended [s]; None while it lives.
        low: All answers below it have arrived.
    """

    name: str
    peer: Any = None
    answers: dict[int, Answer] = field(default_factory=dict)
    ahead: dict[int, list[bytes]] = field(default_factory=dict)
    essential: bool = False
    since: float | None = None
    low: int = 0

    def arrived(self, low: int, came: Sequence[int] = ()) -> list[Answer]:
        """Forget the answers below a number, and to some more requests.

        They have arrived; return them.
        """
        for number in [number for number in self.ahead if number < low]:
            del self.ahead[number]
        passed: Iterable[int] = range(self.low, low)  # numbers follow each other: no look at those that stay
        if low - self.low > len(self.answers):
            passed = [number for number in self.answers if number < low]
        self.low = max(self.low, low)
        return [self.answers.pop(number) for number in (*passed, *came) if number in self.answers]


def carried(parts: list[bytes]) -> bytes | int:
    """Return a value as it travels: all of it, or the number of its parts."""
    return parts[0] if len(parts) == 1 else len(parts)


def split(packed: bytes) -> list[bytes]:
    """Return a value in parts; small ones have one."""
    if len(packed) <= INLINE:
        return [packed]
    return [packed[start : start + INLINE] for start in range(0, len(packed), INLINE)]
