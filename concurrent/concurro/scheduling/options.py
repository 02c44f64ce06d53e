"""What a submission may ask for."""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import Any


def fault_of_options(options: dict[str, Any]) -> str:
    """Say what is wrong with the options of a submission; empty if nothing."""
    weight, ttl = options.get("weight", 1.0), options.get("ttl", 0.0)
    restarts = options.get("restarts", 0)
    if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 < float(weight) < inf:
        return f"weight must be a number above 0, got {weight!r}"
    if isinstance(ttl, bool) or not isinstance(ttl, Real) or not float(ttl) >= 0:
        return f"ttl must be 0 seconds or more, got {ttl!r}"
    if isinstance(restarts, bool) or not isinstance(restarts, int) or not restarts >= 0:
        return f"restarts must be a whole number, 0 or more, got {restarts!r}"
    return ""
