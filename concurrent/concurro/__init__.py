"""Concurrent: batch jobs that decide as they go.

Floor plan, from the ground up; imports point down only:

    errors, interfaces,          the words that everybody uses
    ids, records
    kernel/, config/             components and settings
    task, system, wire/          a job as it is written, and as it travels
    scheduling/, transport/      decisions (pure), links between processes
    journal/                     what is kept on disk
    execution/                   workers: launcher, slave core, task managers
    nodes/                       master, slave, application, system host, local cluster
    executor, cli/, testing      what people touch

Start with `interfaces.py`, then `nodes/master.py` and `scheduling/core.py`. The names below
are the public API; nodes and the executor are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from concurro import errors as _errors
from concurro.errors import *  # noqa: F403 - the error tree is public as a whole
from concurro.interfaces import (
    Attribute,
    ICommandGroup,
    ILifecycle,
    IMaster,
    IMasterService,
    IMasterServiceHost,
    Interface,
    ISchedulerHost,
    IServicePeer,
    ITaskManager,
    ITaskScheduler,
    ITaskScheduleStrategy,
    ITaskSystem,
    IWorkerService,
    IWorkerServiceHost,
    implementer,
)
from concurro.system import TaskSystem
from concurro.task import Task

if TYPE_CHECKING:
    from concurro.cli.asking import asked_master, master_options
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
    from concurro.executor import ClusterExecutor
    from concurro.kernel import Component, Environment, ExtensionPoint, Selected
    from concurro.nodes.application import ApplicationNode
    from concurro.nodes.cluster import LocalCluster
    from concurro.nodes.finding import find_master
    from concurro.nodes.handle import SystemHandle
    from concurro.nodes.master import MasterNode
    from concurro.nodes.nested import current_application, when_application
    from concurro.nodes.service_proxy import ServiceProxy
    from concurro.nodes.slave import SlaveNode
    from concurro.nodes.streams import as_completed
    from concurro.wire.parcels import Parcel

__version__ = "0.1.0"

_LATER = {
    "AddressOption": "config",
    "ApplicationNode": "nodes.application",
    "BoolOption": "config",
    "ClusterExecutor": "executor",
    "Component": "kernel",
    "Config": "config",
    "DurationOption": "config",
    "Environment": "kernel",
    "ExtensionPoint": "kernel",
    "FloatOption": "config",
    "IntOption": "config",
    "ListOption": "config",
    "LocalCluster": "nodes.cluster",
    "MasterNode": "nodes.master",
    "Parcel": "wire.parcels",
    "PathOption": "config",
    "Selected": "kernel",
    "ServiceProxy": "nodes.service_proxy",
    "SizeOption": "config",
    "SlaveNode": "nodes.slave",
    "StrOption": "config",
    "SystemHandle": "nodes.handle",
    "as_completed": "nodes.streams",
    "asked_master": "cli.asking",
    "current_application": "nodes.nested",
    "find_master": "nodes.finding",
    "master_options": "cli.asking",
    "when_application": "nodes.nested",
}

_ERROR_NAMES = sorted(
    name
    for name, value in vars(_errors).items()
    if isinstance(value, type) and issubclass(value, _errors.ConcurroError)
)

__all__ = [  # noqa: PLE0604 - the error names are strings too, taken from their module
    "AddressOption",
    "ApplicationNode",
    "Attribute",
    "BoolOption",
    "ClusterExecutor",
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
    "IMasterServiceHost",
    "ISchedulerHost",
    "IServicePeer",
    "ITaskManager",
    "ITaskScheduleStrategy",
    "ITaskScheduler",
    "ITaskSystem",
    "IWorkerService",
    "IWorkerServiceHost",
    "IntOption",
    "Interface",
    "ListOption",
    "LocalCluster",
    "MasterNode",
    "Parcel",
    "PathOption",
    "Selected",
    "ServiceProxy",
    "SizeOption",
    "SlaveNode",
    "StrOption",
    "SystemHandle",
    "Task",
    "TaskSystem",
    "as_completed",
    "asked_master",
    "current_application",
    "find_master",
    "implementer",
    "master_options",
    "when_application",
    *_ERROR_NAMES,
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for.

    A job's file needs little.
    """
    if name not in _LATER:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names too that were not imported yet."""
    return sorted({*globals(), *__all__})
