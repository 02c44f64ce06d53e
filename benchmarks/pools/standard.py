"""The pools of the standard library."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

from benchmarks.plain_work import keep, read_part_of_kept
from benchmarks.pools.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


class Ppe(Pool):
    """ProcessPoolExecutor."""

    def open(self) -> None:
        """Start it."""
        self._executor: Any = ProcessPoolExecutor(self.workers)

    def close(self) -> None:
        """End it; what has not begun is dropped."""
        self._executor.shutdown(cancel_futures=True)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Submit."""
        return self._executor.submit(function, *arguments)

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterable[Any]:
        """Use its map, in chunks."""
        results: Iterator[Any] = self._executor.map(function, arguments, chunksize=self.chunk(len(arguments)))
        return results

    def read_parts(self, array: Any, count: int) -> Iterable[float]:
        """Give the array to the initializer of new workers."""
        self.close()
        self._executor = ProcessPoolExecutor(self.workers, initializer=keep, initargs=(array,))
        return self.results([self.submit(read_part_of_kept, number) for number in range(count)])


class MultiprocessingPool(Pool):
    """multiprocessing.Pool."""

    def open(self) -> None:
        """Start it."""
        self._pool = multiprocessing.Pool(self.workers)

    def close(self) -> None:
        """End it."""
        self._pool.terminate()
        self._pool.join()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Apply asynchronously."""
        return self._pool.apply_async(function, arguments)

    def result(self, answer: Any) -> Any:
        """Get it."""
        return answer.get()

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterable[Any]:
        """Use its map, in chunks."""
        return self._pool.map(function, arguments, self.chunk(len(arguments)))

    def each_finished(self, function: Callable[[Any], Any], arguments: Iterable[Any]) -> Iterator[Any]:
        """Use its unordered map, no chunks."""
        return iter(self._pool.imap_unordered(function, arguments))

    def read_parts(self, array: Any, count: int) -> Iterable[float]:
        """Give the array to the initializer of new workers."""
        self.close()
        self._pool = multiprocessing.Pool(self.workers, keep, (array,))
        return self.results([self.submit(read_part_of_kept, number) for number in range(count)])
