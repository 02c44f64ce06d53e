"""The task that does nothing, in every form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro import Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError


def noop(number: int) -> int:
    """Return the argument."""
    return number


class Noop(Task):
    """Do nothing."""

    def __call__(self) -> None:
        """Return nothing."""


class NoopSystem(TaskSystem):
    """Generate `count` tasks, and see each finish."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.seen = 0

    def generate_tasks(self, master: IMaster) -> Iterator[Noop]:
        """Generate the tasks lazily."""
        return (Noop("noop") for _ in range(self.count))

    def task_finished(self, master: IMaster, task: Task, result: None, error: TaskError | None) -> None:
        """Count the task."""
        if error is not None:
            raise error
        self.seen += 1

    def is_complete(self, master: IMaster) -> bool:
        """Stop after the last task."""
        return self.seen == self.count

    def gather_result(self, master: IMaster) -> tuple[int, None]:
        """Return how many tasks were seen."""
        return self.seen, None
