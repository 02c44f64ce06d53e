"""Find what somebody probably meant to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def closest_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return the known names that look like `name`, best first."""
    import difflib  # noqa: PLC0415 - for messages only

    return difflib.get_close_matches(name, sorted(set(known)), n=limit, cutoff=0.5)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?`, or what exists, as the end of a message."""
    names = sorted(set(known))
    closest = closest_names(name, names, limit=1)
    if closest:
        return f"; did you mean {closest[0]!r}?"
    if names:
        return f"; there are {', '.join(names)}"
    return "; there are none"
