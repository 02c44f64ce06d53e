"""Run a task object in this very process."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from concurro.errors import TaskError
from concurro.execution.inside import Wall, behind
from concurro.wire.failures import describe

if TYPE_CHECKING:
    from concurro.task import Task


_NO_WAY = Wall(
    "current_application() was called by a task that runs in the very process of its task manager, which has no way to "
    "a master; use the task manager process-pool of a slave, or ApplicationNode(master) for a running master"
)


def run_here(task: Task, slave_id: str) -> tuple[Any, TaskError | None]:
    """Run a task to its end; return result and error.

    It is tried again as often as its `max_retries` says.

    Sets `slave_id`, `attempt` and `duration` of the task. Nothing else that the task raises is raised.

    Raises:
        KeyboardInterrupt: In the main thread, where it is the user's.
    """
    task.slave_id = slave_id or None
    while True:
        task.attempt += 1
        start = time.perf_counter()
        result, raised = attempt_here(task)
        task.attempt_duration = time.perf_counter() - start
        if raised is None:
            return result, None
        if task.max_retries is None or task.attempt > task.max_retries:
            return None, error_of(task, raised)


def attempt_here(task: Task) -> tuple[Any, BaseException | None]:
    """Call a task once and clean up; return result and what it raised.

    Raises:
        KeyboardInterrupt: In the main thread, where it is the user's. The task has cleaned up.
    """
    raised: BaseException | None = None
    result = None
    try:
        with behind(_NO_WAY):
            result = task()
    except BaseException as error:  # noqa: BLE001 - a task may raise anything; SystemExit is a failure too
        raised = error
    try:
        task.clean_up()
    except BaseException as error:  # noqa: BLE001 - code of users, which may raise anything
        raised = error if raised is None or is_users_interrupt(error) else raised
    if raised is not None and is_users_interrupt(raised):
        raise raised
    return (None, raised) if raised is not None else (result, None)


def is_users_interrupt(error: BaseException) -> bool:
    """Say whether somebody pressed Ctrl-C, as far as can be known.

    Only the main thread hears it, and not in a node: its own handler takes the signal.
    """
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


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
