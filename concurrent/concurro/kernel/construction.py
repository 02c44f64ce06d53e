"""Build one component, whatever its constructor looks like."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from concurro.config.options import options_of
from concurro.kernel.components import Component

if TYPE_CHECKING:
    from concurro.kernel.environment import Environment


def build(factory: type[Any], environment: Environment) -> object:
    """Return an instance that knows its environment.

    A `Component` knows it before its constructor runs, so that options may be read there. A
    constructor is given the environment if it has a positional argument for it.

    Raises:
        ConfigError: An option has a value that it does not allow.
    """
    arguments = (environment,) if _takes_environment(factory) else ()
    if not issubclass(factory, Component):
        return factory(*arguments)
    for option in options_of(factory).values():
        environment.config.value(factory.name, option)
    component = factory.__new__(factory)
    component.env = environment
    # A component is built like any object, in two steps with a third between them.
    component.__init__(*arguments)  # type: ignore[misc]
    return component


def constructor_parameters(factory: type[Any]) -> list[inspect.Parameter]:
    """Return the parameters that a caller of a class may give.

    A `__new__` that takes anything says less than the `__init__` beside it.
    """
    method = inspect.getattr_static(factory, "__init__")
    constructor: Any = factory if method is object.__init__ else method
    try:
        parameters = list(inspect.signature(constructor).parameters.values())
    except (TypeError, ValueError):
        return []  # implemented in C without a signature
    return parameters if constructor is factory else parameters[1:]


def _takes_environment(factory: type[Any]) -> bool:
    parameters = constructor_parameters(factory)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if issubclass(factory, Component):
        return bool(positional) or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    # Any other class gets it only when it cannot do without.
    return bool(positional) and positional[0].default is inspect.Parameter.empty
