"""The contract suite: does a component keep what its interface says?

Use it in a test of your own:

    def test_keeps_its_contract():
        check_component(FastestFirst)
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

from concurro.config.options import options_of
from concurro.errors import ComponentError, ContractError
from concurro.interfaces import ILifecycle, ITaskManager, ITaskScheduler, ITaskScheduleStrategy, ITaskSystem
from concurro.kernel import Environment
from concurro.kernel.construction import build
from concurro.kernel.contracts import class_faults, object_faults, place_of
from concurro.kernel.discovery import declarations_of
from concurro.testing.scheduler_behaviour import scheduler_faults
from concurro.testing.strategy_behaviour import strategy_faults
from concurro.testing.system_behaviour import system_faults
from concurro.testing.task_manager_behaviour import task_manager_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BEHAVIOUR: Final[Mapping[Any, Callable[[Any], list[str]]]] = {
    ITaskScheduleStrategy: strategy_faults,
    ITaskScheduler: scheduler_faults,
    ITaskManager: task_manager_faults,
    ITaskSystem: system_faults,
}


def check_component(cls: type[Any], interface: type[Any] | None = None) -> None:
    """Check a component: its declaration, options, methods and behaviour.

    Strategies and schedulers run against stand-ins of slaves; a task manager runs some
    tasks for real, so its workers are started and stopped. Of a task system only the class
    is looked at, for its parameters are unknown.

    Args:
        cls: The component's class.
        interface: What it must keep; None for every interface that it declares.

    Raises:
        ContractError: It lists all faults.
    """
    faults = _class_faults(cls, interface)
    if not faults:
        for each in [interface] if interface is not None else _interfaces(cls):
            faults += _behaviour_faults(cls, each)
    if faults:
        name = getattr(cls, "__name__", repr(cls))
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        message = f"{name} does not keep its contract, {count}:"
        raise ContractError(message, faults)


def _class_faults(cls: Any, interface: type[Any] | None) -> list[str]:
    faults: list[str] = []
    interfaces: list[type[Any]] = []
    try:
        interfaces = _interfaces(cls)
    except ComponentError as error:
        faults.append(str(error))
    if not isinstance(cls, type):
        return faults
    if interface is not None and interface not in interfaces:
        interfaces.append(interface)
    for each in interfaces:
        faults += class_faults(each, cls)
    if ILifecycle.implementedBy(cls):
        faults += class_faults(ILifecycle, cls)
    for key, option in options_of(cls).items():
        if not option.documentation:
            faults.append(f"{place_of(cls)}: option {key!r} has no documentation")
        try:
            option.convert(option.default)
        except ValueError as error:
            faults.append(f"{place_of(cls)}: option {key!r} has the default {option.default!r}: {error}")
    return faults


def _behaviour_faults(cls: type[Any], interface: type[Any]) -> list[str]:
    if interface is ITaskSystem:
        return _BEHAVIOUR[interface](cls)
    environment = Environment({}, kind="inline")
    try:
        component: Any = build(cls, environment)
        faults = object_faults(interface, component)
        behaviour = _BEHAVIOUR.get(interface)
        return faults if faults or behaviour is None else behaviour(component)
    except Exception as error:  # noqa: BLE001 - whatever the component raises is what is wrong with it
        return [f"{_place_in(error, cls)}: {cls.__name__} raised {type(error).__name__}: {error}"]


def _interfaces(cls: type[Any]) -> list[type[Any]]:
    return [declaration.interface for declaration in declarations_of(cls, place_of(cls))]


def _place_in(error: BaseException, cls: type[Any]) -> str:
    """Return the last line of the component's own file in a traceback."""
    own = place_of(cls).rpartition(":")[0]
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    return f"{own}:{lines[-1].lineno}" if lines else place_of(cls)
