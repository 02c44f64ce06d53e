"""The task manager that runs tasks where they are pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.execution.in_process import run_here
from concurro.execution.pooled_tasks import PooledTasks, check_workers
from concurro.interfaces import ITaskManager, implementer

if TYPE_CHECKING:
    from concurro.task import Task


@implementer(ITaskManager)
class InlineTasks(PooledTasks):
    """Runs each task inside `push_task`, in the caller's thread.

    Nothing is pickled, a task's changes to itself stay, `timeout` is not enforced, and a task
    that raises is tried again at once when `max_retries` says so. For debugging.
    """

    name = "inline"

    def get_num_workers(self) -> int:
        """Return 1."""
        return 1

    def start(self) -> None:
        """Take tasks from now on."""
        self._accepts = True

    def stop(self) -> None:
        """Take no more tasks. Idempotent."""
        self._accepts = False
        self._cancel_open("the task manager was stopped")

    def update_pool(self, num_workers: int) -> None:
        """Check the number; there is always one.

        Raises:
            ValueError: Fewer than one.
        """
        check_workers(num_workers)

    def push_task(self, task: Task) -> None:
        """Run the task now.

        Raises:
            InvalidTaskError: It is not a usable task.
            ClosedError: The manager takes nothing.
            KeyboardInterrupt: The user's; the task is final, as cancelled.
        """
        task_id = self._admit(task)
        try:
            result, error = run_here(task, self.identity)
        except KeyboardInterrupt:
            self._finish(task_id, None, self._cancelled(task_id, "interrupted"))
            raise
        self._finish(task_id, result, error)

    def cancel(self, task_id: str) -> bool:
        """Cancel a task that another thread runs; its result is dropped."""
        return self._finish(task_id, None, self._cancelled(task_id, "cancelled"))

    def drain(self) -> list[Task]:
        """Take nothing new; nothing ever waits here."""
        self._accepts = False
        return []
