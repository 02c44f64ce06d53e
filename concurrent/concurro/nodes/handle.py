"""A handle on a submitted system.

A future, its progress, its partial results.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from concurro.errors import HostLost, RemoteTraceback, SystemFailedError
from concurro.ids import Failure, Outcome, ProgressRecord, SystemState
from concurro.nodes.futures import LoopFuture
from concurro.nodes.partial_results import PartialResults, Published
from concurro.wire.libraries import blamed, differences, needed_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.nodes.control import Control
    from concurro.wire.payload import Packer

log = logging.getLogger(__name__)


OUTPUT_LIMIT = 30.0
"""How long the master may take to give the output of a task [s]."""


class SystemHandle(LoopFuture):
    """A running task system. Thread-safe.

    `result(timeout)` gives what `gather_result` gave as its result; its error, if not None, is
    raised (an exception as it is, else `SystemFailedError`). `await handle` is the same in an
    asyncio loop; whoever is cancelled there cancels the system, but for `asyncio.shield`.

    Attributes:
        system_id: Id of the system; `attach(system_id)` makes another handle.
    """

    def __init__(self, system_id: str, name: str, control: Control) -> None:
        super().__init__(control)
        self.system_id = system_id
        self._name = name
        self._progress = ProgressRecord()
        self._published = Published(control, self.describe)
        self._watchers: list[Callable[[ProgressRecord], None]] = []
        self._gathered: tuple[Any, Any] | None = None
        self._acknowledged = threading.Event()
        self._refusal: BaseException | None = None

    def __repr__(self) -> str:
        return f"<SystemHandle {self._name} {self.system_id} {self.state}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows; nobody is asked for it."""
        from concurro.nodes.notebook import system_html  # noqa: PLC0415 - for notebooks only

        fault = None if not self.done() or self.cancelled() else self.exception()
        return system_html(self._name, self.system_id, self.state, self._progress, fault)

    @property
    def progress(self) -> ProgressRecord:
        """How far the system is, as last heard."""
        return self._progress

    @property
    def state(self) -> str:
        """`running`, `complete`, `failed` or `cancelled`."""
        if not self.done():
            return SystemState.RUNNING.value
        if self.cancelled():
            return SystemState.CANCELLED.value
        return SystemState.COMPLETE.value if self.exception() is None else SystemState.FAILED.value

    @property
    def gathered(self) -> tuple[Any, Any] | None:
        """What `gather_result` gave, also after a cancel.

        None when it was not asked.
        """
        return self._gathered

    def partial_results(self) -> PartialResults:
        """Iterate over what the system publishes until it ends.

        With `for`, or `async for`. Each value goes to one iterator.

        Raises:
            WaitInCallbackError: By `next`: nothing is there yet, and this is a callback.
        """
        return PartialResults(self._published)

    def cancel(self) -> bool:
        """Ask for the end of the system, running or not.

        Return whether it was still open.

        `result` raises `CancelledError` once the master has confirmed.
        """
        if self.done():
            return self.cancelled()
        self._control.cancel_system(self.system_id)
        return True

    def running(self) -> bool:
        """Whether the system has not ended."""
        return not self.done()

    def describe(self) -> str:
        """Name the system."""
        return f"system {self.system_id} ({self._name})"

    def explain(self) -> str:
        """Return one sentence: why the system is where it is."""
        if self.done():
            fault = None if self.cancelled() else self.exception()
            why = "" if fault is None else f", {Failure(type(fault).__name__, str(fault)).brief}"
            return f"System {self.system_id} ({self._name}) ended: {self.state}{why}."
        self._control.refuse_to_wait("explain()")
        return str(self._control.request("explain", [self.system_id]).result())

    def output(self, task_id: str) -> str:
        """Return the last lines that a task of the system wrote, running or ended.

        Both streams as they came, within a bound; empty for a task that wrote nothing.

        Raises:
            LookupError: The system has no such task, or it ended too long ago.
        """
        if not isinstance(task_id, str) or task_id.rpartition(":")[0] != self.system_id:
            expected = f"output takes the id of one of its tasks (task.task_id), e.g. '{self.system_id}:0'"
            message = f"no task {task_id!r} in system {self.system_id}: {expected}"
            raise LookupError(message)
        self._control.refuse_to_wait("output()")
        return str(self._control.request("output", [task_id]).result(OUTPUT_LIMIT))

    def watch(self, watcher: Callable[[ProgressRecord], None]) -> None:
        """Call `watcher(progress)` with every news, in the thread that takes them."""
        self._watchers.append(watcher)

    def wait_accepted(self, timeout: float | None = None) -> None:
        """Wait until the master has the system.

        Raises:
            TimeoutError: It did not answer in time.
            ConcurroError: It refused, or cannot be reached.
        """
        if not self._acknowledged.wait(timeout):
            message = f"the master did not accept system {self.system_id} within {timeout:g} s"
            raise TimeoutError(message)
        if self._refusal is not None:
            raise self._refusal

    # News, from the application's loop

    def acknowledge(self) -> None:
        """Take that the master has the system."""
        self._acknowledged.set()

    def take_progress(self, progress: ProgressRecord) -> None:
        """Take how far the system is."""
        self._progress = progress
        for watcher in list(self._watchers):
            try:
                watcher(progress)
            except BaseException:  # a user's code, and everybody else's news come through this thread
                log.exception("a watcher of system %s failed", self.system_id)

    def take_published(self, value: Any) -> None:
        """Take a partial result."""
        self._published.add(value)

    def take_end(self, state: str, result: list[Any] | None, packer: Packer) -> None:
        """Take the end of the system."""
        if self.done():
            return
        error: BaseException | None = None
        value: Any = None
        try:
            if result is not None and result[0] == Outcome.DONE:
                self._gathered = packer.loads(result[1], result[2])
                value, gathered_error = self._gathered
                if gathered_error is not None:
                    error = as_exception(gathered_error)
            elif result is not None:
                error = rebuild_failure(result[1], packer)
        except BaseException as fault:  # noqa: BLE001 - loading a result runs user code, which may do anything
            error = _not_rebuilt(fault, result, packer)
        if state == SystemState.CANCELLED.value:
            self.end_cancelled()
        elif error is not None:
            self.end_failed(error)
        else:
            self._published.close()
            self.set_result(value)

    def end_failed(self, error: BaseException) -> None:
        """End with an error."""
        if not self.done():
            if not self._acknowledged.is_set():
                self._refusal = error
                self._acknowledged.set()
            self._published.close()
            self.set_exception(error)

    def end_cancelled(self) -> None:
        """End as cancelled."""
        if not self.done():
            self._acknowledged.set()
            self._published.close()
            super().cancel()


