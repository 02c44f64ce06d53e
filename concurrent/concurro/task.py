"""A task: a callable object with a payload.

A task is made beside its system, its state travels to a worker, is called there, and the
result travels back. What all instances leave alone costs nothing: the fields below are
class attributes, and an instance holds only what it was given.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from concurro.errors import InvalidTaskError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

    from concurro.errors import TaskError

RUNTIME_FIELDS = frozenset({"task_id", "system_id", "client_id", "slave_id", "attempt", "attempt_duration"})
"""What the nodes fill in; it does not travel with a task's state."""


class Task:
    """One piece of work.

    Subclasses keep their arguments as attributes, call `super().__init__(name)` and write
    `__call__`. The keyword fields may also be class attributes; a field left at its default
    takes the class attribute. A worker's changes to its copy are not sent back.

    Args:
        name: What people see of it.
        system_id: The system that it belongs to; filled in when it is emitted.
        client_id: The application that pushed it; filled in when it is pushed.
        priority: Higher runs earlier, among the tasks of its own system (int).
        timeout: How long an attempt may take, above 0, `clean_up` included [s]; None for no limit.
        max_retries: How often a failed attempt is tried again (int, 0 or more). None: a raised
            exception, a timeout or a memory kill is final, a lost worker is tried again. 0: at
            most once.
        requires: Resource name to amount above 0, e.g. `{"gpu": 0.5}`; see `[slave] resources`.

    Attributes:
        task_id: `<system_id>:<number>`; None before the task is emitted or pushed.
        slave_id: The slave of the last attempt; None before the first.
        attempt: Number of the attempt, from 1; 0 before the first.
        attempt_duration: What the last attempt took [s].
    """

    name: str
    task_id: str | None = None
    system_id: str | None = None
    client_id: str | None = None
    slave_id: str | None = None
    attempt: int = 0
    attempt_duration: float | None = None

    priority: int = 0
    timeout: float | None = None
    max_retries: int | None = None
    requires: Mapping[str, float] | None = None

    def __init__(  # noqa: PLR0913 - the fixed public signature
        self,
        name: str,
        system_id: str | None = None,
        client_id: str | None = None,
        *,
        priority: int = 0,
        timeout: float | None = None,
        max_retries: int | None = None,
        requires: Mapping[str, float] | None = None,
    ) -> None:
        self.name = name
        if system_id is not None:
            self.system_id = system_id
        if client_id is not None:
            self.client_id = client_id
        if priority != 0:
            self.priority = priority
        if timeout is not None:
            self.timeout = timeout
        if max_retries is not None:
            self.max_retries = max_retries
        if requires is not None:
            self.requires = requires

    def __call__(self) -> Any:
        """Do the work, on a worker.

        An exception is the task's failure; so are `SystemExit` and `KeyboardInterrupt`.

        Returns:
            The result; it must pickle.
        """
        message = f"{type(self).__qualname__}.__call__ is not written: it does the task's work"
        raise NotImplementedError(message)

    def clean_up(self) -> None:
        """Tidy up on the worker after `__call__`, also after a failure.

        Not called when the attempt was killed. An exception here is the task's failure.
        """

    def finished(self, result: Any, error: TaskError | None) -> None:
        """Take the result where the task was made.

        Called once, before `task_finished` of its system, on the object that was emitted or
        pushed, with `slave_id`, `attempt` and `attempt_duration` filled in. `error` is None, or a
        `TaskError` and `result` None.
        """

    def __repr__(self) -> str:
        which = f" {self.task_id}" if self.task_id else ""
        return f"<{type(self).__qualname__} {getattr(self, 'name', '?')!r}{which}>"


def check_task(value: object) -> Task:
    """Return `value` when it is a task that can be emitted.

    Raises:
        InvalidTaskError: It is no task, it was not initialised, or a field has no usable value.
    """
    if not isinstance(value, Task):
        hint = "; the class was given, not an instance" if isinstance(value, type) and issubclass(value, Task) else ""
        message = f"expected a Task, got {_shown(value)}{hint}"
        raise InvalidTaskError(message)
    try:
        name = value.name
    except AttributeError:
        cls = type(value).__qualname__
        message = (
            f"a {cls} has no name: {cls}.__init__ must call super().__init__(name) (in a dataclass, from __post_init__)"
        )
        raise InvalidTaskError(message) from None
    if (
        name.__class__ is str
        and value.priority.__class__ is int
        and value.timeout is None
        and value.max_retries is None
        and value.requires is None
    ):
        return value
    _check_fields(value)
    return value


def each_task(tasks: Iterable[Any]) -> Iterator[Any]:
    """Return an iterator over tasks that are to be pushed.

    Raises:
        InvalidTaskError: They cannot be iterated over; a single task was given, perhaps.
    """
    try:
        return iter(tasks)
    except TypeError:
        hint = "; for a single task there is push_task" if isinstance(tasks, Task) else ""
        message = f"push_tasks takes an iterable of tasks, got {_shown(tasks)}{hint}"
        raise InvalidTaskError(message) from None


def task_class_key(task: Task) -> Hashable:
    """Return what the tasks of one `TaskClass` have in common."""
    requires = task.requires
    frozen = frozenset(requires.items()) if requires else None
    return (task.__class__, task.priority, task.timeout, task.max_retries, frozen)


def _check_fields(task: Task) -> None:
    def refuse(field: str, expected: str) -> None:
        message = f"{task!r}: {field} must be {expected}, got {_shown(getattr(task, field))}"
        raise InvalidTaskError(message)

    name: object = task.name
    if not isinstance(name, str):
        refuse("name", "a str")
    if not isinstance(task.priority, int) or isinstance(task.priority, bool):
        refuse("priority", "an int")
    if task.timeout is not None and not _is_positive(task.timeout):
        refuse("timeout", "a number of seconds above 0, or None")
    retries = task.max_retries
    if retries is not None and (not isinstance(retries, int) or isinstance(retries, bool) or retries < 0):
        refuse("max_retries", "an int of 0 or more, or None")
    if task.requires is not None and not _is_amounts(task.requires):
        refuse("requires", 'a dict of resource names to amounts above 0, e.g. {"gpu": 1}, or None')


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value) and value > 0


def _is_amounts(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and name.strip() != "" and _is_positive(amount) for name, amount in value.items()
    )


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a broken __repr__ must not hide the real fault
        text = "?"
    limit = 80
    shown = text if len(text) <= limit else text[: limit - 3] + "..."
    return f"{shown} ({type(value).__qualname__})"
