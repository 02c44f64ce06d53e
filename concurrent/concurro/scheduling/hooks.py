"""What a scheduler may have beyond its interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.records import TaskRecord


def hook_for_many(scheduler: Any) -> Callable[[list[TaskRecord]], None] | None:
    """Return what takes many tasks that are done, if a scheduler has it.

    Where a subclass has a `task_finished` of its own, that is called for each.
    """
    for cls in type(scheduler).__mro__:
        if "tasks_done" in vars(cls):
            hook: Callable[[list[TaskRecord]], None] = scheduler.tasks_done
            return hook
        if "task_finished" in vars(cls):
            break
    return None
