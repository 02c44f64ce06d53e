"""What a component is made of: its base class and its extension points."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

from concurro.config import Config
from concurro.config.options import StrOption
from concurro.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concurro.kernel.environment import Environment

I = TypeVar("I")  # noqa: E741 - an interface


class Component:
    """A part that decides something, found by the kernel and chosen by name.

    Declare its interfaces with `@implementer`, give it a `name`, write its options as
    class attributes. The environment is known before `__init__` runs, whatever its
    signature; without one (a unit test's `FastestFirst()`) options have their defaults.

    Attributes:
        name: How a file names it; kebab-case. Also the name of its table of options.
        offered_on: Kinds of environment that may use it; empty for all.
        env: The environment that built it; None without one.
    """

    name: ClassVar[str] = ""
    offered_on: ClassVar[Sequence[str]] = ()
    env: Environment | None = None

    def __init__(self, env: Environment | None = None) -> None:
        if env is not None:
            self.env = env

    @property
    def config(self) -> Config:
        """The settings in force."""
        return Config.empty() if self.env is None else self.env.config

    @property
    def log(self) -> logging.Logger:
        """The logger `concurro.<name>`."""
        return logging.getLogger(f"concurro.{self.name or type(self).__name__}")


class ExtensionPoint(Generic[I]):
    """All enabled implementations of an interface, as an attribute.

    The value is a tuple in order of name. One that is broken is left out and logged.
    """

    def __init__(self, interface: type[I]) -> None:
        self.interface = interface
        self.attribute = ""

    def __set_name__(self, owner: type, name: str) -> None:
        """Remember the attribute's name."""
        self.attribute = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> tuple[I, ...]: ...

    def __get__(self, instance: Any, owner: type) -> Self | tuple[I, ...]:
        """Return the implementations, built on first use."""
        if instance is None:
            return self
        components = _environment_of(instance, self.attribute).get_all(self.interface)
        instance.__dict__[self.attribute] = components
        return components


class Selected(Generic[I]):
    """The implementation that an option names, as an attribute.

    Attributes:
        interface: What it must provide.
        option_key: `table.key` of the option that names it.
        default: The name when nothing is set; None for the option's own default.
    """

    def __init__(self, interface: type[I], option_key: str, default: str | None = None) -> None:
        self.interface = interface
        self.option_key = option_key
        self.default = default
        self.attribute = ""

    def __set_name__(self, owner: type, name: str) -> None:
        """Remember the attribute's name."""
        self.attribute = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> I: ...

    def __get__(self, instance: Any, owner: type) -> Self | I:
        """Return the implementation, built on first use."""
        if instance is None:
            return self
        environment = _environment_of(instance, self.attribute)
        component = environment.selected(self.interface, self.option_key, self.default)
        instance.__dict__[self.attribute] = component
        return component


Dependency = Selected[Any] | ExtensionPoint[Any]


def dependencies_of(factory: type) -> list[Dependency]:
    """Return what a class selects, bases first: the edges of the static graph."""
    found: dict[str, Dependency] = {}
    for parent in reversed(factory.__mro__):
        for attribute, value in vars(parent).items():
            if isinstance(value, Selected | ExtensionPoint):
                found[attribute] = value
            else:
                found.pop(attribute, None)
    return list(found.values())


def choices_of(factory: type) -> list[tuple[str, StrOption]]:
    """Return the options that name what a class selects, each with its table.

    But for those that have no default here: another class has the option.
    """
    choices = []
    for dependency in dependencies_of(factory):
        if isinstance(dependency, Selected) and dependency.default is not None:
            table, _, key = dependency.option_key.partition(".")
            choice = StrOption(dependency.default, f"Name of the {dependency.interface.__name__} that is used.")
            choice.name = key
            choices.append((table, choice))
    return choices


def _environment_of(component: Any, attribute: str) -> Environment:
    environment: Environment | None = getattr(component, "env", None)
    if environment is None:
        message = (
            f"{type(component).__name__}.{attribute} needs an environment, and this one was built without; "
            "get it from an Environment, or assign the attribute"
        )
        raise ComponentError(message)
    return environment
