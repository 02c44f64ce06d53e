"""A wall clock that is wrong, for some processes of a test."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).with_name("clocks")


class WrongClock:
    """A wall clock that a test sets; what runs with `environment` goes by it.

    Args:
        path: A file that it may write.
        shift: How wrong it is at first [s].
    """

    def __init__(self, path: Path, shift: int = 0) -> None:
        self._path = path
        self.set(shift)

    def set(self, shift: int) -> None:
        """Be wrong by so much from now on [s]."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(str(shift))
        fresh.replace(self._path)

    @property
    def environment(self) -> dict[str, str]:
        """What a process must be started with, for it and all below it."""
        paths = [str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "CONCURRO_CLOCK": str(self._path), "PYTHONPATH": os.pathsep.join(paths)}
