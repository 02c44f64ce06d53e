"""ipyparallel: a hub, its schedulers, and an engine per worker."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import ipyparallel

from benchmarks.plain_work import read_part
from benchmarks.pools.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Ipyparallel(Pool):
    """A load-balanced view; arrays that many read are pushed once."""

    def open(self) -> None:
        """Start hub and engines; its folder is that of the measurement."""
        self._cluster = ipyparallel.Cluster(n=self.workers, log_level=logging.ERROR)
        self._client = self._cluster.start_and_connect_sync(activate=False)
        self._view = self._client.load_balanced_view()

    def close(self) -> None:
        """End them."""
        self._client.close()
        self._cluster.stop_cluster_sync()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Apply asynchronously."""
        return self._view.apply_async(function, *arguments)

    def result(self, answer: Any) -> Any:
        """Get it."""
        return answer.get()

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterable[Any]:
        """Use the view's map, in chunks."""
        results: list[Any] = self._view.map_sync(function, arguments, chunksize=self.chunk(len(arguments)))
        return results

    def read_parts(self, array: Any, count: int) -> Iterable[float]:
        """Push the array to every engine once."""
        self._client[:].push({"shared_array": array}, block=True)
        shared = ipyparallel.Reference("shared_array")
        return self.results([self.submit(read_part, shared, number) for number in range(count)])
