"""Write an application as a subclass, in two styles.

Shows an application that hands in a task system and is told the result, and one that
pushes tasks of its own and is told about each. Both run against a master when its
address is given, else on an embedded cluster.

    python examples/application_node.py
    python examples/application_node.py tcp://127.0.0.1:8081
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from concurro import ApplicationNode, Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError


class Cube(Task):
    """Compute the third power of a number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"cube-{number}")
        self.number = number

    def __call__(self) -> int:
        """Return the cube."""
        return self.number**3


class SumOfCubes(TaskSystem):
    """Add the cubes of the numbers below `count`."""

    def __init__(self, count: int = 100) -> None:
        super().__init__()
        self.count = count
        self.done = 0
        self.total = 0

    def generate_tasks(self, master: IMaster) -> Iterator[Cube]:
        """Generate a task per number."""
        return (Cube(number) for number in range(self.count))

    def task_finished(self, master: IMaster, task: Task, result: int, error: TaskError | None) -> None:
        """Add the cube."""
        if error is not None:
            raise error
        self.total += result
        self.done += 1

    def is_complete(self, master: IMaster) -> bool:
        """Stop after the last number."""
        return self.done == self.count

    def gather_result(self, master: IMaster) -> tuple[int, None]:
        """Return the sum."""
        return self.total, None


class SystemApplication(ApplicationNode):
    """Hand in a task system; `main` returns after `work_finished`."""

    answer: int | None = None

    def get_task_system(self) -> TaskSystem:
        """Return the system to submit."""
        return SumOfCubes(100)

    def work_finished(self, result: tuple[Any, Any], system_id: str) -> None:
        """Keep what the system gathered."""
        total, error = result
        if error is None:
            self.answer = total


class PushingApplication(ApplicationNode):
    """Push tasks without a system; `main` returns after `shutdown`."""

    count = 100
    done = 0
    answer = 0

    def get_task_system(self) -> None:
        """Say that there is no system, so that `start_processing` is called."""
        return

    def start_processing(self) -> None:
        """Push every task."""
        self.push_tasks([Cube(number) for number in range(self.count)])

    def task_finished(self, task: Task, result: int, error: TaskError | None) -> None:
        """Add the cube; leave after the last one."""
        if error is None:
            self.answer += result
        self.done += 1
        if self.done == self.count:
            self.shutdown()


if __name__ == "__main__":
    master = sys.argv[1] if len(sys.argv) > 1 else None
    for application_class in (SystemApplication, PushingApplication):
        with application_class(master) as application:
            application.main()
            print(application_class.__name__, application.answer)
