"""Task classes of which no more tasks come.

An application that pushes tasks for days may use a new class for each: another priority, or
code that has changed. It says now and then which it has forgotten; so do we.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concurro.records import SystemRecord


def forget_classes(scheduler: Any, system: SystemRecord, numbers: Sequence[int]) -> None:
    """Forget classes of a system, but those that open tasks still have.

    Args:
        scheduler: Told by `classes_forgotten(system, numbers)`, if it has that.
        system: Whose they are.
        numbers: Of the classes; unknown ones are ignored.
    """
    if not numbers:
        return
    used = {task.task_class.number for task in system.open.values()}
    gone = [number for number in numbers if number in system.classes and number not in used]
    for number in gone:
        system.told |= system.classes.pop(number).told
    alike = {one.slave_number for one in system.classes.values()}
    for key in [key for key, kin in system.kinds.items() if kin.slave_number not in alike]:
        del system.kinds[key]
    hook = getattr(scheduler, "classes_forgotten", None)
    if hook is not None:
        hook(system, gone)
