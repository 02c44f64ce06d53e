"""Files that a command is to write."""

from __future__ import annotations

from pathlib import Path

from concurro.cli.outcomes import CommandFailure

STANDARD_OUTPUT = "-"


def check_places(*files: str | None) -> None:
    """Refuse files that cannot be written, before anything runs.

    Raises:
        CommandFailure: A folder is not there, or a file is a folder.
    """
    for file in files:
        if file is None or file == STANDARD_OUTPUT:
            continue
        path = Path(file)
        if path.is_dir():
            message = f"{file} is a folder; name a file in it"
            raise CommandFailure(message)
        if not path.parent.is_dir():
            message = f"{file} cannot be written: there is no folder {path.parent}"
            raise CommandFailure(message)
