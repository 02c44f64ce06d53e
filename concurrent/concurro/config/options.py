"""Options: settings with a default, a type, constraints and a text.

An option is a descriptor. On a component it reads the table that is named as the
component; the core's own tables are in `core_options`.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar, overload

from concurro.config.addresses import parse_address
from concurro.config.quantities import parse_duration, parse_size
from concurro.errors import AddressError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")


def refuse(reason: str) -> NoReturn:
    """Say why a value is not allowed; the config adds which value, and where.

    Raises:
        ValueError: Always.
    """
    raise ValueError(reason)


class Option(Generic[T]):
    """One setting.

    Attributes:
        kind: What a file writes for it, for people.
        error: What a wrong value raises.
        default: The default, written as in a file.
        documentation: One or two sentences; the unit in brackets, e.g. `[s]`.
        choices: The values that are allowed; empty for all.
        name: Its key; the attribute's name.
    """

    kind: ClassVar[str] = "value"
    error: ClassVar[type[ConfigError]] = ConfigError

    def __init__(self, default: object, documentation: str = "", *, choices: Sequence[T] = ()) -> None:
        self.default = default
        self.documentation = documentation
        self.choices = tuple(choices)
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the attribute's name as the key."""
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: Any, owner: type) -> Self | T:
        """Return the option of a class, or the value for an instance.

        A value is read once per instance and then is a plain attribute: no cost in hot
        loops, and a test may assign another one.

        Raises:
            ConfigError: The value in force is not one that the option allows.
        """
        if instance is None:
            return self
        value: T = instance.config.value(instance.name, self)
        instance.__dict__[self.name] = value
        return value

    def convert(self, value: object) -> T:
        """Return the typed value of what a file or a program gave.

        Raises:
            ValueError: It is not one that the option allows; the text says why.
        """
        converted = self._convert(value)
        if self.choices and converted not in self.choices:
            choices = ", ".join(str(choice) for choice in self.choices)
            refuse(f"is not one of {choices}")
        return converted

    def parse(self, text: str) -> T:
        """Return the typed value of a text from the environment or command line.

        Raises:
            ValueError: It is not one that the option allows; the text says why.
        """
        return self.convert(self._parse(text))

    def anchor(self, value: T, folder: Path | None) -> T:  # noqa: ARG002 - only paths need the folder
        """Return the value as seen from the folder of the file that gave it."""
        return value

    def _convert(self, value: object) -> T:
        raise NotImplementedError

    def _parse(self, text: str) -> object:
        return text


