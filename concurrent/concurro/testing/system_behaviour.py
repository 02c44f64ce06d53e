"""What can be said of a task system without running it."""

from __future__ import annotations

import inspect
from typing import Any, Final

from concurro.kernel.contracts import place_of
from concurro.system import TaskSystem

_MUST_BE_WRITTEN: Final = ("generate_tasks", "task_finished", "gather_result", "is_complete")


def system_faults(cls: type[Any]) -> list[str]:
    """Return which of the four callbacks a task system leaves unwritten."""
    return [
        f"{place_of(cls)}: {cls.__name__}.{method} is not written"
        for method in _MUST_BE_WRITTEN
        if inspect.getattr_static(cls, method, None) is inspect.getattr_static(TaskSystem, method)
    ]
