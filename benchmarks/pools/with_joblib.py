"""joblib: only in bulk, which is what it is for. Large arrays are mapped by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from joblib import Parallel, delayed

from benchmarks.plain_noop import noop
from benchmarks.plain_work import read_part
from benchmarks.pools.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType


class Joblib(Pool):
    """`Parallel` with its processes kept, batches sized by itself."""

    def open(self) -> None:
        """Start the workers."""
        self._parallel = Parallel(n_jobs=self.workers).__enter__()
        self._parallel(delayed(noop)(number) for number in range(self.workers * 4))

    def __enter__(self) -> Self:
        """Start the workers."""
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them."""
        from joblib.externals.loky import get_reusable_executor  # noqa: PLC0415 - as its documentation does

        self._parallel.__exit__(kind, error, trace)
        get_reusable_executor().shutdown(wait=True, kill_workers=True)

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> Iterable[Any]:
        """Call `Parallel`."""
        results: list[Any] = self._parallel(delayed(function)(argument) for argument in arguments)
        return results

    def each_finished(self, function: Callable[[Any], Any], arguments: Iterable[Any]) -> Iterator[Any]:
        """Take results as they come."""
        unordered = Parallel(n_jobs=self.workers, return_as="generator_unordered")
        results: Iterator[Any] = unordered(delayed(function)(argument) for argument in arguments)
        return results

    def read_parts(self, array: Any, count: int) -> Iterable[float]:
        """Give the array to each; joblib writes it to a file once and maps it."""
        results: list[float] = self._parallel(delayed(read_part)(array, number) for number in range(count))
        return results
