"""Parsl with its high-throughput executor."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

from benchmarks.plain_work import read_part_of_file
from benchmarks.pools.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PREFETCH = 50
"""Tasks that a manager holds ahead: more than none, which is the default, for short tasks."""


class Parsl(Pool):
    """`python_app` on one block of this machine; arrays travel as files, as its guide says."""

    def open(self) -> None:
        """Start the interchange and one manager."""
        executor = HighThroughputExecutor(
            label="workers",
            address="127.0.0.1",
            max_workers_per_node=self.workers,
            prefetch_capacity=PREFETCH,
            provider=LocalProvider(init_blocks=1, max_blocks=1, min_blocks=1),
        )
        folder = f"{tempfile.gettempdir()}/runinfo"
        parsl.load(Config(executors=[executor], strategy="none", run_dir=folder, initialize_logging=False))
        self._apps: dict[Callable[..., Any], Any] = {}

    def close(self) -> None:
        """End them."""
        parsl.dfk().cleanup()
        parsl.clear()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call its app."""
        if function not in self._apps:
            self._apps[function] = parsl.python_app(function)
        return self._apps[function](*arguments)

    def read_parts(self, array: Any, count: int) -> Iterable[float]:
        """Save the array where every worker can map it."""
        path = Path(tempfile.gettempdir()) / "array.npy"
        np.save(path, array)
        return self.results([self.submit(read_part_of_file, str(path), number) for number in range(count)])
