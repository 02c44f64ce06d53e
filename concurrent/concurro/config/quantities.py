"""Read durations and sizes as people write them."""

from __future__ import annotations

import math
import re

_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-z]*)\s*")

_STEP = 1024
_SECONDS = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def parse_duration(text: str) -> float:
    """Return the seconds [s] of a text like `500 ms`, `2 min` or `1.5`.

    Raises:
        ValueError: It is no duration.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _SECONDS:
        message = "is not a duration; write seconds, or a number with us, ms, s, min, h or d"
        raise ValueError(message)
    return float(match[1]) * _SECONDS[match[2]]


def format_size(size: float) -> str:
    """Return a size [B] for people, as `parse_size` reads it: `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB"):
        if size < _STEP:
            return f"{size:.4g} {unit}"
        size /= _STEP
    return f"{size:.4g} GiB"


def parse_size(text: str) -> int:
    """Return the bytes [B] of a text like `2 GiB`, `500 MB` or `4096`.

    Raises:
        ValueError: It is no size.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2].lower() not in _BYTES:
        message = "is not a size; write bytes, or a number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"
        raise ValueError(message)
    return math.floor(float(match[1]) * _BYTES[match[2].lower()])
