"""Fill a constructor from `-p NAME=VALUE`, by its annotations."""

from __future__ import annotations

import collections.abc
import inspect
import pathlib
import sys
import types
import typing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any

from concurro.cli.outcomes import CommandFailure, own_traceback
from concurro.config.spelling import closest_names
from concurro.kernel.construction import constructor_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from concurro.system import TaskSystem

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_SEQUENCES: dict[Any, type] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
}
_EMPTY = inspect.Parameter.empty
# Names that a file may import for type checkers only.
_WELL_KNOWN = {**vars(collections.abc), **vars(typing), "Path": Path, "pathlib": pathlib, "typing": typing}


class UnsupportedTypeError(Exception):
    """A type that no text on a command line can fill."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a task system's constructor.

    Attributes:
        name: Its name.
        kind: Its type; `empty` when nothing tells it.
        default: Its default; `empty` when it must be given.
        is_positional: Whether it can be given by position only.
    """

    name: str
    kind: Any
    default: Any
    is_positional: bool = False

    @property
    def type_text(self) -> str:
        """Its type as people write it."""
        return "str" if self.kind is _EMPTY else inspect.formatannotation(self.kind)

    def __str__(self) -> str:
        """Return `name: type = default`."""
        default = "" if self.default is _EMPTY else f" = {self.default!r}"
        return f"{self.name}: {self.type_text}{default}"


def build_system(
    system_class: type[TaskSystem], texts: Sequence[str], defaults: Mapping[str, object] | None = None
) -> TaskSystem:
    """Return an instance.

    Its parameters filled from the command line and the configuration.

    Args:
        system_class: The class.
        texts: `NAME=VALUE`, as typed; the last one of a name counts.
        defaults: What the configuration says; a text where a file cannot say it otherwise.

    Raises:
        CommandFailure: A parameter is unknown, missing or has a value of another type; or the
            constructor raised.
    """
    parameters = {parameter.name: parameter for parameter in parameters_of(system_class)}
    values = dict(defaults or {})
    values = {name: _settled(system_class, parameters.get(name), value) for name, value in values.items()}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            message = f"-p {text}: write NAME=VALUE"
            raise CommandFailure(message)
        name = name.strip()
        if name not in parameters:
            if not _takes_anything(system_class):
                raise CommandFailure(_unknown(system_class, name, parameters))
            values[name] = value
            continue
        values[name] = _parsed(system_class, parameters[name], value)
    missing = [each for each in parameters.values() if each.default is _EMPTY and each.name not in values]
    if missing:
        listed = "".join(f"\n  -p {each.name}=...   ({each.type_text})" for each in missing)
        message = f"{system_class.__qualname__} needs {'a value' if len(missing) == 1 else 'values'} for:{listed}"
        raise CommandFailure(message)
    return _construct(system_class, parameters, values)


def parameters_of(system_class: type[TaskSystem]) -> list[Parameter]:
    """Return what the constructor takes, with resolved types."""
    constructor: Any = system_class.__init__
    namespace = {**_WELL_KNOWN, **getattr(constructor, "__globals__", {})}
    return [
        Parameter(each.name, _kind_of(each, namespace), each.default, each.kind is each.POSITIONAL_ONLY)
        for each in constructor_parameters(system_class)
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]


def parse_value(kind: Any, text: str) -> Any:
    """Return the value of type `kind` that `text` stands for.

    Raises:
        ValueError: `text` is none.
        UnsupportedTypeError: No text is.
    """
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if kind in (_EMPTY, Any, str, object):
        return text
    if origin is typing.Annotated:
        return parse_value(members[0], text)
    if origin in (typing.Union, UnionType):
        return _parse_union(members, text)
    sequence = _SEQUENCES.get(origin or kind)
    if sequence is not None:
        return sequence(_parse_items(members, text))
    options = _options_of(kind)
    if options is not None:
        return _choice(options, text)
    parser = _PARSERS.get(kind)
    if parser is None:
        raise UnsupportedTypeError(inspect.formatannotation(kind))
    return parser(text.strip())


def _parse_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        if text.lower().startswith(("0x", "0b", "0o")):
            return int(text, 0)
        number = float(text)  # a million is often typed 1e6
        if not number.is_integer():
            raise
        return int(number)


