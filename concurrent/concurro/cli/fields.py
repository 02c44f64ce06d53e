"""Print rows, and turn errors of the configuration into exit code 2."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from concurro.cli.printing import visible
from concurro.errors import ComponentError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EXIT_CONFIGURATION = 2


class ConfigurationFailure(click.ClickException):
    """A configuration or a component that cannot be used."""

    exit_code = EXIT_CONFIGURATION


@contextmanager
def configuration_errors() -> Iterator[None]:
    """Report a wrong configuration as a message, without a traceback."""
    try:
        yield
    except (ConfigError, ComponentError) as error:
        raise ConfigurationFailure(str(error)) from error


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with columns of equal width."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
