"""Amounts of resources: what is enough, what is left."""

from __future__ import annotations

DECIMALS = 9
"""Decimals that are kept of what is free, so that fractions leave no trace."""

SLACK = 1e-6
"""How much less than required is enough: ten times 0.1 is one."""


def covers(amounts: dict[str, float], requires: dict[str, float]) -> bool:
    """Say whether the amounts are enough for what is required."""
    for name, amount in requires.items():  # noqa: SIM110 - `all` takes three times as long
        if amounts.get(name, 0.0) + SLACK < amount:
            return False
    return True


def times(amounts: dict[str, float], requires: dict[str, float]) -> int:
    """Return how often the amounts are enough for what is required.

    Something is: no amount of it is 0.
    """
    return min(int((amounts.get(name, 0.0) + SLACK) / amount) for name, amount in requires.items())


def take(free: dict[str, float], requires: dict[str, float]) -> None:
    """Take what is required from what is free."""
    for name, amount in requires.items():
        free[name] = round(free.get(name, 0.0) - amount, DECIMALS)


def give(free: dict[str, float], requires: dict[str, float]) -> None:
    """Give back what was required."""
    for name, amount in requires.items():
        free[name] = round(free.get(name, 0.0) + amount, DECIMALS)


def format_amounts(requires: dict[str, float]) -> str:
    """Return `gpu=1, disk=0.5`, for people."""
    return ", ".join(f"{name}={amount:g}" for name, amount in sorted(requires.items()))
