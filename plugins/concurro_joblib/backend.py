"""What joblib asks of a backend, answered by an executor on a cluster.

    Parallel --submit--> executor --> workers
       ^                    | a batch has ended, in the thread that brings everybody's news
       +--- callback <--- the call's own thread

A `Parallel` has a backend of its own, as a call's state is in it; joblib gives all that are made under one
`parallel_config` the same.
"""

from __future__ import annotations

import contextlib
import copy
import queue
import re
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, ClassVar

try:
    from joblib import cpu_count, register_parallel_backend
    from joblib._parallel_backends import (
        AutoBatchingMixin,
        FallbackToBackend,
        ParallelBackendBase,
        SequentialBackend,
    )
except ImportError as error:
    message = f"concurro_joblib needs joblib 1.5 or later, which comes with pip install 'concurro[joblib]' ({error})"
    raise ImportError(message, name=error.name) from error

from concurro import ClusterExecutor, MasterUnreachable, NotPicklableError
from concurro_joblib.calls import Call
from concurro_joblib.clusters import Borrowed, LocalClusters

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro import ApplicationNode, LocalCluster

NAME = "concurrent"

_PART_OF_CALL = re.compile(r"args\[0\]\.items\[(\d+)\]\[([012])\](.*)")
"""Where in a batch something is: number of the call, function or arguments, where in these."""


def register(*, make_default: bool = False) -> None:
    """Let joblib know the backend as `concurrent`. Idempotent.

    Args:
        make_default: Whether `Parallel` uses it where nobody chooses another.
    """
    register_parallel_backend(NAME, ConcurrentBackend, make_default=make_default)


class ConcurrentBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """Runs the calls of `joblib.Parallel` on a cluster.

    Without a cluster or a master the program has a local one with `n_jobs` workers, which the next
    call finds again.

    Args:
        cluster: A `LocalCluster` or `ApplicationNode` to share.
        master: Address of a running master.
        nesting_level: As joblib counts it.
        inner_max_num_threads: Threads that numerical libraries may use in each worker of a local
            cluster; None divides the processors among the workers.
        backend_kwargs: What other backends take is ignored.

    Raises:
        ValueError: Both a cluster and a master are given, or threads are limited where workers run already.
    """

    default_n_jobs = -1
    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    clusters: ClassVar[LocalClusters] = LocalClusters()

    def __init__(
        self,
        *,
        cluster: LocalCluster | ApplicationNode | None = None,
        master: str | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **backend_kwargs: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **backend_kwargs)
        if cluster is not None and master is not None:
            message = f"the backend {NAME!r} takes a cluster or the master at {master}, not both"
            raise ValueError(message)
        if inner_max_num_threads is not None and (cluster or master):
            message = "inner_max_num_threads is for a local cluster of n_jobs workers; these workers run already"
            raise ValueError(message)
        self.parallel: Any = None
        self._shared = None if cluster is None else cluster.executor()
        self._master = master
        self._executor: ClusterExecutor | None = None
        self._borrowed: Borrowed | None = None
        self._open: set[Future[Any]] = set()
        self._call: Call | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many calls may run at once.

        Raises:
            ValueError: `n_jobs` is 0.
        """
        if n_jobs == 0:
            message = "n_jobs == 0 in Parallel has no meaning"
            raise ValueError(message)
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        executor = self._others()
        workers = cpu_count() if executor is None else executor._max_workers  # noqa: SLF001 - as of the standard pools
        return int(max(1, workers + 1 + n_jobs))

    def configure(self, n_jobs: int = 1, parallel: Any = None, **settings: Any) -> int:  # noqa: ARG002 - of other backends
        """Get workers; return how many calls may run at once.

        Raises:
            FallbackToBackend: That is done here: no cluster was given, and one worker is wanted, or
                this is a call of a `Parallel` itself. Or it is another `Parallel` that has this backend.
        """
        n_jobs = self.effective_n_jobs(n_jobs)
        if self.parallel is not None and self.parallel is not parallel:
            raise FallbackToBackend(self._for_another())
        self.parallel = parallel
        self._executor = self._others()
        if self._executor is None:
            if n_jobs == 1 or self.nesting_level:
                raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
            self._borrowed = self.clusters.borrow(n_jobs, self._prepare_worker_env(n_jobs=n_jobs))
            self._executor = self._borrowed.executor
        return n_jobs

    def start_call(self) -> None:
        """Begin to take the results of a `Parallel` call, and those only.

        What the call before has read of its iterator and not submitted when it failed is still there: joblib
        would run it as part of this one.
        """
        parallel = self.parallel
        with parallel._lock:  # noqa: SLF001 - joblib forgets these batches itself nowhere
            _clear(parallel._ready_batches)  # noqa: SLF001
            parallel._jobs.clear()  # noqa: SLF001
            parallel._jobs_set.clear()  # noqa: SLF001
        self._call = Call(parallel._lock)  # noqa: SLF001

    def stop_call(self) -> None:
        """Take no more results; what is still open nobody waits for."""
        if self._call is not None:
            self._call.end()
        self.abort_everything()

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], object] | None = None) -> Future[Any]:
        """Call a batch on a worker; call `callback` with its future at the end.

        A batch that cannot be submitted fails like one that ran: joblib counts it already, and may be in a
        thread where no error reaches the user.
        """
        call, borrowed = self._call, self._borrowed
        assert self._executor is not None  # noqa: S101 - joblib configures before it submits
        assert call is not None  # noqa: S101 - and starts a call
        try:
            future: Future[Any] = self._executor.submit(call_batch, func)
        except Exception as error:  # noqa: BLE001 - as said above
            future = Future()
            future.set_exception(_of_its_call(error, func))
        self._open.add(future)

        def tell(future: Future[Any]) -> None:
            self._open.discard(future)
            if borrowed is not None and not future.cancelled() and isinstance(future.exception(), MasterUnreachable):
                borrowed.is_lost = True
            if callback is not None:
                call.deliver(lambda: callback(future))

        future.add_done_callback(tell)
        if call.is_over:
            future.cancel()
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return the results of a batch, or raise its error."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - joblib's signature
        """Cancel what is open, running or not; the workers stay."""
        for future in list(self._open):
            future.cancel()

    def terminate(self) -> None:
        """Give the workers back."""
        borrowed, self._borrowed = self._borrowed, None
        self._executor = None
        if borrowed is not None:
            self.clusters.give_back(borrowed)
        self.reset_batch_stats()

    def _for_another(self) -> ConcurrentBackend:
        """Return a backend of the same settings, for another `Parallel`."""
        other = copy.copy(self)
        other.__dict__.update(parallel=None, _executor=None, _borrowed=None, _call=None, _open=set())
        other.reset_batch_stats()
        return other

    def _others(self) -> ClusterExecutor | None:
        """Return the executor of a cluster that was given; None without one."""
        if self._shared is None and self._master is not None:
            self._shared = ClusterExecutor(master=self._master)
        return self._shared


def call_batch(batch: Callable[[], Any]) -> Any:
    """Call a batch, where the backend is known by its name as well."""
    register()
    return batch()


def _of_its_call(error: Exception, batch: Any) -> Exception:
    """Return an error as the user knows the call: by function and argument."""
    found = _PART_OF_CALL.match(error.path) if isinstance(error, NotPicklableError) else None
    if not isinstance(error, NotPicklableError) or found is None:
        return error
    number, part, rest = found.groups()
    function = batch.items[int(number)][0]
    where = ("the function itself", "args", "kwargs")[int(part)] + rest
    name = getattr(function, "__qualname__", type(function).__name__)
    message = f"a call of {name} cannot travel: {str(error).replace(error.path, where).partition(': ')[2]}"
    return NotPicklableError(message, where, error.culprit)


def _clear(batches: queue.Queue[Any]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            batches.get_nowait()
