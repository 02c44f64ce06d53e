"""The tasks of W6 as a task system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.plain_work import spin
from concurro import Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError


class Spin(Task):
    """Occupy a worker."""

    def __init__(self, seconds: float) -> None:
        super().__init__("spin")
        self.seconds = seconds

    def __call__(self) -> None:
        """Spin."""
        spin(self.seconds)


class SpinningSystem(TaskSystem):
    """Generate `count` tasks, and see each finish."""

    def __init__(self, count: int, seconds: float) -> None:
        super().__init__()
        self.count = count
        self.seconds = seconds
        self.seen = 0

    def generate_tasks(self, master: IMaster) -> Iterator[Spin]:
        """Generate the tasks lazily."""
        return (Spin(self.seconds) for _ in range(self.count))

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
