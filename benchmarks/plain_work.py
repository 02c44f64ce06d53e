"""What tasks do, for peers: importing it must not import concurro, nor numpy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = 1_000
"""Into so many parts an array is divided for its readers."""

_here: dict[str, Any] = {}
"""What a worker was given before its tasks."""


def spin(seconds: float) -> None:
    """Occupy the worker for so long, by the clock."""
    clock = time.perf_counter
    end = clock() + seconds
    while clock() < end:
        pass


def echo(array: Any) -> Any:
    """Return the argument."""
    return array


def make_array(length: int, first: int) -> Any:
    """Return an array of so many values, from one on."""
    import numpy as np  # noqa: PLC0415 - most workers never need it

    return np.arange(float(length)) + first


def first_and_last(array: Any) -> tuple[float, float]:
    """Return the two values."""
    return float(array[0]), float(array[-1])


def read_part(array: Any, number: int) -> float:
    """Return the sum of every thousandth value, from one on."""
    return float(array[number % PARTS :: PARTS].sum())


def keep(array: Any) -> None:
    """Keep an array in this process."""
    _here["array"] = array


def read_part_of_kept(number: int) -> float:
    """Return the sum of a part of the array that this process keeps."""
    return read_part(_here["array"], number)


def read_part_of_file(path: str, number: int) -> float:
    """Return the sum of a part of the array in a file, mapped once in each process."""
    if path not in _here:
        import numpy as np  # noqa: PLC0415 - most workers never need it

        _here[path] = np.load(path, mmap_mode="r")
    return read_part(_here[path], number)


def wait_for(path: str) -> None:
    """Occupy the worker until a file is there."""
    while not Path(path).exists():
        time.sleep(0.01)


def apply_to_each(function: Any, arguments: Sequence[Any]) -> list[Any]:
    """Call a function with each argument: one task for many."""
    return [function(argument) for argument in arguments]
