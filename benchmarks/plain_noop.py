"""The task that does nothing, for peers: importing it must not import concurro."""

from __future__ import annotations


def noop(number: int) -> int:
    """Return the argument."""
    return number
