"""What goes wrong with calls of tesserae, and how it travels.

raised --pack_error--> (type name, text, traceback, parcel or None) --rebuild--> the same, or RemoteError
"""

from __future__ import annotations

import asyncio
import re
import traceback as tracebacks
from typing import TYPE_CHECKING, Any

from concurro import ConcurroError, NotPicklableError, Parcel, RemoteTraceback, TaskCancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    ErrorFacts = tuple[str, str, str, Parcel | None]

TEXT_LIMIT = 100_000
"""Characters of a message or a traceback; the rest is cut."""


class RemoteError(ConcurroError, RuntimeError):
    """A method raised what cannot be rebuilt here.

    Attributes:
        type_name: The class of what it raised.
        text: Its message.
    """

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(f"{type_name}: {text}" if text else type_name)
        self.type_name = type_name
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with every constructor argument."""
        return type(self), (self.type_name, self.text)


class MultiError(ConcurroError, RuntimeError):
    """Arguments of a call failed, so that it did not run.

    Attributes:
        errors: The errors at the root: of those tasks that failed by themselves.
    """

    errors: list[BaseException]

    def __init__(self, errors: Sequence[BaseException], what: str = "a call") -> None:
        roots: list[BaseException] = []
        for error in errors:
            roots += error.errors if isinstance(error, MultiError) else [error]
        named = "; ".join(f"{type(root).__name__}: {root}" for root in roots)
        super().__init__(f"{what} did not run, for what its arguments wait for failed: {named}")
        self.errors = roots
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with every constructor argument."""
        return type(self), (self.errors, self.what)


class MailboxFullError(ConcurroError, RuntimeError):
    """A tessera has as many calls waiting as its `max_pending` allows."""


class MemoryLimitError(ConcurroError, MemoryError):
    """The arguments of a call do not fit into the memory of the worker."""


class CallCycleError(ConcurroError, RuntimeError):
    """A method waits for a call that waits for that very method."""


class CallCancelledError(asyncio.CancelledError, TaskCancelled):
    """The call was cancelled before it ended."""

    def __init__(self, what: str) -> None:
        TaskCancelled.__init__(self, None, "CancelledError", f"{what} was cancelled")
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with every constructor argument."""
        return type(self), (self.what,)


def of_arguments(error: NotPicklableError, what: str, before: int = 0) -> NotPicklableError:
    """Return the error of arguments that cannot travel, as people read it.

    Args:
        error: Of `(args, kwargs)`.
        what: What was called.
        before: How many of `args` are none of the caller's.
    """
    path = error.path
    found = re.match(r"value\[(0|1)\]\[([^\]]+)\]", path)
    if found is not None:
        which, key = found.groups()
        argument = f"argument {int(key) + 1 - before}" if which == "0" else f"argument {key}"
        path = argument + path[found.end() :]
    return _said_of(error, f"arguments of {what}", path)


def of_result(error: NotPicklableError, what: str) -> NotPicklableError:
    """Return the error of a result that cannot travel, as people read it."""
    return _said_of(error, f"the result of {what}", "it" + error.path.removeprefix("value"))


def _said_of(error: NotPicklableError, what: str, path: str) -> NotPicklableError:
    why = str(error).partition(" cannot travel: ")[2] or str(error)
    return NotPicklableError(f"{what} cannot travel: {why.replace(error.path, path, 1)}", path, error.culprit)


def pack_error(error: BaseException, pack: Callable[[Any], Parcel]) -> ErrorFacts:
    """Return how an exception travels; never raises.

    Its traceback is taken from it.
    """
    kind = type(error)
    try:
        text = str(error)[:TEXT_LIMIT]
    except BaseException:  # noqa: BLE001 - code of users
        text = "(its message cannot be shown)"
    try:
        frames = "".join(tracebacks.format_exception(kind, error, error.__traceback__))[-TEXT_LIMIT:]
    except BaseException:  # noqa: BLE001 - as above
        frames = ""
    parcel = None
    if isinstance(error, Exception):
        error.__traceback__ = None  # its frames would keep what the method used
        try:
            parcel = pack(error)
            if type(parcel.open()) is not kind:
                parcel = None
        except BaseException:  # noqa: BLE001 - as above; then the text is left
            parcel = None
    return kind.__name__, text, frames, parcel


def rebuild(facts: ErrorFacts) -> BaseException:
    """Return the exception, as well as it can be rebuilt here."""
    type_name, text, frames, parcel = facts
    error: Any = None
    if parcel is not None:
        try:
            error = parcel.open()
        except BaseException:  # noqa: BLE001 - code of users; then the text is left
            error = None
    if not isinstance(error, Exception):
        error = RemoteError(type_name, text)
    try:
        error.__cause__ = RemoteTraceback(frames)
    except Exception:  # noqa: BLE001 - an exception may refuse attributes in any way
        error = RemoteError(type_name, text)
        error.__cause__ = RemoteTraceback(frames)
    result: BaseException = error
    return result