class BoolOption(Option[bool]):
    """True or false."""

    kind = "boolean"

    def __init__(self, default: bool, documentation: str = "") -> None:  # noqa: FBT001 - an option's default
        super().__init__(default, documentation)

    def _convert(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        refuse("is not true or false")

    def _parse(self, text: str) -> object:
        word = text.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        return text


class _Bounded(Option[T]):
    """A value between bounds."""

    def __init__(
        self,
        default: object,
        documentation: str = "",
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        choices: Sequence[T] = (),
    ) -> None:
        super().__init__(default, documentation, choices=choices)
        self.minimum = minimum
        self.maximum = maximum

    def _bounded(self, value: float) -> None:
        if not math.isfinite(value):
            refuse("is not a finite number")
        if self.minimum is not None and value < self.minimum:
            refuse(f"must be {self.minimum:g} or more")
        if self.maximum is not None and value > self.maximum:
            refuse(f"must be {self.maximum:g} or less")


class IntOption(_Bounded[int]):
    """A whole number, perhaps between bounds."""

    kind = "integer"

    def _convert(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            refuse("is not a whole number")
        self._bounded(value)
        return value

    def _parse(self, text: str) -> object:
        try:
            return int(text)
        except ValueError:
            return text


class FloatOption(_Bounded[float]):
    """A number, perhaps between bounds."""

    kind = "number"

    def _convert(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse("is not a number")
        self._bounded(value)
        return float(value)

    def _parse(self, text: str) -> object:
        try:
            return float(text)
        except ValueError:
            return text


class StrOption(Option[str]):
    """A text, perhaps one of some choices."""

    kind = "text"

    def _convert(self, value: object) -> str:
        if not isinstance(value, str):
            refuse("is not a text")
        return value


class ListOption(Option[list[str]]):
    """A list of texts. In the environment they are separated by commas."""

    kind = "list of texts"

    def _convert(self, value: object) -> list[str]:
        if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
            refuse("is not a list of texts")
        return list(value)

    def _parse(self, text: str) -> object:
        return [entry.strip() for entry in text.split(",") if entry.strip()]


class TableOption(Option[dict[str, float]]):
    """Numbers by name. In the environment written as `gpu=1, disk=2.5`."""

    kind = "table of numbers"

    def _convert(self, value: object) -> dict[str, float]:
        if not isinstance(value, dict):
            refuse("is not a table, like { gpu = 1 }")
        for name, amount in value.items():
            if not isinstance(name, str) or not name.strip():
                refuse(f"has no name for the amount {amount!r}")
            if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
                refuse(f"gives {name} = {amount!r}, which is not a number of 0 or more")
        return dict(value)

    def _parse(self, text: str) -> object:
        amounts: dict[str, float] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, _, amount = entry.partition("=")
            try:
                amounts[name.strip()] = float(amount)
            except ValueError:
                refuse(f"has {entry!r}, which is not of the form NAME=NUMBER")
        return amounts


class PathOption(Option[Path | None]):
    """A path; empty is None. Relative ones start at the folder of their file."""

    kind = "path"

    def _convert(self, value: object) -> Path | None:
        if not isinstance(value, str | PurePath):
            refuse("is not a path")
        return Path(value).expanduser() if str(value) else None

    def anchor(self, value: Path | None, folder: Path | None) -> Path | None:
        """Return an absolute path."""
        return value if value is None else (folder or Path.cwd()) / value


class AddressOption(Option[str]):
    """An address, `tcp://host:port` or `ipc://path`.

    Attributes:
        optional: Whether an empty text is allowed.
    """

    kind = "address"
    error = AddressError

    def __init__(self, default: str, documentation: str = "", *, optional: bool = False) -> None:
        super().__init__(default, documentation)
        self.optional = optional

    def _convert(self, value: object) -> str:
        if not isinstance(value, str):
            refuse("is not an address; write tcp://host:port or ipc://path")
        if not value and self.optional:
            return value
        parse_address(value)
        return value


class DurationOption(_Bounded[float]):
    """A duration [s]: a number of seconds, or a text like `500 ms`."""

    kind = "duration"

    def __init__(
        self,
        default: float | str,
        documentation: str = "",
        *,
        minimum: float | None = 0.0,
        maximum: float | None = None,
    ) -> None:
        super().__init__(default, documentation, minimum=minimum, maximum=maximum)

    def _convert(self, value: object) -> float:
        seconds = parse_duration(value) if isinstance(value, str) else value
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            refuse("is not a duration; write seconds, or a text like '2 min'")
        self._bounded(seconds)
        return float(seconds)


class SizeOption(_Bounded[int | None]):
    """A size [B]: a number of bytes, or a text like `2 GiB`; empty is None."""

    kind = "size"

    def __init__(
        self,
        default: int | str,
        documentation: str = "",
        *,
        minimum: int | None = 0,
        maximum: int | None = None,
    ) -> None:
        super().__init__(default, documentation, minimum=minimum, maximum=maximum)

    def _convert(self, value: object) -> int | None:
        if value == "":
            return None
        size = parse_size(value) if isinstance(value, str) else value
        if isinstance(size, bool) or not isinstance(size, int):
            refuse("is not a size; write bytes, or a text like '2 GiB'")
        self._bounded(size)
        return size


def options_of(owner: type) -> Mapping[str, Option[Any]]:
    """Return the options of a class by key, those of its bases first."""
    return {
        name: attribute
        for parent in reversed(owner.__mro__)
        for name, attribute in vars(parent).items()
        if isinstance(attribute, Option)
    }
