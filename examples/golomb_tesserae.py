"""Optimal Golomb rulers: branch and bound, its tasks sharing their best length through a tessera.

    tasks --offer(length)--> Bound --best()--> tasks: what cannot be shorter is not searched

The shortest rulers with 4 to 7 marks have the lengths 6, 11, 17 and 25.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from concurro import ITaskSystem, Task
from concurro_tessera import Runtime, opened, tessera

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError


@tessera
class Bound:
    """The shortest ruler that any task has found."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.marks: list[int] = []

    def best(self) -> int:
        """Return its length."""
        return self.length

    def offer(self, marks: list[int]) -> int:
        """Take a ruler when it is shorter; return the best length."""
        if marks[-1] < self.length:
            self.length, self.marks = marks[-1], marks
        return self.length


class Search(Task):
    """Extends one beginning of a ruler in every way."""

    def __init__(self, first: int, order: int, bound: Bound) -> None:
        super().__init__(f"golomb-{order}-{first}")
        self.first = first
        self.order = order
        self.bound = bound

    def __call__(self) -> None:
        """Search; what is found goes to the bound."""
        self.best = self.bound.best().get(30)
        self.extend([0, self.first], {self.first})

    def extend(self, marks: list[int], distances: set[int]) -> None:
        """Place the next mark in every way that may lead to a shorter ruler."""
        if len(marks) == self.order:
            self.best = self.bound.offer(marks).get(30)
            return
        left = self.order - len(marks)
        for mark in range(marks[-1] + 1, self.best - left * (left - 1) // 2):
            new = {mark - other for other in marks}
            if len(new) == len(marks) and not new & distances:
                self.extend([*marks, mark], distances | new)


class Golomb(ITaskSystem):
    """Finds the shortest ruler with so many marks."""

    def __init__(self, order: int, bound: Bound) -> None:
        super().__init__()
        self.order = order
        self.bound = bound
        self.open = 0

    def generate_tasks(self, master: IMaster) -> Iterator[Task]:
        """Yield a task for each place of the second mark."""
        self.open = 2 ** (self.order - 2)
        return (Search(first, self.order, self.bound) for first in range(1, self.open + 1))

    def task_finished(self, master: IMaster, task: Task, result: None, error: TaskError | None) -> None:
        """Count; a failure ends it."""
        if error is not None:
            raise error
        self.open -= 1

    def is_complete(self, master: IMaster) -> bool:
        """Say whether every beginning was searched."""
        return self.open == 0

    def gather_result(self, master: IMaster) -> tuple[int, None]:
        """Return the shortest length."""
        return self.bound.best().get(30), None


def shortest(order: int, runtime: Runtime) -> int:
    """Return the length of the shortest ruler with so many marks."""
    bound = Bound.remote(2**order)
    length: int = runtime.application.run(Golomb(order, bound), timeout=60)
    return length


if __name__ == "__main__":
    with opened(workers=2) as runtime:
        for order in map(int, sys.argv[1:] or ["4", "5", "6"]):
            print(order, shortest(order, runtime))
