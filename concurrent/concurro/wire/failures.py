"""Failures: how what a task raised travels, and what it becomes there.

Exceptions are the least trustworthy values there are: some pickle and do not unpickle, some
run code while they load, some cannot even say their message. So a failure always travels as
text, and the exception itself only if it survived a round trip where it was raised. Why it did
not is said behind its message: `except` of its class does not catch what arrives.
"""

from __future__ import annotations

import contextlib
import os
import reprlib
import traceback as tracebacks
from itertools import islice
from typing import TYPE_CHECKING, Any

from concurro.errors import (
    NotPicklableError,
    RemoteTraceback,
    ResultNotPicklable,
    TaskCancelled,
    TaskError,
    TaskMemoryExceeded,
    TaskTimeout,
    WorkerLost,
)
from concurro.ids import Failure, Outcome
from concurro.task import RUNTIME_FIELDS
from concurro.wire.libraries import differences, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import TracebackType

_TEXT_LIMIT = 100_000  # characters of a message or traceback; what is over the limit is cut in the middle

_LONGEST_NAME = 80  # characters
_LONGEST_REASON = 500  # characters
_MOST_ARGUMENTS = 6
_NOT_SHOWN = RUNTIME_FIELDS | {"name", "priority", "timeout", "max_retries", "requires"}
_SHOWN = (int, float, complex, str, bytes, tuple, list, dict, set, frozenset, type(None), range)
_OWN_FOLDER = f"{os.path.dirname(os.path.dirname(__file__))}{os.sep}"  # noqa: PTH120 - no pathlib: workers import this

_EXECUTOR = f"{_OWN_FOLDER}executor.py"
_CALLS_OF_USERS = frozenset({"__call__", "call_all", "<listcomp>"})  # there; the last of Python 3.11

_OWN_ERRORS: dict[Outcome, type[TaskError]] = {
    Outcome.TIMEOUT: TaskTimeout,
    Outcome.LOST: WorkerLost,
    Outcome.SLAVE_LOST: WorkerLost,
    Outcome.MEMORY: TaskMemoryExceeded,
    Outcome.CANCELLED: TaskCancelled,
    Outcome.NOT_PICKLABLE: ResultNotPicklable,
}


def describe(
    exception: BaseException,
    *,
    trim: int = 0,
    dumps: Callable[[Any], bytes] | None = None,
    loads: Callable[[bytes], Any] | None = None,
) -> Failure:
    """Return how `exception` travels. Never raises, whatever that one does.

    Args:
        exception: What was caught.
        trim: Frames to leave out at the top of the traceback: those of the caller.
        dumps: Pickles the exception into one self-contained text of bytes (`Packer.dumps_whole`).
        loads: Its inverse; tried here. Without the two the exception itself stays behind.
    """
    type_name, message = type(exception).__name__, _message_of(exception)
    pickled = None
    if dumps is not None and loads is not None:
        pickled, why_not = _pickled(exception, dumps, loads)
        if pickled is None:
            message = _with_reason(message, f"{type_name} {why_not}")
    return Failure(type_name, message, _traceback_of(exception, trim), pickled)


def rebuild(  # noqa: PLR0913 - the facts of a failure, all of them plain
    task_id: str | None,
    outcome: Outcome | int,
    failure: Failure | list[Any] | tuple[Any, ...],
    slave_id: str | None,
    attempt: int,
    loads: Callable[[bytes], Any] | None = None,
    here: str = "here",
) -> TaskError:
    """Return the error that `task_finished` receives.

    Args:
        task_id: The task.
        outcome: How the attempt ended.
        failure: As it travelled.
        slave_id: The slave of the attempt; None when none ran.
        attempt: Its number, from 1.
        loads: Rebuilds the exception (`Packer.loads_whole`); None leaves the cause out.
        here: Where this is, in words, for libraries that differ from those there.
    """
    type_name, message, traceback, pickled = (*failure, "", None)[:4] if len(failure) < 4 else failure[:4]  # noqa: PLR2004
    own = _OWN_ERRORS.get(Outcome(outcome))
    if own is not None:
        return own(task_id, own.__name__, message, traceback, slave_id, attempt)
    cause = None
    if pickled is not None and loads is not None:
        cause, why_not = _loaded(pickled, loads)
        if cause is None:
            message = _with_reason(message, f"{type_name}, {here}, {why_not}")
    told = differences(cause, f"on slave {slave_id}" if slave_id else "there", here)
    if told and cause is not None:
        message = f"{message} ({told})"
        with contextlib.suppress(Exception):  # an exception may refuse notes in any way
            cause.add_note(told)
    return TaskError(task_id, type_name, message, traceback, slave_id, attempt, cause)


