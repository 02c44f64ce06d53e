"""What every task manager keeps: which tasks are open, and the results."""

from __future__ import annotations

import itertools
import queue
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from concurro.errors import ClosedError, TaskCancelled
from concurro.execution.in_process import is_users_interrupt
from concurro.ids import format_task_id
from concurro.kernel import Component
from concurro.task import Task, check_task

if TYPE_CHECKING:
    from concurro.errors import TaskError


class PooledTasks(Component):
    """The half of an ITaskManager that does not run anything. Thread-safe."""

    def __init__(self) -> None:
        super().__init__()
        self.identity = ""
        self.address = ""
        self._manager_id = str(uuid.uuid4())
        self._numbers = itertools.count(1)
        self._open: dict[str, Task] = {}
        self._changed = threading.Condition()
        self._results: queue.Queue[tuple[Task, Any, TaskError | None]] = queue.Queue()
        self._accepts = False

    def init(self, identity: str, address: str) -> None:
        """Learn whose manager this is. Both texts may be empty."""
        self.identity = identity
        self.address = address

    def create_task(self, task_class: type[Task], *args: Any, **kwargs: Any) -> Task:
        """Return `task_class(*args, **kwargs)` with a unique `task_id`."""
        task = check_task(task_class(*args, **kwargs))
        task.task_id = self._new_id()
        return task

    def get_results_queue(self) -> queue.Queue[tuple[Task, Any, TaskError | None]]:
        """Return the queue of `(task, result, error)`."""
        return self._results

    def task_finished(self, task: Task, result: Any, error: TaskError | None) -> None:
        """Notice a final task, in a thread of the pool; for subclasses."""

    def wait_for_all(self, timeout: float | None = None) -> None:
        """Wait until every pushed task is final.

        Raises:
            TimeoutError: After `timeout` seconds [s].
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._open:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    message = f"{len(self._open)} tasks of {self.name} were not final after {timeout:g} s"
                    raise TimeoutError(message)
                self._changed.wait(left)

    def _new_id(self) -> str:
        return format_task_id(self._manager_id, next(self._numbers))

    def _admit(self, task: Task) -> str:
        """Take a task as open; return its id.

        Raises:
            InvalidTaskError: It is not a usable task.
            ClosedError: The manager takes nothing: not started, draining, or stopped.
            ValueError: A task of that id is open already.
        """
        check_task(task)
        with self._changed:
            if not self._accepts:
                message = f"{self.name} takes no task: it was not started, drains or is stopped"
                raise ClosedError(message)
            if task.task_id is None:
                task.task_id = self._new_id()
            if task.task_id in self._open:
                message = f"task {task.task_id} was pushed already and is not final"
                raise ValueError(message)
            self._open[task.task_id] = task
            return task.task_id

    def _withdraw(self, task_id: str) -> Task | None:
        """Make a task not open, without a result; None when it was not."""
        with self._changed:
            task = self._open.pop(task_id, None)
            self._changed.notify_all()
            return task

    def _finish(self, task_id: str, result: Any, error: TaskError | None) -> bool:
        """Make a task final; return False when it was already."""
        with self._changed:
            task = self._open.get(task_id)
            if task is None:
                return False
            # Others see it as final from here on; `wait_for_all` waits until it is queued.
            self._open[task_id] = _TAKEN
            if task is _TAKEN:
                return False
        try:
            self.task_finished(task, result, error)
        except BaseException as raised:
            # A subclass may raise anything, exits included, in a thread that others need.
            if is_users_interrupt(raised):
                raise
            self.log.exception("task_finished of %s raised for task %s", type(self).__name__, task_id)
        finally:
            with self._changed:
                self._results.put((task, result, error))
                del self._open[task_id]
                self._changed.notify_all()
        return True

    def _cancelled(self, task_id: str, reason: str) -> TaskCancelled:
        return TaskCancelled(task_id, "TaskCancelled", reason)

    def _cancel_open(self, reason: str) -> None:
        """End every open task as cancelled."""
        for task_id in list(self._open):
            self._finish(task_id, None, self._cancelled(task_id, reason))


_TAKEN = Task("taken")


def check_workers(num_workers: int) -> int:
    """Return the number.

    Raises:
        ValueError: Fewer than one.
    """
    if num_workers < 1:
        message = f"a pool has at least 1 worker, got {num_workers}"
        raise ValueError(message)
    return num_workers
