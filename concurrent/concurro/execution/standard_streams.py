"""The standard streams of a worker, which a task may replace or lose."""

from __future__ import annotations

import os
import sys
from typing import Any

_NUMBERS = (0, 1, 2)
_GONE = (-1, -1)


class StandardStreams:
    """The standard streams as they are when it is made.

    What a task put into `sys` in their place is taken out again. Closed streams and other files
    behind the descriptors stay: somebody may still use what has those numbers now, so that only
    another process is as before. A look takes 2 us, once per chunk.
    """

    def __init__(self) -> None:
        found = sys.__dict__
        self._streams = (found.get("stdin"), found.get("stdout"), found.get("stderr"))
        self._open = [_is_open(stream) for stream in self._streams]
        self._files = _files()

    def put_back(self) -> str:
        """Undo what can be undone; return what cannot, in words."""
        stdin, stdout, stderr = self._streams
        found = sys.__dict__
        if found.get("stdout") is not stdout or found.get("stderr") is not stderr or found.get("stdin") is not stdin:
            # A wrapper around the buffer of ours closes it when it goes: therefore ours are looked at below.
            sys.stdin, sys.stdout, sys.stderr = self._streams
        if [_is_open(stream) for stream in self._streams] != self._open:
            return "a standard stream, which it closed"
        if _files() != self._files:
            return "the files behind the standard streams"
        return ""


def flush_prints() -> None:
    """Flush the standard streams, our own and those put in their place."""
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        try:
            getattr(sys, name).flush()
        except BaseException:  # noqa: BLE001, S112 - a task may have put anything there, or closed it
            continue


def _is_open(stream: Any) -> bool:
    try:
        return not stream.closed
    except Exception:  # noqa: BLE001 - no stream, or detached from its buffer, or an import has put anything there
        return False


def _files() -> list[tuple[int, int]]:
    return [_file(number) for number in _NUMBERS]


def _file(number: int) -> tuple[int, int]:
    """Return which file a descriptor stands for."""
    try:
        facts = os.fstat(number)
    except OSError:
        return _GONE
    return facts.st_dev, facts.st_ino