def _not_rebuilt(fault: BaseException, result: list[Any] | None, packer: Packer) -> SystemFailedError:
    """Return what is raised in place of a result that does not load."""
    text = f"the result arrived but could not be rebuilt: {type(fault).__name__}: {fault}"
    modules = blamed(fault)
    if result is not None and result[0] == Outcome.DONE:
        modules |= packer.modules_of(result[1], result[2])
    needed = needed_here(modules)
    return SystemFailedError(f"{text} ({needed}; the system's host may have another version)" if needed else text)


def as_exception(error: Any) -> BaseException:
    """Return the error of `gather_result` as what `result` raises."""
    if isinstance(error, BaseException) and not isinstance(error, Exception):
        return SystemFailedError(f"{type(error).__name__}: {error}")  # it must not end the program of who waits
    return error if isinstance(error, Exception) else SystemFailedError(error)


def rebuild_failure(failure: list[Any], packer: Packer) -> BaseException:
    """Return what a failed system raises.

    The original exception with the remote traceback, if it can be.
    """
    type_name, message, traceback, pickled = failure[:4]
    where = failure[4] if len(failure) > 4 else ""  # noqa: PLR2004 - the callback, when one raised
    if type_name == HostLost.__name__:
        return HostLost(message)
    if pickled is not None:
        try:
            error = packer.loads_whole(pickled)
        except BaseException:  # noqa: BLE001 - loading runs user code, which may do anything, exit included
            error = None
        if isinstance(error, Exception):
            error.__cause__ = RemoteTraceback(traceback)
            if where:
                error.add_note(f"raised by {where} of the task system")
            if told := differences(error, "in the system's host"):
                error.add_note(told)
            return error
    text = f"{type_name}: {message}" + (f" (raised by {where} of the task system)" if where else "")
    return SystemFailedError(text, traceback)
