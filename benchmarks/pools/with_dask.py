"""Dask's distributed scheduler with a local cluster of processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask.distributed import Client, LocalCluster, as_completed

from benchmarks.plain_work import apply_to_each, read_part
from benchmarks.pools.pool import WINDOW, Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


class Dask(Pool):
    """One thread per worker process, no dashboard."""

    def open(self) -> None:
        """Start scheduler and workers; the scheduler lives in this process, as it does for users."""
        self._cluster = LocalCluster(
            n_workers=self.workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        )
        self._client = Client(self._cluster)

    def close(self) -> None:
        """End them."""
        self._client.close()
        self._cluster.close()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Submit; equal calls are different tasks."""
        return self._client.submit(function, *arguments, pure=False)

    def results(self, answers: Sequence[Any]) -> Iterable[Any]:
        """Gather them together."""
        results: list[Any] = self._client.gather(list(answers))
        return results

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterable[Any]:
        """Submit chunks as what they are slices of: Dask looks for futures in each item of a list."""
        length = self.chunk(len(arguments))
        chunks = [arguments[first : first + length] for first in range(0, len(arguments), length)]
        answers = [self.submit(apply_to_each, function, chunk) for chunk in chunks]
        return (result for results in self.results(answers) for result in results)

    def each_finished(self, function: Callable[[Any], Any], arguments: Iterable[Any]) -> Iterator[Any]:
        """Submit a window at a time, take results as they come."""
        stream = iter(arguments)
        completed = as_completed(with_results=True)
        for _, argument in zip(range(WINDOW), stream, strict=False):
            completed.add(self.submit(function, argument))
        for _, result in completed:
            yield result
            for argument in stream:
                completed.add(self.submit(function, argument))
                break

    def read_parts(self, array: Any, count: int) -> Iterable[float]:
        """Scatter the array to every worker once."""
        shared = self._client.scatter(array, broadcast=True)
        return self.results([self.submit(read_part, shared, number) for number in range(count)])
