"""Run a task object in this very process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from concurro.errors import TaskError
from concurro.wire.failures import describe

if TYPE_CHECKING:
    from concurro.task import Task


def run_here(task: Task, slave_id: str) -> tuple[Any, TaskError | None]:
    """Run a task to its end; return result and error.

    It is tried again as often as its `max_retries` says.

    Sets `slave_id`, `attempt` and `duration` of the task. Raises nothing that the task raises,
    but for KeyboardInterrupt in the main thread, where it is the user's.
    """
    task.slave_id = slave_id or None
    while True:
        task.attempt += 1
        start = time.perf_counter()
        result, raised = attempt_here(task)
        task.duration = time.perf_counter() - start
        if raised is None:
            return result, None
        if task.max_retries is None or task.attempt > task.max_retries:
            return None, error_of(task, raised)


def attempt_here(task: Task) -> tuple[Any, BaseException | None]:
    """Call a task once and clean up; return result and what it raised."""
    raised: BaseException | None = None
    result = None
    try:
        result = task()
    except BaseException as error:  # noqa: BLE001 - a task may raise anything; SystemExit is a failure too
        raised = error
    try:
        task.clean_up()
    except BaseException as error:  # noqa: BLE001 - code of users, which may raise anything
        raised = raised or error
    return (None, raised) if raised is not None else (result, None)


def error_of(task: Task, raised: BaseException) -> TaskError:
    """Return the error of a task that raised."""
    failure = describe(raised, trim=1)
    return TaskError(
        task.task_id,
        failure.type_name,
        failure.message,
        failure.traceback,
        task.slave_id,
        task.attempt,
        raised,
    )
