"""A pool of worker processes, as the workloads see it.

A peer's module says how it does each of these in its usual good way; what it leaves out is
done with `submit`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Self

from benchmarks.plain_noop import noop
from benchmarks.plain_work import apply_to_each, read_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

WINDOW = 1_000
"""Tasks that are in flight where a task system would be pulled under credit."""

CHUNKS_PER_WORKER = 4
"""As many parts has a bulk per worker, where a peer leaves it to its user."""


class Pool:
    """Runs functions in worker processes. A context manager; its workers are up inside."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def open(self) -> None:
        """Start it."""
        raise NotImplementedError

    def close(self) -> None:
        """End it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start it, and run a task on every worker."""
        self.open()
        answers = [self.submit(noop, number) for number in range(self.workers * 4)]
        for _ in self.results(answers):
            pass
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Let a worker call a function; return what stands for the answer."""
        raise NotImplementedError

    def result(self, answer: Any) -> Any:
        """Wait for one result."""
        return answer.result()

    def results(self, answers: Sequence[Any]) -> Iterable[Any]:
        """Wait for results, in order."""
        return (self.result(answer) for answer in answers)

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterable[Any]:
        """Call a function with each argument, in bulk."""
        length = self.chunk(len(arguments))
        chunks = [list(arguments[first : first + length]) for first in range(0, len(arguments), length)]
        answers = [self.submit(apply_to_each, function, chunk) for chunk in chunks]
        return (result for results in self.results(answers) for result in results)

    def chunk(self, count: int) -> int:
        """Return how many arguments a task of a bulk has."""
        return max(1, count // (self.workers * CHUNKS_PER_WORKER))

    def each_finished(self, function: Callable[[Any], Any], arguments: Iterable[Any]) -> Iterator[Any]:
        """Call a function with each argument, a task each; yield every result by itself, in any order."""
        window: deque[Any] = deque()
        for argument in arguments:
            window.append(self.submit(function, argument))
            if len(window) == WINDOW:
                yield self.result(window.popleft())
        for answer in window:
            yield self.result(answer)

    def read_parts(self, array: Any, count: int) -> Iterable[float]:
        """Let tasks read one array, a part each; return what they read, in order."""
        return self.results([self.submit(read_part, array, number) for number in range(count)])
