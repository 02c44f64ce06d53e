"""What is wrong with a strategy: it raises, or answers nonsense. Pure.

A strategy that raises ends its master, as nobody else knows where tasks are to run. One that
chooses a slave that may not have the task is told of, and another slave is taken.
"""

from __future__ import annotations

import sys
import traceback
from numbers import Real
from typing import TYPE_CHECKING, Any

from concurro.errors import StrategyError
from concurro.kernel.discovery import FILE_PLUGIN_PREFIX

if TYPE_CHECKING:
    from concurro.records import SlaveRecord, TaskRecord

MOST_OF_AN_ANSWER = 200
"""Characters of an answer that are shown."""


def describe_strategy(strategy: Any) -> str:
    """Return name and class of a strategy."""
    kind = type(strategy)
    where = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.startswith(FILE_PLUGIN_PREFIX):  # a made-up name, unlike the file's
        where = f"{kind.__qualname__} of {getattr(sys.modules.get(kind.__module__), '__file__', 'a file')}"
    return f"{getattr(strategy, 'name', kind.__name__)!r} ({where})"


def strategy_raised(who: str, method: str, error: Exception) -> StrategyError:
    """Return the error for what a method of a strategy raised."""
    message = f"strategy {who} raised {type(error).__name__} in {method}: {error}"
    return StrategyError(message, who, "".join(traceback.format_exception(error)))


def checked_rating(who: str, slave: SlaveRecord, rating: Any) -> float:
    """Return a rating as a float.

    Raises:
        StrategyError: It is no number.
    """
    if isinstance(rating, Real):
        return float(rating)
    message = f"strategy {who} rated slave {slave.id} {_shown(rating)}, which is no number; less is better"
    raise StrategyError(message, who)


def describe_wrong_choice(who: str, task: TaskRecord, chosen: Any, taken: str) -> str:
    """Say that a strategy chose who may not have a task, and who gets it."""
    return (
        f"strategy {who} chose {_shown(chosen)} for task {task.id}, which is no id of a slave that may have it now; "
        f"slave {taken} gets it, and this is said once for each system"
    )


def _shown(answer: Any) -> str:
    try:
        text = repr(answer)
    except Exception as error:  # noqa: BLE001 - a user's object, whatever its repr does
        text = f"a {type(answer).__qualname__}, whose repr raises {type(error).__name__}"
    return text if len(text) <= MOST_OF_AN_ANSWER else f"{text[:MOST_OF_AN_ANSWER]}..."
