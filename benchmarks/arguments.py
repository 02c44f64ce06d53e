"""What a command line may say: refused in one line, before anything is measured."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and end with 2."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def positive(text: str) -> int:
    """Return a whole number of 1 or more.

    Raises:
        ArgumentTypeError: It is none.
    """
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """Return a whole number of 0 or more.

    Raises:
        ArgumentTypeError: It is none.
    """
    return _whole(text, 0)


def seconds(text: str) -> float:
    """Return a duration above 0 [s].

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0.0:  # nor is nan
        message = f"{text!r} is no duration above 0 s"
        raise argparse.ArgumentTypeError(message)
    return value


def file_to_write(text: str) -> str:
    """Return the path of a file that can be written.

    Raises:
        ArgumentTypeError: It cannot.
    """
    path = Path(text)
    if path.is_dir():
        message = f"{text} is a folder, not a file to write to"
        raise argparse.ArgumentTypeError(message)
    if path.exists():
        _check_writable(path)
    else:
        folder_to_write(str(path.parent))
    return text


def folder_to_write(text: str) -> str:
    """Return the path of a folder in which files can be made.

    Raises:
        ArgumentTypeError: There is no such folder, or it is not ours to write to.
    """
    if not Path(text).is_dir():
        message = f"there is no folder {text}"
        raise argparse.ArgumentTypeError(message)
    _check_writable(Path(text))
    return text


def _check_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        message = f"{path} cannot be written to"
        raise argparse.ArgumentTypeError(message)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        message = f"{text!r} is no whole number of {least} or more"
        raise argparse.ArgumentTypeError(message)
    return value
