"""The mixed work of W13 as a task system."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.mixed_work import work
from concurro import Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError


class MixedTask(Task):
    """Work for a time that nobody is told before."""

    def __init__(self, seconds: float) -> None:
        super().__init__("mixed")
        self.seconds = seconds

    def __call__(self) -> float:
        """Return what it took [s]."""
        return work(self.seconds)


class MixedSystem(TaskSystem):
    """Run tasks of these durations [s], all of one class."""

    def __init__(self, durations: list[float]) -> None:
        super().__init__()
        self.durations = durations
        self.works: list[float] = []
        self.started = 0.0
        self.ended = 0.0

    def init_system(self, master: IMaster) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def generate_tasks(self, master: IMaster) -> Iterator[MixedTask]:
        """Generate the tasks in this order."""
        return (MixedTask(seconds) for seconds in self.durations)

    def task_finished(self, master: IMaster, task: Task, result: float, error: TaskError | None) -> None:
        """Note what it took; the last one stops the clock."""
        if error is not None:
            raise error
        self.works.append(result)
        if len(self.works) == len(self.durations):
            self.ended = time.monotonic()

    def is_complete(self, master: IMaster) -> bool:
        """Stop after the last task."""
        return len(self.works) == len(self.durations)

    def gather_result(self, master: IMaster) -> tuple[tuple[list[float], float], None]:
        """Return what each task took, and what all did together [s]."""
        return (self.works, self.ended - self.started), None
