"""What runs on the far machine; its classes travel there."""

from __future__ import annotations

from typing import Any

from concurro import Task, TaskSystem


def add_one(value: Any) -> Any:
    """Return as many bytes, and others."""
    return value + 1


class Reader(Task):
    """Reads an array."""

    def __init__(self, array: Any, number: int) -> None:
        super().__init__(f"reader-{number}")
        self.array = array

    def __call__(self) -> float:
        return float(self.array.sum())


class Readers(TaskSystem):
    """Lets many tasks read one array."""

    def __init__(self, array: Any, count: int) -> None:
        super().__init__()
        self.array = array
        self.count = count
        self.done = 0
        self.total = 0.0

    def generate_tasks(self, master):
        return (Reader(self.array, number) for number in range(self.count))

    def task_finished(self, master, task, result, error):
        if error is not None:
            raise error
        self.total += result
        self.done += 1

    def is_complete(self, master):
        return self.done == self.count

    def gather_result(self, master):
        return (self.total, self.done), None
