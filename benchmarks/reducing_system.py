"""A system that reduces what its tasks return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro import Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError

RESULT_SIZE = 1_000
"""Bytes of a result [B]."""


class MakeBytes(Task):
    """Return some bytes."""

    def __init__(self, number: int) -> None:
        super().__init__("make")
        self.number = number

    def __call__(self) -> bytes:
        """Return them; they differ from task to task."""
        return self.number.to_bytes(8, "big") * (RESULT_SIZE // 8)


class ReducingSystem(TaskSystem):
    """Add the lengths of `count` results."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.seen = 0
        self.total = 0

    def generate_tasks(self, master: IMaster) -> Iterator[MakeBytes]:
        """Generate the tasks lazily."""
        return (MakeBytes(number) for number in range(self.count))

    def task_finished(self, master: IMaster, task: Task, result: bytes, error: TaskError | None) -> None:
        """Add the length."""
        if error is not None:
            raise error
        self.total += len(result)
        self.seen += 1

    def is_complete(self, master: IMaster) -> bool:
        """Stop after the last task."""
        return self.seen == self.count

    def gather_result(self, master: IMaster) -> tuple[int, None]:
        """Return the sum of lengths."""
        return self.total, None
