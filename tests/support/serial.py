"""Run a task system in this thread, in any order, without a node.

A second way to an example's answer: nothing of the scheduler, the wire or the
processes takes part. Tasks and results go through pickle, as they would on the way.
"""

from __future__ import annotations

import logging
import pickle
import random
import traceback
from typing import TYPE_CHECKING, Any

from concurro import StalledSystemError, TaskError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from concurro import Task, TaskSystem


class SerialMaster:
    """An `IMaster` that keeps what was pushed, reported and published."""

    num_workers = 1
    slaves = ()

    def __init__(self, system_id: str, seed: int) -> None:
        self.system_id = system_id
        self.log = logging.getLogger(f"tests.serial.{system_id}")
        self.random = random.Random(seed)
        self.pushed: list[Task] = []
        self.cancelled: set[str] = set()
        self.progress: list[tuple[int, int | None, str]] = []
        self.published: list[Any] = []
        self.count = 0

    def push_task(self, task: Task) -> str:
        """Keep the task until its turn."""
        self.count += 1
        task.task_id = f"{self.system_id}:{self.count}"
        task.system_id = self.system_id
        self.pushed.append(task)
        return task.task_id

    def push_tasks(self, tasks: Iterable[Task]) -> list[str]:
        """Keep the tasks until their turn."""
        return [self.push_task(task) for task in tasks]

    def cancel_task(self, task_id: str) -> None:
        """Remember that the task must not run."""
        self.cancelled.add(task_id)

    def report_progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Remember the report."""
        self.progress.append((done, total, message))

    def publish(self, value: object) -> None:
        """Remember the partial result."""
        self.published.append(value)

    def now(self) -> float:
        """Return a time that only ever is later by one second per task [s]."""
        return float(self.count)


def run_serially(system: TaskSystem, *, seed: int = 0, shuffle: bool = False) -> tuple[Any, Any]:
    """Return what `gather_result` returns.

    Args:
        system: The system; a pickled copy of it runs.
        seed: Of `master.random`, and of the order when `shuffle` is set.
        shuffle: Generate a whole round before its tasks finish, in random order.

    Raises:
        StalledSystemError: A round yielded nothing although the system is not complete.
    """
    system = pickle.loads(pickle.dumps(system))
    master = SerialMaster(system.system_id, seed)
    order = random.Random(seed)
    system.init_system(master)
    while True:
        before = master.count
        tasks = iter(system.generate_tasks(master) or ())
        exhausted = False
        while not exhausted or master.pushed:
            while not exhausted and (shuffle or not master.pushed):
                task = next(tasks, None)
                exhausted = task is None
                if task is not None:
                    master.push_task(task)
            if not master.pushed:
                break
            task = master.pushed.pop(order.randrange(len(master.pushed)) if shuffle else 0)
            result, error = _attempt(task, cancelled=task.task_id in master.cancelled)
            task.finished(result, error)
            system.task_finished(master, task, result, error)
            if system.is_complete(master):
                return system.gather_result(master)
        if system.is_complete(master):
            return system.gather_result(master)
        if master.count == before:
            message = f"{type(system).__name__} is not complete, and a whole round yielded no task"
            raise StalledSystemError(message)


def _attempt(task: Task, *, cancelled: bool) -> tuple[Any, TaskError | None]:
    """Execute a copy of the task, as a worker would."""
    if cancelled:
        return None, TaskError(task.task_id, "TaskCancelled", "cancelled")
    copy = pickle.loads(pickle.dumps(task))
    try:
        result = copy()
    except Exception as error:  # noqa: BLE001 - whatever a task raises is its outcome
        return None, TaskError(task.task_id, type(error).__name__, str(error), traceback.format_exc(), None, 1, error)
    finally:
        copy.clean_up()
    return pickle.loads(pickle.dumps(result)), None
