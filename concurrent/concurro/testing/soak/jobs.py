"""Task systems of every awkward kind, each with its right result.

A task that a fault took too often is pushed again, so that a sum is exact however many
workers died. Only tasks that may run once are given up, and then the system says so.
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Any

from concurro.nodes.nested import current_application
from concurro.system import TaskSystem
from concurro.testing.soak.tasks import Exits, Number, Prints, Refuses, Reverses, Sleeper, Traced, again

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concurro.errors import TaskError
    from concurro.interfaces import IMaster
    from concurro.task import Task

LOST = "WorkerLost"
"""What a task is told that was running when a fault struck."""

ENDLESS = 600.0
"""How long a task sleeps that its timeout ends [s]."""

LONG = 5.0
"""How long a task sleeps that may be cancelled meanwhile [s]."""

SLEEPERS = 2
"""So many of them has a system."""


class SoakSystem(TaskSystem):
    """Adds what its tasks give; one that was lost is pushed again.

    Attributes:
        total: The sum.
        seen: How many tasks have ended for good.
        wanted: How many have to.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.wanted = count
        self.total = 0
        self.seen = 0
        self.lost = 0

    @property
    def expected(self) -> Any:
        """What must come out."""
        return sum(range(self.count))

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Yield the numbers, lazily, with what the system is by then."""
        for number in range(self.count):
            yield Number(number, 0.02 if self.seen % 2 else 0.0)

    def task_finished(self, master: IMaster, task: Task, result: Any, error: TaskError | None) -> None:
        """Take an end."""
        if error is not None and error.type_name == LOST and task.max_retries != 0:
            self.lost += 1
            master.push_task(again(task))
            return
        self.seen += 1
        if error is None:
            self.take(master, task, result)
        else:
            self.take_error(master, task, error)

    def take(self, master: IMaster, task: Task, result: Any) -> None:  # noqa: ARG002
        """Take a result."""
        self.total += result

    def take_error(self, master: IMaster, task: Task, error: TaskError) -> None:  # noqa: ARG002
        """Take an error that no fault explains."""
        raise error

    def is_complete(self, master: IMaster) -> bool:  # noqa: ARG002
        """Say whether every task has ended."""
        return self.seen == self.wanted

    def gather_result(self, master: IMaster) -> tuple[Any, Any]:  # noqa: ARG002
        """Give the sum."""
        return self.total, None


class Squares(SoakSystem):
    """Publishes the number of each task as it ends."""

    def take(self, master: IMaster, task: Task, result: Any) -> None:
        """Take a result."""
        super().take(master, task, result)
        master.publish(result)
        master.report_progress(self.seen, self.wanted)


class NoOps(SoakSystem):
    """Has many tasks that take no time."""

    def generate_tasks(self, master: IMaster) -> Iterator[Task]:  # noqa: ARG002
        """Yield the numbers."""
        return map(Number, range(self.count))


class Tree(SoakSystem):
    """Pushes two tasks for each that ended, from its callback."""

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Return the root."""
        return [Number(0, 0.01)]

    def take(self, master: IMaster, task: Task, result: Any) -> None:
        """Take a result; push its children."""
        super().take(master, task, result)
        for child in (2 * result + 1, 2 * result + 2):
            if child < self.count:
                master.push_task(Number(child, 0.01, priority=child % 3))


class Rounds(SoakSystem):
    """Generates a few tasks at a time, which depend on the last ones."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.begun = 0

    @property
    def expected(self) -> Any:
        """What must come out."""
        total = 0
        for _ in range(self.count):
            total += sum(total % 7 + number for number in range(4))
        return total

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Return the tasks of a round."""
        self.begun += 1
        return [Number(self.total % 7 + number) for number in range(4)]

    def is_complete(self, master: IMaster) -> bool:  # noqa: ARG002
        """Say whether it was the last round."""
        return self.seen == 4 * self.count


