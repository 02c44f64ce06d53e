"""What public calls take, checked where it comes in.

What is wrong is named there, with what is expected: further on it would be somebody's
`TypeError`, or a message that the master drops and nobody answers.
"""

from __future__ import annotations

import threading
from math import isnan
from numbers import Integral, Real

from concurro.errors import ConfigError, InvalidTaskError
from concurro.system import TaskSystem


def check_count(name: str, value: object, least: int = 1) -> int:
    """Return a number of things.

    Raises:
        ConfigError: It is none, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise _unexpected(value, name, f"a whole number of {least} or more")
    return int(value)


def check_flag(name: str, value: object) -> bool:
    """Return what is true or false.

    Raises:
        ConfigError: It is neither.
    """
    if not isinstance(value, bool):
        raise _unexpected(value, name, "True or False")
    return value


def check_timeout(value: object, *, name: str = "timeout", least: float | None = None) -> float | None:
    """Return how long to wait [s]; None for ever.

    What is too long for a clock is for ever, too.

    Raises:
        ConfigError: It is no number, or below `least`.
    """
    if value is None:
        return None
    expected = "a number of seconds" if least is None else f"a number of seconds, {least:g} or more"
    if isinstance(value, bool) or not isinstance(value, Real) or isnan(value):
        raise _unexpected(value, name, f"{expected}, or None")
    seconds = float(value)
    if least is not None and seconds < least:
        raise _unexpected(value, name, f"{expected}, or None")
    return None if seconds > threading.TIMEOUT_MAX else seconds


def check_system(value: object) -> None:
    """Refuse what is no task system.

    Raises:
        InvalidTaskError: It is something else; a class was given, perhaps.
    """
    if not isinstance(value, TaskSystem):
        hint = "; give an instance, not the class" if isinstance(value, type) else ""
        message = f"expected a task system, got {type(value).__qualname__}{hint}"
        raise InvalidTaskError(message)


def check_system_id(value: object) -> str:
    """Return the id of a system.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(value, str) or not value:
        expected = "the id of a system, a text (`system.system_id`, `handle.system_id`)"
        raise _unexpected(value, "system_id", expected)
    return value


def _unexpected(value: object, name: str, expected: str) -> ConfigError:
    return ConfigError(f"{name} must be {expected}, got {value!r} ({type(value).__qualname__})")
