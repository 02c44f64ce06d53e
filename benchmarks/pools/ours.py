"""Clusters of ours as pools: embedded, and a master and a slave in processes of their own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.pools.pool import Pool
from benchmarks.processes import running_nodes
from concurro import ApplicationNode, LocalCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from concurro import TaskSystem


class Embedded(Pool):
    """The executor of a local cluster: what `LocalCluster(workers=...)` gives."""

    def open(self) -> None:
        """Start the cluster."""
        self._stack = ExitStack()
        self.cluster = self._stack.enter_context(self._started())
        self._executor = self._stack.enter_context(self.cluster.executor())

    def close(self) -> None:
        """End every process."""
        self._stack.close()

    def _started(self) -> Any:
        return LocalCluster(workers=self.workers)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Submit to the executor."""
        return self._executor.submit(function, *arguments)

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterable[Any]:
        """Use the executor's map, in chunks."""
        results: Iterator[Any] = self._executor.map(function, arguments, chunksize=self.chunk(len(arguments)))
        return results

    def run(self, system: TaskSystem) -> Any:
        """Run a task system."""
        return self.cluster.run(system)

    def each_finished(self, function: Callable[[Any], Any], arguments: Iterable[Any]) -> Iterator[Any]:
        """Refuse: a task system does that, see `run`."""
        raise NotImplementedError


class OverTcp(Embedded):
    """A master and a slave in processes of their own: TCP, sessions, keys."""

    unix = False

    def _started(self) -> Any:
        url = self._stack.enter_context(running_nodes(self.workers, unix=self.unix))
        return ApplicationNode(url)


class OverUnix(OverTcp):
    """The same processes over AF_UNIX."""

    unix = True