class Draws(SoakSystem):
    """Lets tasks give back what chance and the clock gave to its callbacks."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.drawn: list[Any] = []
        self.given: list[Any] = []

    @property
    def expected(self) -> Any:
        """What must come out."""
        return True

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:
        """Return the first; each that ends brings the next."""
        return [self._draw(master)]

    def _draw(self, master: IMaster) -> Task:
        drawn = master.random.random(), master.now()
        self.drawn.append(drawn)
        return Number(drawn)  # type: ignore[arg-type]

    def take(self, master: IMaster, task: Task, result: Any) -> None:  # noqa: ARG002
        """Take a result; draw once more."""
        self.given.append(tuple(result))
        if self.seen < self.count:
            master.push_task(self._draw(master))

    def gather_result(self, master: IMaster) -> tuple[Any, Any]:  # noqa: ARG002
        """Say whether everything that was drawn came back."""
        return self.drawn == self.given, None


class Strings(SoakSystem):
    """Keeps its tasks in a set of strings: each process has its order."""

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Yield the numbers in the order of the set."""
        names = {f"name-{number}" for number in range(self.count)}
        for name in names:
            yield Number(int(name.rpartition("-")[2]))


class Large(SoakSystem):
    """Has large arguments and results.

    Args:
        count: How many tasks.
        seed: Of their content.
        most: Largest size of one [B].
    """

    def __init__(self, count: int, seed: int, most: int) -> None:
        super().__init__(count)
        self.seed = seed
        self.most = most

    @property
    def expected(self) -> Any:
        """What must come out."""
        return sum(_digest(content[::-1]) for content in self._contents())

    def _contents(self) -> Iterator[bytes]:
        chance = random.Random(self.seed)
        for _ in range(self.count):
            yield chance.randbytes(int(self.most ** chance.random()))

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Yield one by one."""
        for content in self._contents():
            yield Reverses(content)

    def take(self, master: IMaster, task: Task, result: Any) -> None:  # noqa: ARG002
        """Add a digest of the result."""
        self.total += _digest(result)


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=6).digest(), "big")


class Once(SoakSystem):
    """Has tasks that run once at most; each leaves a line in a file.

    Args:
        count: How many.
        path: The file.
    """

    def __init__(self, count: int, path: str) -> None:
        super().__init__(count)
        self.path = path
        self.done: list[int] = []
        self.given_up: list[int] = []

    @property
    def expected(self) -> Any:
        """What must come out: see `fault_of_once`."""
        return None

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Yield the tasks."""
        for number in range(self.count):
            yield Traced(number, 0.03, self.path, max_retries=0)

    def take(self, master: IMaster, task: Task, result: Any) -> None:  # noqa: ARG002
        """Note that it ran."""
        self.done.append(result)

    def take_error(self, master: IMaster, task: Task, error: TaskError) -> None:  # noqa: ARG002
        """Note that nobody knows whether it ran."""
        if error.type_name != LOST or not isinstance(task, Number):
            raise error
        self.given_up.append(task.number)

    def gather_result(self, master: IMaster) -> tuple[Any, Any]:  # noqa: ARG002
        """Give both lists."""
        return (sorted(self.done), sorted(self.given_up)), None


class Picky(SoakSystem):
    """Has tasks of several priorities, some of which need a tool."""

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Yield the tasks."""
        for number in range(self.count):
            requires = {"tool": 1} if number % 4 == 0 else None
            yield Number(number, 0.01, priority=number % 5, requires=requires)


class Cancelling(SoakSystem):
    """Cancels two long tasks, which run or wait, once the others have ended."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.wanted += SLEEPERS
        self.sleepers: dict[int, str] = {}
        self.woken: list[int] = []

    @property
    def expected(self) -> Any:
        """What must come out."""
        return sum(range(self.count)), sorted(-1 - number for number in range(SLEEPERS))

    def init_system(self, master: IMaster) -> None:
        """Push those that take long."""
        for number in range(SLEEPERS):
            self._push(master, Number(-1 - number, LONG, priority=1 - number))

    def _push(self, master: IMaster, task: Number) -> None:
        self.sleepers[task.number] = master.push_task(task)

    def task_finished(self, master: IMaster, task: Task, result: Any, error: TaskError | None) -> None:
        """Take an end."""
        if not isinstance(task, Number) or task.number >= 0:
            super().task_finished(master, task, result, error)
        elif error is not None and error.type_name == LOST and self.seen < self.count:
            self._push(master, again(task))
        elif error is not None and error.type_name not in (LOST, "TaskCancelled"):
            raise error
        else:
            self.woken.append(task.number)
            self.seen += 1
        if self.seen >= self.count:
            for task_id in self.sleepers.values():
                master.cancel_task(task_id)

    def gather_result(self, master: IMaster) -> tuple[Any, Any]:  # noqa: ARG002
        """Give the sum, and the long ones, each of which ended once."""
        return (self.total, sorted(self.woken)), None


