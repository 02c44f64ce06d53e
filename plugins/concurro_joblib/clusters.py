"""The local cluster that the backends of a program share.

    Parallel --borrow(workers)--> cluster of that size, the last one if it lives, or a new one
             --give_back--------> kept for the next, or ended when another size took its place

As with joblib's own processes, the next call finds it warm. It ends with the program.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from concurro import ClusterExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Shape(NamedTuple):
    """What a cluster must be like to serve a call.

    Attributes:
        pid: The process whose cluster it is: one that was forked has none.
        workers: Its workers.
        environment: Variables of its processes.
    """

    pid: int
    workers: int
    environment: tuple[tuple[str, str], ...]


class Borrowed:
    """A cluster and how many calls use it.

    Attributes:
        shape: What it is like.
        users: So many calls use it.
        is_outdated: Whether it ends with the last of them.
        is_lost: Whether its master is gone: the next call needs another.
        executor: Runs calls there.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.users = 0
        self.is_outdated = False
        self.is_lost = False
        with _environment(dict(shape.environment)):
            self.executor = ClusterExecutor(shape.workers)


class LocalClusters:
    """Keeps the cluster of the last call. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: Borrowed | None = None

    def borrow(self, workers: int, environment: Mapping[str, str]) -> Borrowed:
        """Return a cluster with so many workers; `give_back` it."""
        shape = Shape(os.getpid(), workers, tuple(sorted(environment.items())))
        with self._lock:
            latest = self._latest
            if latest is None or latest.is_lost or latest.shape != shape:
                if latest is not None and latest.shape.pid == shape.pid:
                    latest.is_outdated = True
                    _end_unused(latest)
                latest = self._latest = Borrowed(shape)
            latest.users += 1
            return latest

    def give_back(self, borrowed: Borrowed) -> None:
        """Learn that a call uses it no more."""
        with self._lock:
            borrowed.users -= 1
            _end_unused(borrowed)

    def close(self) -> None:
        """End the cluster that is kept, after its calls.

        The next call starts another.
        """
        with self._lock:
            latest, self._latest = self._latest, None
        if latest is not None and latest.shape.pid == os.getpid():
            latest.executor.shutdown()


def _end_unused(borrowed: Borrowed) -> None:
    if borrowed.is_outdated and not borrowed.users:
        borrowed.executor.shutdown(wait=False)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started meanwhile.

    Libraries read how many threads they may use once, when they are loaded.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
