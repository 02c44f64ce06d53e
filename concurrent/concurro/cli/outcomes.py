"""Exit codes, and errors as people should see them."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

import concurro
from concurro.errors import (
    ClosedError,
    ComponentError,
    ConcurroError,
    ConfigError,
    JournalError,
    LinkClosedError,
    MasterUnreachable,
    NodeStartError,
    NotPicklableError,
    RefusedError,
    RemoteTraceback,
    UnknownSystemError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_MASTER = 3
EXIT_INTERRUPTED = 130

_OWN_FOLDER = str(Path(concurro.__file__).parent)
_CODES: tuple[tuple[type[Exception], int], ...] = (
    (MasterUnreachable, EXIT_NO_MASTER),
    (RefusedError, EXIT_NO_MASTER),
    (LinkClosedError, EXIT_NO_MASTER),
    (ClosedError, EXIT_NO_MASTER),
    (NodeStartError, EXIT_NO_MASTER),
    (ConfigError, EXIT_USAGE),
    (JournalError, EXIT_USAGE),
    (ComponentError, EXIT_USAGE),
    (NotPicklableError, EXIT_USAGE),
    (UnknownSystemError, EXIT_USAGE),
)


class CommandFailure(click.ClickException):
    """A command that ends with a message and an exit code of its own."""

    def __init__(self, message: str, exit_code: int = EXIT_USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares one per class and reads the instance's


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that an error stands for."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), EXIT_FAILED)


@contextmanager
def reported_errors() -> Iterator[None]:
    """Report our own errors as a message, without our traceback."""
    try:
        yield
    except ConcurroError as error:
        notes = getattr(error, "__notes__", ())
        raise CommandFailure("\n".join([str(error), *notes]), exit_code_of(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None


def own_traceback(error: BaseException, file: str) -> str:
    """Return the traceback of a user's error, from the user's file on."""
    frames: TracebackType | None = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != file:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def without_our_frames(text: str) -> str:
    """Return a traceback text without the frames of Concurrent itself."""
    kept: list[str] = []
    skipping = False
    for line in text.splitlines():
        if line.startswith('  File "'):
            skipping = line.startswith(f'  File "{_OWN_FOLDER}')
        elif not line.startswith("    "):
            skipping = False
        if not skipping:
            kept.append(line)
    return "\n".join(kept).strip("\n")


def failure_text(error: BaseException) -> str:
    """Return how a job failed.

    Its own traceback where there is one, and what was raised.
    """
    notes = list(getattr(error, "__notes__", ()))
    cause = error.__cause__
    if isinstance(cause, RemoteTraceback) and str(cause).strip():
        said = without_our_frames(str(cause))
        raised = [] if str(error).strip() in said else [f"{type(error).__name__}: {error}"]
        return "\n".join([said, *raised, *notes])
    shown = "".join(traceback.format_exception_only(type(error), error)).rstrip()
    return without_our_frames(shown.removeprefix(f"{type(error).__module__}."))