class Leaving(SoakSystem):
    """Is complete while tasks run that take long: these are killed."""

    def init_system(self, master: IMaster) -> None:
        """Push those."""
        master.push_tasks([Sleeper(-1, LONG), Sleeper(-2, LONG)])

    def task_finished(self, master: IMaster, task: Task, result: Any, error: TaskError | None) -> None:
        """Take an end of what counts."""
        if not isinstance(task, Sleeper):
            super().task_finished(master, task, result, error)


class Refusing(SoakSystem):
    """Has tasks that fail each time."""

    @property
    def expected(self) -> Any:
        """What must come out."""
        return self.count

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Yield tasks that raise."""
        for number in range(self.count):
            yield Refuses(number, max_retries=None if number % 2 else 2)

    def task_finished(self, master: IMaster, task: Task, result: Any, error: TaskError | None) -> None:
        """Count the errors; being lost uses retries up as well."""
        if error is not None and error.type_name == LOST and not task.max_retries:
            super().task_finished(master, task, result, error)
            return
        self.seen += 1
        if error is None or (error.type_name != LOST and "is refused" not in str(error)):
            message = f"{task!r} ended with {result!r}, {error!r}"
            raise RuntimeError(message)
        self.total += 1


class Exiting(SoakSystem):
    """Has a task that ends its worker each time, among others that do not."""

    @property
    def expected(self) -> Any:
        """What must come out."""
        return sum(range(self.count)), 1

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.wanted += 1
        self.exited = 0

    def init_system(self, master: IMaster) -> None:
        """Push the one."""
        master.push_task(Exits(-1))

    def task_finished(self, master: IMaster, task: Task, result: Any, error: TaskError | None) -> None:
        """Take an end."""
        if isinstance(task, Exits):
            if error is None or error.type_name != LOST:
                message = f"{task!r} ended with {result!r}, {error!r}"
                raise RuntimeError(message)
            self.exited += 1
            self.seen += 1
            return
        super().task_finished(master, task, result, error)

    def gather_result(self, master: IMaster) -> tuple[Any, Any]:  # noqa: ARG002
        """Give sum and count."""
        return (self.total, self.exited), None


class Late(SoakSystem):
    """Has tasks that take longer than they may."""

    @property
    def expected(self) -> Any:
        """What must come out."""
        return self.count

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Yield tasks that sleep."""
        for number in range(self.count):
            yield Number(number, ENDLESS, timeout=0.3)

    def take(self, master: IMaster, task: Task, result: Any) -> None:  # noqa: ARG002
        """Refuse a result."""
        message = f"{task!r} ended although it sleeps for ever"
        raise RuntimeError(message)

    def take_error(self, master: IMaster, task: Task, error: TaskError) -> None:  # noqa: ARG002
        """Count the errors."""
        if error.type_name != "TaskTimeout":
            raise error
        self.total += 1


class Printing(SoakSystem):
    """Has tasks that print."""

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Yield them."""
        return map(Prints, range(self.count))


class Asks(Number):
    """Runs a system of its own and waits for it."""

    def __call__(self) -> Any:
        """Run a system."""
        return current_application().run(Squares(self.number), timeout=ENDLESS)


class Asking(SoakSystem):
    """Has tasks that run systems."""

    @property
    def expected(self) -> Any:
        """What must come out."""
        return sum(sum(range(number)) for number in range(1, self.count + 1))

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Yield them."""
        for number in range(1, self.count + 1):
            yield Asks(number)

    def take_error(self, master: IMaster, task: Task, error: TaskError) -> None:
        """Ask again when the host of what it asked was killed."""
        if error.type_name != "HostLost":
            raise error
        self.seen -= 1
        master.push_task(again(task))


class Speculating(SoakSystem):
    """May have copies of tasks that take long."""

    speculate = True

    def generate_tasks(self, master: IMaster) -> Iterable[Task]:  # noqa: ARG002
        """Yield tasks, a long one at the end."""
        for number in range(self.count):
            yield Number(number, 1.0 if number == self.count - 1 else 0.01)
