"""Jobs for a simulated cluster, which know what must come of them.

    SimulatedJob: tasks by their plans, round by round; counts what is said of each
       task_finished twice for one task, or for one that was never emitted --> `faults`
       gather_result --> {number: value}, {number: type of the error}, faults

What a job saw is part of its own state, so after a recovery it is what the surviving history says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from concurro.system import TaskSystem
from concurro.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro.errors import TaskError
    from concurro.interfaces import IMaster


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """What a task does.

    Attributes:
        seconds: What it takes [s].
        behaviour: `plain`, `raises`, `poison` (takes its worker with it), `large` (a result that is a blob).
        max_retries: Its own.
        priority: Its own.
        requires: Resource name to amount, as pairs.
        pushes: How many plain tasks the job pushes when it has finished.
        timeout: Its own [s].
    """

    seconds: float = 0.01
    behaviour: str = "plain"
    max_retries: int | None = None
    priority: int = 0
    requires: tuple[tuple[str, float], ...] = ()
    pushes: int = 0
    timeout: float | None = None


class SimulatedFailureError(Exception):
    """What a task raises that is to fail."""


class SimulatedTask(Task):
    """A task that takes virtual time; whoever runs it looks at its plan."""

    def __init__(self, place: int, plan: TaskPlan) -> None:
        super().__init__(
            f"task-{place}",
            priority=plan.priority,
            max_retries=plan.max_retries,
            timeout=plan.timeout,
            requires=dict(plan.requires) or None,
        )
        self.place = place
        self.plan = plan

    def __call__(self) -> Any:
        """Return what follows from its place."""
        if self.plan.behaviour == "raises":
            message = f"task {self.place} fails, as planned"
            raise SimulatedFailureError(message)
        value = value_of(self.place)
        return bytes(LARGE) + value.to_bytes(8, "big") if self.plan.behaviour == "large" else value


LARGE = 80_000
"""Bytes of a result that travels as a blob [B]."""


def value_of(place: int) -> int:
    """Return what the task of that place must give."""
    return place * place + 1


class SimulatedJob(TaskSystem):
    """A job of planned tasks.

    Args:
        rounds: The plans of each round.
        publishes: Whether it publishes of each task whether it went well.
        enough: Complete after so many finished tasks; None for all.

    Attributes:
        seen: Place to how often it was said to have finished.
        faults: What must not have happened, in words.
    """

    def __init__(self, rounds: list[list[TaskPlan]], *, publishes: bool = False, enough: int | None = None) -> None:
        super().__init__()
        self.rounds = rounds
        self.publishes = publishes
        self.enough = enough
        self.places = 0
        self.round = 0
        self.seen: dict[int, int] = {}
        self.values: dict[int, Any] = {}
        self.errors: dict[int, tuple[str, int, int | None]] = {}
        self.faults: list[str] = []
        self.inside = False

    def generate_tasks(self, master: IMaster) -> Iterator[Task]:
        """Yield the tasks of the next round."""
        del master
        plans = self.rounds[self.round] if self.round < len(self.rounds) else []
        self.round += 1
        for plan in plans:
            yield self._make(plan)

    def task_finished(self, master: IMaster, task: Task, result: Any, error: TaskError | None) -> None:
        """Note what is said; push what the plan says."""
        assert isinstance(task, SimulatedTask)  # noqa: S101 - it emits no others
        if self.inside:
            self.faults.append(f"task_finished of place {task.place} came inside another")
        self.inside = True
        place = task.place
        self.seen[place] = self.seen.get(place, 0) + 1
        if self.seen[place] > 1:
            self.faults.append(f"place {place} finished {self.seen[place]} times")
        if error is None:
            self.values[place] = int.from_bytes(result[-8:], "big") if isinstance(result, bytes) else result
        else:
            self.errors[place] = (error.type_name, error.attempt, task.plan.max_retries)
        for _ in range(task.plan.pushes):
            master.push_task(self._make(TaskPlan(task.plan.seconds)))
        if self.publishes:
            master.publish((place, error is None))
        master.report_progress(len(self.seen))
        self.inside = False

    def is_complete(self, master: IMaster) -> bool:
        """Say whether every task of every round, or enough of them, finished."""
        del master
        if self.enough is not None and len(self.seen) >= self.enough:
            return True
        return self.round >= len(self.rounds) and len(self.seen) == self.places

    def gather_result(self, master: IMaster) -> tuple[Any, Any]:
        """Return what came of each task."""
        del master
        return (self.values, self.errors, self.faults, self.places), None

    def _make(self, plan: TaskPlan) -> SimulatedTask:
        self.places += 1
        return SimulatedTask(self.places - 1, plan)
