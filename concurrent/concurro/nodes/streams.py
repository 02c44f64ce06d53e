"""Many calls of which only so many are open: streams longer than memory.

    iterable --pulled one by one--> submit --> open futures --as they end--> who iterates
         ^--------- one more for each that was taken, at most `size` open ---------'

Nothing is pulled while nobody asks for a result, so the slowest of the three sets the pace.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from concurro.nodes.arguments import check_count, check_timeout
from concurro.nodes.futures import LoopFuture, Patience

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

Ending = TypeVar("Ending", bound="Future[Any]")

MOST_OPEN = 1000
"""So many futures of a stream are open, or ended and not taken, where nobody says how many."""


def as_completed(
    futures: Iterable[Ending], *, timeout: float | None = None, buffersize: int | None = None
) -> Iterator[Ending]:
    """Yield futures as they end, also of a stream that never is as a whole.

    As `concurrent.futures.as_completed`, but the futures are taken from the iterable one by one, as
    those before them are yielded: `as_completed(executor.submit(f, x) for x in stream)`
    needs memory for `buffersize` of them. They may be of several executors, of pushed
    tasks, of submitted systems, and of the standard library.

    Args:
        futures: In a collection, or by a generator that submits; each is yielded once.
        timeout: Seconds until `next` raises TimeoutError, from now on [s].
        buffersize: How many may be taken and not yielded; None for 1000, and for all of a collection.

    Raises:
        TimeoutError: Some did not end within `timeout`; they go on.
        WaitInCallbackError: It would wait in a callback.
        ConfigError: `buffersize` or `timeout` is none.
    """
    patience = Patience(check_timeout(timeout))
    size = check_buffersize(buffersize)
    if isinstance(futures, Collection):
        size = size or max(1, len(futures))
        return _as_they_end(_each_once(deque(dict.fromkeys(futures))), size, patience)
    return _as_they_end(iter(futures), size or MOST_OPEN, patience)


def in_order(futures: Iterator[Future[Any]], size: int | None, patience: Patience) -> Iterator[Any]:
    """Yield the results of futures in their order; so many are open at most.

    The first ones, or without a size all, are taken at once. What is open is cancelled when one failed, when the
    time is over, or when nobody wants more.
    """
    return _results_of(deque(islice(futures, size)), futures, patience)


def as_they_come(futures: Iterator[Future[Any]], size: int, patience: Patience) -> Iterator[Any]:
    """Yield the results of futures as they end; so many are open at most.

    What is open is cancelled when one failed, when the time is over, or when nobody wants more.
    """
    taken: set[Future[Any]] = set()

    def noted() -> Iterator[Future[Any]]:
        for future in futures:
            taken.add(future)
            latest = [future]
            del future  # or this frame would keep it
            yield latest.pop()

    ending = _as_they_end(noted(), size, patience)
    try:
        for future in ending:
            taken.discard(future)
            ended = [future]
            del future  # it would keep the result while that is used, and an error would keep it
            yield _take_result(ended.pop(), patience)
    finally:
        for future in taken:
            future.cancel()


def check_buffersize(buffersize: int | None) -> int | None:
    """Return how many results may wait; None for no limit.

    Raises:
        ConfigError: It is no whole number of 1 or more.
    """
    return None if buffersize is None else check_count("buffersize", buffersize)


def _results_of(window: deque[Future[Any]], futures: Iterator[Future[Any]], patience: Patience) -> Iterator[Any]:
    try:
        while window:
            window.extend(islice(futures, 1))
            yield _take_result(window.popleft(), patience)
    finally:
        for left in window:
            left.cancel()


def _take_result(future: Future[Any], patience: Patience) -> Any:
    try:
        return future.result(patience.left())
    finally:
        future.cancel()
        del future  # an error's traceback would keep it, and it keeps the error


def _each_once(futures: deque[Ending]) -> Iterator[Ending]:
    while futures:
        yield futures.popleft()


class _Arrivals:
    """Who waits for several futures, among the waiters of each."""

    __slots__ = ("ended", "event")

    def __init__(self) -> None:
        self.ended: deque[Future[Any]] = deque()
        self.event = threading.Event()

    def add_result(self, future: Future[Any]) -> None:
        """Take a future that ended. The standard library's signature."""
        self.ended.append(future)
        self.event.set()

    add_exception = add_cancelled = add_result


def _as_they_end(source: Iterator[Ending], size: int, patience: Patience) -> Iterator[Ending]:
    arrivals = _Arrivals()
    waiting: set[Any] = set()  # those taken and not yielded
    try:
        while True:
            if len(waiting) < size:
                future = next(source, None)
                if future is None:
                    size = 0
                elif future not in waiting:
                    waiting.add(future)
                    _enter(future, arrivals)
                del future
            if arrivals.ended:
                ended = [arrivals.ended.popleft()]
                waiting.discard(ended[0])
                _leave(ended[0], arrivals)
                yield ended.pop()  # type: ignore[misc]  # it came from `source`
            elif not waiting:
                if not size:
                    return
            elif len(waiting) >= size:
                _wait(waiting, arrivals, patience)
    finally:
        for left in waiting:
            _leave(left, arrivals)


def _wait(waiting: set[Any], arrivals: _Arrivals, patience: Patience) -> None:
    """Wait until any future ends.

    Raises:
        TimeoutError: None did in time.
    """
    for future in waiting:
        if isinstance(future, LoopFuture):
            future.refuse_to_wait("waiting for several futures")
            break
    if not arrivals.event.wait(patience.left()) and not arrivals.ended:
        message = f"{len(waiting)} futures unfinished"
        raise TimeoutError(message)
    arrivals.event.clear()


def _enter(future: Any, arrivals: _Arrivals) -> None:
    with future._condition:  # noqa: SLF001 - as the standard library's own `as_completed`
        if future._state in (CANCELLED_AND_NOTIFIED, FINISHED):  # noqa: SLF001
            arrivals.ended.append(future)
        else:
            future._waiters.append(arrivals)  # noqa: SLF001


def _leave(future: Any, arrivals: _Arrivals) -> None:
    with future._condition:  # noqa: SLF001 - as above
        waiters = future.__dict__.get("_made_waiters", ()) or future.__dict__.get("_waiters", ())
        if arrivals in waiters:
            waiters.remove(arrivals)
