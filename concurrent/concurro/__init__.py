"""Batch jobs that decide as they go: the public names.

Each is imported from its module when it is first used, so that a worker or a slave
pays for nothing that it does not need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurro.config import (
        AddressOption,
        BoolOption,
        Config,
        DurationOption,
        FloatOption,
        IntOption,
        ListOption,
        PathOption,
        SizeOption,
        StrOption,
    )
    from concurro.interfaces import (
        Attribute,
        ICommandGroup,
        ILifecycle,
        IMaster,
        IMasterService,
        Interface,
        ISchedulerHost,
        ITaskManager,
        ITaskScheduler,
        ITaskScheduleStrategy,
        ITaskSystem,
        IWorkerService,
        implementer,
    )
    from concurro.kernel import Component, Environment, ExtensionPoint, Selected
    from concurro.system import TaskSystem
    from concurro.task import Task

_MODULES = {
    "concurro.interfaces": (
        "Attribute ICommandGroup ILifecycle IMaster IMasterService ISchedulerHost ITaskManager ITaskScheduleStrategy "
        "ITaskScheduler ITaskSystem IWorkerService Interface implementer"
    ),
    "concurro.config": (
        "AddressOption BoolOption Config DurationOption FloatOption IntOption ListOption PathOption SizeOption StrOption"
    ),
    "concurro.kernel": "Component Environment ExtensionPoint Selected",
    "concurro.system": "TaskSystem",
    "concurro.task": "Task",
}

_WHERE = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "AddressOption",
    "Attribute",
    "BoolOption",
    "Component",
    "Config",
    "DurationOption",
    "Environment",
    "ExtensionPoint",
    "FloatOption",
    "ICommandGroup",
    "ILifecycle",
    "IMaster",
    "IMasterService",
    "ISchedulerHost",
    "ITaskManager",
    "ITaskScheduleStrategy",
    "ITaskScheduler",
    "ITaskSystem",
    "IWorkerService",
    "IntOption",
    "Interface",
    "ListOption",
    "PathOption",
    "Selected",
    "SizeOption",
    "StrOption",
    "Task",
    "TaskSystem",
    "implementer",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _WHERE:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value
