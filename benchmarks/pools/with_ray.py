"""Ray on this machine, without its dashboard."""

from __future__ import annotations

import tempfile
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

import ray

from benchmarks.plain_work import read_part
from benchmarks.pools.pool import WINDOW, Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

AT_ONCE = 100
"""Finished tasks that one call asks for."""


class Ray(Pool):
    """Tasks of `ray.remote`; arrays that many read are put once."""

    def open(self) -> None:
        """Start its daemons; the folder is that of the measurement."""
        ray.init(
            num_cpus=self.workers,
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
            object_store_memory=4 * 1024**3,
            _temp_dir=f"{tempfile.gettempdir()}/ray",
        )
        self._remote: dict[Callable[..., Any], Any] = {}

    def close(self) -> None:
        """End its daemons."""
        ray.shutdown()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call it remotely; a function is exported once."""
        if function not in self._remote:
            self._remote[function] = ray.remote(function)
        return self._remote[function].remote(*arguments)

    def result(self, answer: Any) -> Any:
        """Get it."""
        return ray.get(answer)

    def results(self, answers: Sequence[Any]) -> Iterable[Any]:
        """Get them together."""
        results: list[Any] = ray.get(list(answers))
        return results

    def each_finished(self, function: Callable[[Any], Any], arguments: Iterable[Any]) -> Iterator[Any]:
        """Keep a window; take what is ready, many at once."""
        stream = iter(arguments)
        window = deque(self.submit(function, argument) for argument in islice(stream, WINDOW))
        while window:
            ready, waiting = ray.wait(list(window), num_returns=min(AT_ONCE, len(window)))
            window = deque(waiting)
            window.extend(self.submit(function, argument) for argument in islice(stream, len(ready)))
            yield from ray.get(ready)

    def read_parts(self, array: Any, count: int) -> Iterable[float]:
        """Put the array into the object store once."""
        shared = ray.put(array)
        return self.results([self.submit(read_part, shared, number) for number in range(count)])