def original(error: TaskError) -> BaseException:
    """Return what a future raises: the original exception, or the error.

    An exit or an interrupt of a task ends nobody's program but its own.
    """
    cause = error.cause
    if not isinstance(cause, Exception):
        return error
    try:
        cause.__cause__ = remote = RemoteTraceback(error.traceback)
    except Exception:  # noqa: BLE001 - an exception may refuse attributes in any way; then ours says it all
        return error
    remote.error = error
    return cause


def describe_task(task: Any) -> str:
    """Return the name of a task and its attributes, or its call, bounded.

    No code of users runs for it: of what they defined only the type is told.
    """
    shown_call = getattr(type(task), "_shown_call", None)
    if shown_call is None:
        name = _shortened(task.name if isinstance(task.name, str) else type(task).__qualname__, _LONGEST_NAME)
        own = {key: value for key, value in vars(task).items() if _is_shown(key)}
        return f"{name} ({_listed((), own)})" if own else name
    name, args, kwargs = shown_call(task)
    return f"{_shortened(name, _LONGEST_NAME)}({_listed(args, kwargs)})"


def _is_shown(attribute: Any) -> bool:
    return isinstance(attribute, str) and attribute[:1] != "_" and attribute not in _NOT_SHOWN


def _listed(args: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Return how arguments are shown: the first ones."""
    shown = [_shown(value) for value in args[:_MOST_ARGUMENTS]]
    shown += [
        f"{_shortened(key, _LONGEST_NAME)}={_shown(value)}"
        for key, value in list(named.items())[: _MOST_ARGUMENTS - len(shown)]
    ]
    if len(args) + len(named) > len(shown):
        shown.append("...")
    return ", ".join(shown)


def explain_import(error: ImportError, slave_id: str | None) -> ImportError:
    """Return the import error with what to do about it.

    Args:
        error: A module that was not found, or a name in it.
        slave_id: Where it was looked for; None for the host of the system.
    """
    where = f"on slave {slave_id}" if slave_id else "in the system's host"
    name = error.name or "?"
    top = name.partition(".")[0]
    text = f"module {name!r} cannot be imported {where} ({_message_of(error)}); "
    _, version = version_of(top)
    if version and version != "?":
        text += f"{top} {version} is installed there: install the version that the job is written for"
    else:
        text += f"install it there, or let it travel: [application] ship = [{top!r}] in concurrent.toml"
    explained = type(error)(text) if type(error) in (ImportError, ModuleNotFoundError) else ImportError(text)
    explained.name = error.name
    explained.path = error.path
    return explained


class _Arguments(reprlib.Repr):
    """Shows values of the built-in types, and of others the type."""

    def repr1(self, value: Any, level: int) -> str:
        """Return how a value is shown: as it is, when its type is built in."""
        if type(value).__module__ == "builtins" and isinstance(value, _SHOWN):
            return super().repr1(value, level)
        return f"<{_shortened(type(value).__qualname__, _LONGEST_NAME)}>"

    # Those of the standard library sort what may be huge, or of users, and print all of `bytes`.

    def repr_bytes(self, value: bytes, level: int) -> str:  # noqa: ARG002 - the signature of its neighbours
        """Return the beginning."""
        text = repr(value[: self.maxstring])
        return text if len(value) <= self.maxstring else f"{text[: self.maxstring]}..."

    def repr_dict(self, value: dict[Any, Any], level: int) -> str:
        """Return the first entries."""
        if level <= 0 and value:
            return "{...}"
        first = islice(value.items(), self.maxdict)
        shown = [f"{self.repr1(key, level - 1)}: {self.repr1(entry, level - 1)}" for key, entry in first]
        return f"{{{', '.join(_cut_off(shown, value))}}}"

    def repr_set(self, value: set[Any] | frozenset[Any], level: int) -> str:
        """Return some members."""
        if not value:
            return repr(value)
        shown = [self.repr1(member, level - 1) for member in islice(value, self.maxset)] if level > 0 else []
        return f"{{{', '.join(_cut_off(shown, value))}}}"

    def repr_frozenset(self, value: frozenset[Any], level: int) -> str:
        """Return some members."""
        return f"frozenset({self.repr_set(value, level)})" if value else repr(value)


_ARGUMENTS = _Arguments()
_ARGUMENTS.maxlevel = 2
_ARGUMENTS.maxstring = _ARGUMENTS.maxother = 60


def _shown(value: Any) -> str:
    try:
        return _ARGUMENTS.repr(value)
    except Exception:  # noqa: BLE001 - an integer of more digits than may be printed, a dictionary that changes
        return f"<{type(value).__name__}>"


def _cut_off(shown: list[str], value: Collection[Any]) -> list[str]:
    return shown if len(shown) == len(value) else [*shown, "..."]


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _message_of(exception: BaseException) -> str:
    try:
        return _cut(str(exception))
    except BaseException as fault:  # noqa: BLE001 - __str__ is user code and may do anything, exit included
        return f"<its __str__ raised {type(fault).__name__}>"


def _traceback_of(exception: BaseException, trim: int) -> str:
    try:
        frames = exception.__traceback__
        for _ in range(trim):
            if frames is None or frames.tb_next is None:
                break
            frames = frames.tb_next
        frames = _from_users(frames)
        return _cut("".join(tracebacks.format_exception(type(exception), exception, frames)))
    except BaseException as fault:  # noqa: BLE001 - formatting calls __str__ of every exception in the chain
        frames_only = "".join(tracebacks.format_tb(exception.__traceback__))
        return _cut(
            f"Traceback (most recent call last):\n{frames_only}"
            f"{type(exception).__name__}: <not shown: {type(fault).__name__}>\n"
        )


def _from_users(frames: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of ours at its top.

    Where all are ours they stay, but for those of a call.
    """
    first = frames
    last = None
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
        last = first.tb_frame.f_code
        first = first.tb_next
    if first is None and last is not None and last.co_filename == _EXECUTOR and last.co_name in _CALLS_OF_USERS:
        return None  # what is called has no frames: it is no Python
    return first or frames


def _pickled(
    exception: BaseException, dumps: Callable[[Any], bytes], loads: Callable[[bytes], Any]
) -> tuple[bytes | None, str]:
    """Return an exception pickled, or None and why it does not travel."""
    try:
        pickled = dumps(exception)
    except NotPicklableError as fault:
        return None, f"cannot travel: {str(fault).partition(' cannot travel: ')[2] or fault}"
    except BaseException as fault:  # noqa: BLE001 - __reduce__ is user code and may do anything, exit included
        return None, f"cannot travel: {_named(fault)}"
    if len(pickled) > _TEXT_LIMIT:
        return None, f"is too large to travel: {len(pickled)} B, the limit is {_TEXT_LIMIT} B"
    again, why_not = _loaded(pickled, loads)
    return (None, why_not) if again is None else (pickled, "")


def _loaded(pickled: bytes, loads: Callable[[bytes], Any]) -> tuple[BaseException | None, str]:
    """Return the exception of a pickle, or None and why there is none."""
    try:
        cause = loads(pickled)
    except BaseException as fault:  # noqa: BLE001 - loading runs user code, which may do anything, exit included
        return None, f"cannot be rebuilt: {_named(fault)}"
    if isinstance(cause, BaseException):
        return cause, ""
    return None, f"cannot be rebuilt: its pickle gives {_shortened(type(cause).__qualname__, _LONGEST_NAME)}"


def _named(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {_message_of(fault)}"


def _with_reason(message: str, why_not: str) -> str:
    """Return a message with why the exception itself is not there."""
    return _cut(f"{message} ({_shortened(why_not, _LONGEST_REASON)})".lstrip())


def _cut(text: str) -> str:
    # Lone surrogates do not pass msgpack.
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= _TEXT_LIMIT:
        return text
    half = _TEXT_LIMIT // 2
    return f"{text[:half]}\n... {len(text) - _TEXT_LIMIT} characters left out ...\n{text[-half:]}"
