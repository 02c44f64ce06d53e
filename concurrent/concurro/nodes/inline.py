"""Everything in this process and thread: breakpoints in a task work.

The host core runs here, its tasks are called here one after the other; they are pickled and
loaded on the way all the same, so that what cannot travel shows here as well.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from concurro.errors import ClosedError, ConfigError, WaitInCallbackError
from concurro.execution.inside import Door, behind
from concurro.ids import Outcome, SystemState
from concurro.nodes.application_core import progress_record, resolve
from concurro.nodes.arguments import check_system, check_timeout
from concurro.nodes.control import Control
from concurro.nodes.failed_attempts import FailedAttempts, save_failures_of
from concurro.nodes.futures import TaskFuture
from concurro.nodes.handle import SystemHandle
from concurro.nodes.host_core import HostCore
from concurro.nodes.ledger import TaskLedger
from concurro.nodes.pushed import new_task
from concurro.nodes.waiting import wait_with_progress
from concurro.scheduling.options import fault_of_options
from concurro.task import each_task
from concurro.wire.blobs import BlobStore
from concurro.wire.failures import describe
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from concurro.kernel import Environment
    from concurro.nodes.waiting import Progress
    from concurro.system import TaskSystem
    from concurro.task import Task
    from concurro.wire.code import CodeTable

log = logging.getLogger("concurro.application")

PULL = 64
BUDGET = 64 * 1024 * 1024
SLAVE_ID = "inline"


class InlineApplication(Control):
    """An application without any other process. For one thread."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._packer = Packer(BlobStore(), Travelling.of_main(env.config["application.ship"]))
        self._save_failed = str(env.config["application.save_failed"] or "")
        self._failed = FailedAttempts(self._save_failed)
        self._closed = False
        self._handles: dict[str, SystemHandle] = {}
        self._number = 0
        self._cancelled: set[str] = set()
        self._door = Door(self)  # whoever asks from inside gets this very application
        self._runner: int | None = None  # the thread that is inside a task or a callback

    @property
    def code(self) -> CodeTable:
        """What travels by value from here."""
        return self._packer.code

    def service(self, name: str, worker: str = "") -> NoReturn:  # noqa: ARG002 - as that of an `ApplicationNode`
        """Refuse.

        Raises:
            ConfigError: Always: services live in other processes.
        """
        message = f"service {name!r}: an inline cluster has no services, they live in other processes; leave out inline"
        raise ConfigError(message)

    def close(self) -> None:
        """Refuse further work. Idempotent."""
        self._closed = True

    def submit(self, system: TaskSystem, **options: Any) -> SystemHandle:
        """Run a task system to its end; return its handle, which is done."""
        self._check_open()
        check_system(system)
        if fault := fault_of_options(options):
            raise ConfigError(fault)
        known = self._handles.get(system.system_id)
        if known is not None:
            return known
        handle = self._handles[system.system_id] = SystemHandle(system.system_id, type(system).__qualname__, self)
        handle.acknowledge()
        save_failures_of(system, self._save_failed)
        payload, blobs = self._packer.dumps(system, ("system", system.system_id), type(system).__qualname__)
        copy = self._packer.loads(payload, blobs)
        self._number += 1
        with self._inside():
            InlineRun(self._number, copy, system.system_id, self._packer, handle, self._cancelled).go()
        return handle

    def attach(self, system_id: str) -> SystemHandle:
        """Return the handle of a system that was run here."""
        try:
            return self._handles[system_id]
        except KeyError:
            message = f"no system {system_id} was run here"
            raise LookupError(message) from None

    def run(
        self,
        system: TaskSystem,
        timeout: float | None = None,
        progress: Progress = False,  # noqa: FBT002 - the fixed public signature
    ) -> Any:
        """Run a task system to its result. `timeout` cannot interrupt a task here."""
        timeout = check_timeout(timeout, least=0.0)
        return wait_with_progress(self.submit(system), timeout, progress)

    def push_task(self, task: Task) -> TaskFuture:
        """Run one task; return its future, which is done."""
        self._check_open()
        ledger = TaskLedger(self._packer, f"inline-{self._number}")
        self._number += 1
        ledger.add(task)
        future = TaskFuture(self, ledger.system_id, ledger.last)
        _, classes, entries = ledger.take()
        with self._inside():
            settled = ledger.settle(run_entry(self._packer, {}, classes, 0, entries[0], task.task_id or ""))
        if settled is not None:
            done, result, error = settled
            if error is not None and (kept := self._failed.take(error)):
                log.warning("%s", kept)
            done.finished(result, error)
            resolve(future, result, error)
        return future

    def push_tasks(self, tasks: Iterable[Task]) -> list[TaskFuture]:
        """Run tasks; return their futures in order."""
        return [self.push_task(task) for task in each_task(tasks)]

    def push_call(self, task_class: type[Task], fields: dict[str, Any], pusher: object) -> TaskFuture:  # noqa: ARG002 - as of an `ApplicationNode`
        """Run a call; return its future, which is done."""
        return self.push_task(new_task(task_class, fields))

    def futures_of(self, pusher: object) -> list[TaskFuture]:  # noqa: ARG002 - as of an `ApplicationNode`
        """Return what is not final: nothing."""
        return []

    def executor(self) -> Any:
        """Return a `ClusterExecutor` whose calls run at once."""
        from concurro.executor import ClusterExecutor  # noqa: PLC0415 - it lies a layer above

        return ClusterExecutor.sharing(self)

    def status(self) -> dict[str, Any]:
        """Return the state of this pretended master."""
        slave: dict[str, Any] = {"id": SLAVE_ID, "host": platform.node(), "pid": os.getpid(), "workers": 1, "lent": 0}
        slave |= {"worker_pids": [], "running": 0, "queued": 0, "finished": 0, "rating": 0.0, "resources": {}}
        slave |= {"sick": "", "draining": False}
        return {"version": 1, "url": "", "slaves": [slave], "systems": []}

    def cancel_system(self, system_id: str) -> None:
        """Cancel a system at its next task."""
        self._cancelled.add(system_id)

    def cancel_task(self, system_id: str, number: int, *, started: bool = True) -> None:
        """Cancel nothing: the task has run."""

    def output_of(self, task_id: str) -> str:
        """Refuse: it is not kept."""
        message = f"the output of task {task_id} is not kept"
        raise LookupError(message)

    def request(self, name: str, arguments: list[Any]) -> Any:
        """Refuse: there is no master to ask."""
        message = f"an inline cluster has no master to ask for {name} of {', '.join(map(str, arguments))}"
        if name == "output":
            message = "an inline cluster keeps no output: its tasks print directly"
        raise LookupError(message)

    @contextmanager
    def lend(self, what: str, over: Callable[[], bool]) -> Iterator[None]:  # noqa: ARG002 - nothing comes meanwhile
        """Refuse to wait inside a task or a callback: nothing else runs meanwhile.

        Raises:
            WaitInCallbackError: This is inside one.
        """
        if self._runner == threading.get_ident():
            message = (
                f"a task or callback of an inline cluster would wait for {what}, for ever: everything runs in this "
                f"very thread, one after the other, and that goes on only when this returns"
            )
            raise WaitInCallbackError(message)
        yield

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Run tasks and callbacks in this thread."""
        before, self._runner = self._runner, threading.get_ident()
        try:
            with behind(self._door):
                yield
        finally:
            self._runner = before

    def _check_open(self) -> None:
        if self._closed:
            message = "the cluster was closed"
            raise ClosedError(message)


class InlineRun:
    """One task system, run to its end."""

    def __init__(  # noqa: PLR0913 - what a run consists of
        self,
        number: int,
        system: TaskSystem,
        system_id: str,
        packer: Packer,
        handle: SystemHandle,
        cancelled: set[str],
    ) -> None:
        view = [[SLAVE_ID, platform.node(), 1, 0, 0, 0.0, {}]]
        self._core = HostCore(number, system, system_id, packer, seed=time.time_ns(), view=view)
        self._packer = packer
        self._handle = handle
        self._number = number
        self._system_id = system_id
        self._cancelled = cancelled
        self._classes: dict[int, Any] = {}
        self._waiting: deque[tuple[int, list[Any]]] = deque()
        self._counts = {"queued": 0, "leased": 0, "done": 0, "failed": 0, "cancelled": 0}
        self._started = time.monotonic()
        self._new_classes: list[list[Any]] = []
        self._published = 0

    def go(self) -> None:
        """Run the system to its end."""
        finished: list[list[Any]] = []
        end = self._take(self._core.start(time.time()))
        n = 0
        while end is None:
            n += 1
            pull = PULL if not self._waiting else 0
            reason = "cancelled" if self._system_id in self._cancelled else None
            body = [self._number, n, time.time(), finished, pull, BUDGET, reason, None]
            end = self._take(self._core.take_input(body))
            finished = []
            if end is None and self._waiting:
                number, entry = self._waiting.popleft()
                finished = [self._call(number, entry)]
        state, result = end
        self._counts["cancelled"] += len(self._waiting)
        self._counts["queued"] = 0
        self._tell(None)
        self._handle.take_end(SystemState(state).value, result, self._packer)

    def _call(self, number: int, entry: list[Any]) -> list[Any]:
        task_id = f"{self._system_id}:{number}"
        classes, self._new_classes = self._new_classes, []
        ended = run_entry(self._packer, self._classes, classes, number, entry, task_id)
        self._counts["done" if ended[1] == Outcome.DONE else "failed"] += 1
        return ended

    def _take(self, out: list[Any]) -> list[Any] | None:
        first, classes, tasks, cancelled, publications, progress, end = out[2:9]
        self._new_classes.extend(classes)
        self._waiting.extend((first + index, entry) for index, entry in enumerate(tasks))
        for number in cancelled:
            self._cancel(number)
        for value, blobs in publications:
            self._handle.take_published(self._packer.loads(value, blobs))
            self._published += 1
        self._core.release_published(self._published)
        self._tell(progress)
        taken: list[Any] | None = end
        return taken

    def _cancel(self, number: int) -> None:
        for index, (waiting, _) in enumerate(self._waiting):
            if waiting == number:
                del self._waiting[index]
                self._counts["cancelled"] += 1
                failure = ["TaskCancelled", "the task was cancelled", "", None]
                entry = [number, int(Outcome.CANCELLED), failure, None, None, 0, 0]
                self._waiting.appendleft((-1, entry))
                return

    def _tell(self, progress: list[Any] | None) -> None:
        self._counts["queued"] = len(self._waiting)
        self._handle.take_progress(progress_record(progress, dict(self._counts), time.monotonic() - self._started))


def run_entry(  # noqa: PLR0913 - what a lease consists of
    packer: Packer,
    known: dict[int, Any],
    classes: list[list[Any]],
    number: int,
    entry: list[Any],
    task_id: str,
) -> list[Any]:
    """Run one emitted task here, with its retries; return its final entry."""
    if number < 0:
        return entry
    for class_entry in classes:
        known[class_entry[0]] = (packer.load_task_class(class_entry[6], class_entry[7]), class_entry[4])
    cls, retries = known[entry[0]]
    blobs = entry[2] if len(entry) > 2 else None  # noqa: PLR2004 - [class, payload, blobs]
    attempt = 0
    while True:
        attempt += 1
        began = time.perf_counter_ns()
        outcome, value, result_blobs = _attempt(packer, cls, entry[1], blobs, task_id, attempt)
        took = time.perf_counter_ns() - began
        if outcome == Outcome.DONE or outcome != Outcome.RAISED or attempt > (retries or 0):
            return [number, int(outcome), value, result_blobs, SLAVE_ID, attempt, took]


def _attempt(  # noqa: PLR0913 - what a lease consists of
    packer: Packer, cls: Any, payload: bytes, blobs: Any, task_id: str, attempt: int
) -> tuple[Outcome, Any, Any]:
    try:
        task = packer.load_task(cls, payload, blobs)
        task.task_id, task.slave_id, task.attempt = task_id, SLAVE_ID, attempt
        task.system_id = task_id.rpartition(":")[0]
        try:
            result = task()
        finally:
            task.clean_up()
    except KeyboardInterrupt:
        raise
    except BaseException as fault:  # noqa: BLE001 - a task may raise anything, exits included
        return Outcome.RAISED, list(describe(fault, dumps=packer.dumps_whole, loads=packer.loads_whole)), None
    try:
        value, result_blobs = packer.dumps(result, ("result", task_id), "result")
    except Exception as fault:  # noqa: BLE001 - whatever keeps it from travelling
        return Outcome.NOT_PICKLABLE, list(describe(fault)), None
    return Outcome.DONE, value, result_blobs