def _parse_bool(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        message = "write true or false"
        raise ValueError(message)
    return word in _TRUE


def _parse_none(text: str) -> None:
    if text.lower() not in ("none", ""):
        message = "write none"
        raise ValueError(message)


_PARSERS: dict[Any, Any] = {
    int: _parse_int,
    float: float,
    complex: complex,
    bool: _parse_bool,
    Path: Path,
    bytes: str.encode,
    NoneType: _parse_none,
    None: _parse_none,
}


def _parse_union(members: tuple[Any, ...], text: str) -> Any:
    # Any text is a str: it gets its turn when nothing else wants it.
    ordered = sorted(members, key=lambda member: (member is str, member is Path, member is not NoneType))
    unsupported = 0
    for member in ordered:
        try:
            return parse_value(member, text)
        except ValueError:
            continue
        except UnsupportedTypeError:
            unsupported += 1
    if unsupported == len([member for member in members if member is not NoneType]):
        raise UnsupportedTypeError(" | ".join(map(inspect.formatannotation, members)))
    message = "fits none of them"
    raise ValueError(message)


def _parse_items(members: tuple[Any, ...], text: str) -> list[Any]:
    texts = [each.strip() for each in text.split(",")] if text.strip() else []
    if not members or members[-1] is Ellipsis or len(members) == 1:
        kind = members[0] if members else str
        return [parse_value(kind, each) for each in texts]
    if len(texts) != len(members):
        message = f"write {len(members)} values with commas between"
        raise ValueError(message)
    return [parse_value(kind, each) for kind, each in zip(members, texts, strict=True)]


def _options_of(kind: Any) -> Mapping[str, Any] | None:
    """Return what may be written for a Literal or an Enum.

    None for other types.
    """
    if typing.get_origin(kind) is typing.Literal:
        return {str(option): option for option in typing.get_args(kind)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {str(each.value): each for each in kind} | {each.name: each for each in kind}
    return None


def _choice(options: Mapping[str, Any], text: str) -> Any:
    if text not in options:
        message = f"choose one of {', '.join(options)}"
        raise ValueError(message)
    return options[text]


def _kind_of(parameter: inspect.Parameter, namespace: dict[str, Any]) -> Any:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, namespace)  # noqa: S307 - the annotation of the file that is about to run
        except Exception:  # noqa: BLE001 - whatever an annotation does that was never meant to run
            annotation = _EMPTY
    if annotation is not _EMPTY:
        return annotation
    default = parameter.default
    if default is _EMPTY or default is None:
        return _EMPTY
    if isinstance(default, (list, tuple, set, frozenset)) and default:
        item: Any = type(next(iter(default)))
        return types.GenericAlias(type(default), (item, ...) if isinstance(default, tuple) else (item,))
    if isinstance(default, Path):
        return Path
    return type(default)


def _parsed(system_class: type[TaskSystem], parameter: Parameter, text: str) -> Any:
    where = f"parameter {parameter.name!r} of {system_class.__qualname__}"
    try:
        return parse_value(parameter.kind, text)
    except UnsupportedTypeError as error:
        message = f"{where} is a {error}, which -p cannot give; give it a default, or construct the system in Python"
        raise CommandFailure(message) from None
    except (ValueError, OverflowError) as error:
        own = str(error) if parameter.kind not in (int, float, complex) else ""
        hint = f" ({own})" if own else ""
        message = f"{where} is of type {parameter.type_text}, got {text!r}{hint}"
        raise CommandFailure(message) from None


def _settled(system_class: type[TaskSystem], parameter: Parameter | None, value: object) -> object:
    """Return a value of the configuration as the parameter wants it."""
    if parameter is None:
        return value
    if isinstance(value, str):
        return _parsed(system_class, parameter, value)
    if isinstance(value, int) and not isinstance(value, bool) and parameter.kind is float:
        return float(value)
    if isinstance(value, list) and (typing.get_origin(parameter.kind) or parameter.kind) in (tuple, set, frozenset):
        return _SEQUENCES[typing.get_origin(parameter.kind) or parameter.kind](value)
    return value


def _takes_anything(system_class: type[TaskSystem]) -> bool:
    return any(each.kind is each.VAR_KEYWORD for each in constructor_parameters(system_class))


def _unknown(system_class: type[TaskSystem], name: str, parameters: Mapping[str, Parameter]) -> str:
    closest = closest_names(name, parameters, 1)
    hint = f"; did you mean {closest[0]!r}?" if closest else ""
    listed = "".join(f"\n  {each}" for each in parameters.values())
    taken = f" It takes:{listed}" if listed else " It takes none"
    return f"{system_class.__qualname__} has no parameter {name!r}{hint}{'' if hint else '.'}{taken}"


def _construct(
    system_class: type[TaskSystem], parameters: Mapping[str, Parameter], values: dict[str, Any]
) -> TaskSystem:
    positional = [values.pop(each.name) for each in parameters.values() if each.is_positional and each.name in values]
    try:
        return system_class(*positional, **values)
    except Exception as error:
        module = sys.modules.get(system_class.__module__)
        trace = own_traceback(error, str(getattr(module, "__file__", "")))
        message = f"{system_class.__qualname__} could not be constructed:\n{trace}"
        raise CommandFailure(message) from error
