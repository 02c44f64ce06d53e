"""The system whose tasks all read one array, as its user would write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.plain_work import read_part
from concurro import Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError


class ReadPart(Task):
    """Read a part of an array."""

    def __init__(self, array: Any, number: int) -> None:
        super().__init__("read")
        self.array = array
        self.number = number

    def __call__(self) -> float:
        """Return the sum of the part."""
        return read_part(self.array, self.number)


class ReadingSystem(TaskSystem):
    """Hold the array; give it to each task."""

    def __init__(self, array: Any, count: int) -> None:
        super().__init__()
        self.array = array
        self.count = count
        self.seen = 0
        self.total = 0.0

    def generate_tasks(self, master: IMaster) -> Iterator[ReadPart]:
        """Generate the tasks lazily."""
        return (ReadPart(self.array, number) for number in range(self.count))

    def task_finished(self, master: IMaster, task: Task, result: float, error: TaskError | None) -> None:
        """Add what was read."""
        if error is not None:
            raise error
        self.total += result
        self.seen += 1

    def is_complete(self, master: IMaster) -> bool:
        """Stop after the last task."""
        return self.seen == self.count

    def gather_result(self, master: IMaster) -> tuple[tuple[int, float], None]:
        """Return how many read, and the sum."""
        return (self.seen, self.total), None
