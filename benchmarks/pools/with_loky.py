"""loky's executor, reused between tasks."""

from __future__ import annotations

from typing import Any

from loky import ProcessPoolExecutor

from benchmarks.plain_work import keep, read_part_of_kept
from benchmarks.pools.standard import Ppe


class Loky(Ppe):
    """What joblib and others stand on."""

    def open(self) -> None:
        """Start it."""
        self._executor: Any = ProcessPoolExecutor(self.workers)

    def close(self) -> None:
        """End it; what has not begun is dropped."""
        self._executor.shutdown(kill_workers=True)

    def read_parts(self, array: Any, count: int) -> Any:
        """Give the array to the initializer of new workers."""
        self.close()
        self._executor = ProcessPoolExecutor(self.workers, initializer=keep, initargs=(array,))
        return self.results([self.submit(read_part_of_kept, number) for number in range(count)])
