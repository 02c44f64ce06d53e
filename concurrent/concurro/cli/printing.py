"""Print answers as every command does: JSON, colours, examples of use."""

from __future__ import annotations

import json
import os
import re
import sys
from math import isfinite
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., object]")

JSON_VERSION = 1

_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_COLOURS_OR_CONTROLS = re.compile(rf"(\x1b\[[0-9;]*m)|{_CONTROLS.pattern}")
_NO_COLOURS = "\x1b[0m"


def json_option(function: F) -> F:
    """Give a click command the flag `--json`, as `as_json`."""
    option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
    return option(function)


def print_json(fields: dict[str, Any], version: int = JSON_VERSION) -> None:
    """Print one JSON object that begins with the version of its layout.

    Within a version fields are added, and none is renamed, removed or given another meaning.
    """
    click.echo(json_text({"version": version, **fields}, indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON.

    What is no number there, as an infinite rating, is null.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def examples(*lines: str) -> str:
    """Return the epilog of a help page: how the command is typed."""
    return "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])


def is_live(stream: TextIO | None) -> bool:
    """Say whether what is drawn there may be drawn over."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def painted(text: str, colour: str) -> str:
    """Return a text in a colour, on a terminal that wants some.

    `NO_COLOR` set to anything, or standard output that is no terminal, leave it as it is.

    Args:
        text: It; padded already where it is in a column.
        colour: One of click's; empty for none.
    """
    if not colour or os.environ.get("NO_COLOR") or not is_live(sys.stdout):
        return text
    return click.style(text, fg=colour)


def visible(text: str) -> str:
    """Return a line of others with its control characters spelled out.

    As Python writes them. What a task or a name holds must not move the cursor, or do whatever else a terminal
    can be told to.
    """
    return _CONTROLS.sub(_written, text)


def visible_output(line: str) -> str:
    """Return a line of output as `visible` does, but with its colours.

    They end with it.
    """
    shown = _COLOURS_OR_CONTROLS.sub(lambda found: found[1] or _written(found), line)
    return f"{shown}{_NO_COLOURS}" if "\x1b" in shown else shown


def _written(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape").decode("ascii")
