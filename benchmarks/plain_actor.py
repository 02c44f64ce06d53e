"""The object of W7, for peers: importing it must not import concurro."""

from __future__ import annotations

from typing import Any


class PlainActor:
    """Does nothing."""

    def noop(self) -> None:
        """Return."""

    def first(self, array: Any) -> float:
        """Return the first item of an array."""
        return float(array[0])
