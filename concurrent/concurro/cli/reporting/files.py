"""Ask a master for the course of a system, and write it to files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concurro.cli.asking import ask_about
from concurro.cli.outcomes import CommandFailure
from concurro.cli.places import STANDARD_OUTPUT
from concurro.cli.reporting.course import read_course
from concurro.cli.reporting.page import page_text
from concurro.cli.reporting.trace import trace_text

if TYPE_CHECKING:
    from concurro.cli.reporting.course import Course


def ask_course(application: Any, system_id: str) -> Course:
    """Return the course of a system.

    Args:
        application: What is connected to its master.
        system_id: Its id, or the beginning of it.

    Raises:
        CommandFailure: The master keeps nothing of it.
        TimeoutError: The master does not answer.
    """
    return read_course(ask_about(application, "chronicle", system_id))


def write_files(course: Course, page: str | None, trace: str | None) -> None:
    """Write a page, a trace, or both.

    Args:
        course: Of what.
        page: File of the page; `-` is standard output; None for none.
        trace: The same of the trace.

    Raises:
        CommandFailure: A file cannot be written.
    """
    if page is not None:
        _write(page, page_text(course))
    if trace is not None:
        _write(trace, trace_text(course))


def _write(file: str, text: str) -> None:
    if file == STANDARD_OUTPUT:
        click.echo(text.encode(), nl=False)  # as bytes: the page says that it is UTF-8, whatever the terminal is
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"{file} was not written: {error.strerror or error}"
        raise CommandFailure(message) from None
