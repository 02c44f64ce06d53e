r"""A task manager within one process: `TaskManager`.

    thread --take--> core: there is one ------------------------------> at once
                     core: none --> Waiter, its own condition, waits --\
    thread --add---> core --> the longest waiter's task -- notified ---/
    watchdog thread, while processes promise pings: sleeps until the next one is due

All under one lock, none of it held while somebody waits.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from concurro_tagqueue import asking
from concurro_tagqueue.core import CRASH_LIMIT, TaskManagerCore
from concurro_tagqueue.errors import TaskRaisedException, WaitTimeoutError
from concurro_tagqueue.records import TagCounts, Waiter
from concurro_tagqueue.surface import TaskManagerMethods

if TYPE_CHECKING:
    from concurro_tagqueue.lines import Choice
    from concurro_tagqueue.proxy import TaskManagerProxy
    from concurro_tagqueue.records import LabelRecord


class _Waiter(Waiter):
    """A thread that waits.

    Attributes:
        bell: Rung when it waits no more.
    """

    __slots__ = ("bell",)
    bell: threading.Condition


class TaskManager(TaskManagerMethods):
    """Tasks by tag, for the threads of one process. Thread-safe.

    Parameters and results are handed on as they are, neither copied nor pickled. For several processes
    see `connect`. See `TaskManagerMethods` for what each method does.

    Args:
        crash_limit: A task fails with `TakerLostError` when so many processes that ran it were unregistered since
            they did not ping; 0 for never. At a master it is `[tagqueue] crash_limit`.
    """

    def __init__(self, crash_limit: int = CRASH_LIMIT) -> None:
        self._core = TaskManagerCore(crash_limit)
        self._lock = threading.Lock()
        self._watched = threading.Condition(self._lock)
        self._watchdog: threading.Thread | None = None

    def __repr__(self) -> str:
        """Return how many tasks there are."""
        core = self._core
        return f"<TaskManager: {len(core.waiting)} tasks wait, {len(core.finished)} results are there>"

    @staticmethod
    def connect(
        master: Any = None,
        label: str = "default",
        *,
        patience: float = 60.0,
        config: Any = None,
        essential: bool = False,
    ) -> TaskManagerProxy:
        """Return a task manager that a running master keeps, for many processes.

        It has all methods of this class. Whoever connects with the same label has the same tasks; a label that nobody
        used before begins with none.

        Args:
            master: Address of a master, a node, or a `LocalCluster`; None: `[application] master`.
            label: Which of the master's task managers.
            patience: So long calls wait for a master that is gone, counted from its loss, 8 s at least
                unless it said goodbye; after that each call looks for a second whether it is there again.
                With a node or a cluster its own `[application] connect_timeout` comes first [s].
            essential: Whether the task manager is terminated when this leaves, or is gone for longer than
                `[tagqueue] grace`; a label has one such connection at most.
            config: What `Config.load` takes, for an address.

        Raises:
            MasterUnreachable: No master answered.
            UnknownServiceError: It has no task managers.
            ConfigError: What is given cannot be used.
        """
        from concurro_tagqueue.proxy import TaskManagerProxy  # noqa: PLC0415 - it builds upon this module

        return TaskManagerProxy(master, label, patience=patience, config=config, essential=essential)

    @staticmethod
    def labels(master: Any = None, *, config: Any = None) -> list[LabelRecord]:
        """Return what task managers a master has, and how many tasks are in them.

        Args:
            master: As `connect` takes it.
            config: As well.

        Raises:
            MasterUnreachable: No master answered.
            UnknownServiceError: It has no task managers.
        """
        from concurro_tagqueue.proxy import labels  # noqa: PLC0415 - it builds upon this module

        return labels(master, config=config)

    # Processes

    def register_process(self, watchdog_period: float | None = None, info: str | None = None) -> int:
        """Register a process; return its id."""
        period = asking.check_seconds("watchdog_period", watchdog_period, above=True)
        said = asking.check_info(info)
        with self._lock:
            process_id = self._core.register(time.monotonic(), period, said)
            if period is not None:
                self._watch()
            return process_id

    def unregister_process(self, process_id: int) -> None:
        """Forget a process; its running tasks return to the front of the line."""
        with self._lock:
            self._core.unregister(process_id)
            self._watched.notify()  # who watches pings may have nothing left to do
            self._ring()

    def ping(self, process_id: int) -> None:
        """Say that a process lives."""
        with self._lock:
            self._core.ping(process_id, time.monotonic())

    def active_process_info(self, pid: int) -> str:
        """Return what a process said of itself."""
        with self._lock:
            return self._core.process(pid).info

    def active_processes(self) -> dict[int, str]:
        """Return what each registered process said of itself, by id."""
        with self._lock:
            return {process_id: process.info for process_id, process in self._core.processes.items()}

    # Tasks

    def add_task_request(self, tag: str, parameters: Any, process_id: int | None = None, *, priority: int = 0) -> str:
        """Put a task at the end of the line; return its id."""
        asking.check_tag(tag)
        asking.check_priority(priority)
        with self._lock:
            task = self._core.add(tag, parameters, process_id, priority)
            self._ring()
            return task.task_id

    def return_task(self, task_id: str, process_id: int | None = None) -> None:
        """Put a running task back to the front of the line."""
        with self._lock:
            self._core.give_back(task_id, process_id)
            self._ring()

    def store_result(self, task_id: str, result: Any) -> None:
        """Store the result of a running task."""
        with self._lock:
            self._core.store(task_id, result)
            self._ring()

    def store_exception(self, task_id: str, exception: Any, traceback: str) -> None:
        """Store what a running task raised."""
        with self._lock:
            self._core.store(task_id, (exception, traceback), raised=True)
            self._ring()

    # Counts

    def number_of_tasks(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Return how many tasks wait, run, have a result, by tag."""
        with self._lock:
            return self._core.number_of_tasks()

    def number_of_dropped_results(self) -> int:
        """Return how many results were dropped, since they came too late."""
        return self._core.dropped

    def watch_tag(self, tag: str, seen: TagCounts | None = None, timeout: float | None = None) -> TagCounts:
        """Return the counts of a tag as soon as they are not `seen`."""
        limit = asking.check_seconds("timeout", timeout)
        waiter = _Waiter(asking.with_tag(tag), seen=seen)
        with self._lock:
            self._core.watch(tag, waiter)
            self._wait(waiter, limit, f"a change of the tasks with {waiter.choice}")
            return waiter.counts or TagCounts(0, 0, 0)

    def drain_tag(self, tag: str) -> list[tuple[str, Any]]:
        """Take all waiting tasks of a tag out of the line."""
        asking.check_tag(tag)
        with self._lock:
            drained = self._core.drain(tag)
            self._ring()
            return [(task.task_id, task.parameters) for task in drained]

    # Data

    def store_data(self, /, **items: Any) -> None:
        """Store data items, for every process."""
        with self._lock:
            self._core.store_data(items)

    def retrieve_data(self, label: str) -> Any:
        """Return a data item."""
        with self._lock:
            return self._core.retrieve_data(label)

    def delete_data(self, label: str) -> None:
        """Forget a data item."""
        with self._lock:
            self._core.delete_data(label)

    # The end

    def terminate(self) -> None:
        """Say that no more tasks and results are wanted."""
        with self._lock:
            self._core.terminate()
            self._ring()

    # How

    def _take(self, choice: Choice, process_id: int | None, timeout: float | None) -> tuple[str, str, Any]:
        limit = asking.check_seconds("timeout", timeout)
        with self._lock:
            task = self._core.take(choice, process_id)
            if task is None:
                waiter = _Waiter(choice, process_id)
                self._core.park_taker(waiter)
                task = self._wait(waiter, limit, f"a task with {choice}")
            else:
                self._ring()
            return task.task_id, task.tag, task.parameters

    def _collect(self, choice: Choice, timeout: float | None) -> tuple[str, str, Any]:
        limit = asking.check_seconds("timeout", timeout)
        with self._lock:
            task = self._core.take_result(choice)
            if task is None:
                waiter = _Waiter(choice)
                self._core.park_collector(waiter)
                task = self._wait(waiter, limit, f"a result with {choice}")
            self._core.confirm(task)
            self._ring()
        if task.raised:
            raise TaskRaisedException(task.task_id, task.tag, *task.result)
        return task.task_id, task.tag, task.result

    def _wait(self, waiter: _Waiter, timeout: float | None, what: str) -> Any:
        """Wait until somebody ended the wait; the lock is held before and after."""
        waiter.bell = threading.Condition(self._lock)
        try:
            waiter.bell.wait_for(lambda: waiter.over, timeout)
        except BaseException:
            self._core.undo(waiter)  # Ctrl-C: nothing may be lost with it
            self._ring()
            raise
        if not waiter.over:
            self._core.unpark(waiter)
            message = f"no sign of {what} within {timeout:g} s"
            raise WaitTimeoutError(message)
        if waiter.error is not None:
            raise waiter.error
        return waiter.task

    def _ring(self) -> None:
        for waiter in self._core.take_ready():
            waiter.bell.notify()  # type: ignore[attr-defined] # all who wait here are ours

    def _watch(self) -> None:
        """Have the pings watched; the lock is held."""
        if self._watchdog is None:
            self._watchdog = threading.Thread(target=self._watch_pings, name="tagqueue-watchdog", daemon=True)
            self._watchdog.start()
        else:
            self._watched.notify()

    def _watch_pings(self) -> None:
        with self._lock:
            while (deadline := self._core.next_deadline()) is not None:
                rest = deadline - time.monotonic()
                if rest > 0:
                    self._watched.wait(rest)
                else:
                    self._core.expire(time.monotonic())
                    self._ring()
            self._watchdog = None
