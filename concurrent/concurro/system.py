"""A task system: the base class of every job."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NoReturn

from concurro.interfaces import ITaskSystem, implementer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from concurro.errors import TaskError
    from concurro.interfaces import IMaster
    from concurro.task import Task


@implementer(ITaskSystem)
class TaskSystem:
    """A job that decides as it goes; `ITaskSystem` has the contract.

    `class Job(ITaskSystem)` and `class Job(TaskSystem)` are the same thing. The second is
    what a type checker understands.

    Attributes:
        system_id: Unique id, made with the object, so that submitting it twice is harmless.
            A subclass that forgets `super().__init__()` has one as well.
        speculate: Whether straggler copies of its tasks may run; the first result wins.
        save_failed: A folder on the machine of the master, in which its first 20 failures are
            saved for `concurrent replay`; empty for none.
    """

    speculate = False
    save_failed = ""
    system_id: str

    def __new__(cls, *args: Any, **kwargs: Any) -> TaskSystem:  # noqa: ARG004, PYI034 - the arguments are __init__'s; Self is what __init__ sees anyway
        """Make the system with its id; no subclass can forget it."""
        system = super().__new__(cls)
        system.system_id = str(uuid.uuid4())
        return system

    def __init__(self) -> None:
        """Take nothing. Subclasses take their parameters."""

    def init_system(self, master: IMaster) -> None:
        """Do nothing."""

    def get_system_id(self) -> str:
        """Return `system_id`."""
        return self.system_id

    def generate_tasks(self, master: IMaster) -> Iterable[Task] | None:  # noqa: ARG002
        """Refuse: a job must say what its tasks are."""
        self._refuse("generate_tasks")

    def task_finished(self, master: IMaster, task: Task, result: Any, error: TaskError | None) -> None:  # noqa: ARG002
        """Refuse: a job must look at its results."""
        self._refuse("task_finished")

    def gather_result(self, master: IMaster) -> tuple[Any, Any]:  # noqa: ARG002
        """Refuse: a job must have a result."""
        self._refuse("gather_result")

    def is_complete(self, master: IMaster) -> bool:  # noqa: ARG002
        """Refuse: a job must know when it has finished."""
        self._refuse("is_complete")

    def _refuse(self, method: str) -> NoReturn:
        message = f"{type(self).__qualname__}.{method} is not written; ITaskSystem says what it must do"
        raise NotImplementedError(message)
