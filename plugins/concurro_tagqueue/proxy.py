"""A task manager that a master keeps: `TaskManagerProxy`.

    add_task_request --packed here--> master, which looks at nothing --> unpacked by who takes it
    get_any_task ---- waits there, and holds nobody up ------------------> the answer

Whose process dies, or is closed, loses what it held: its tasks return to the front, at once.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback as tracebacks
from typing import TYPE_CHECKING, Any, Self

from concurro import ConcurroError, ServiceFailedError
from concurro_tagqueue import asking
from concurro_tagqueue.connection import SERVICE, Connection, is_address, open_application
from concurro_tagqueue.errors import TakerLostError, TaskRaisedException
from concurro_tagqueue.records import LabelRecord, TagCounts
from concurro_tagqueue.sessions import GIVEN_UP, INLINE
from concurro_tagqueue.surface import TaskManagerMethods
from concurro_tagqueue.values import dump_value, load_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from concurro_tagqueue.lines import Choice

log = logging.getLogger("concurro.tagqueue")

MOST_AT_ONCE = 1000
"""So many tasks are added by one message."""


class TaskManagerProxy(TaskManagerMethods):
    """A task manager of a master; made by `TaskManager.connect`. Thread-safe.

    What is added and stored is pickled here, as the arguments of tasks are, and unpickled by who takes it:
    everybody has copies. See `TaskManagerMethods` for what each method does; beyond that all raise
    `MasterUnreachable` when the master is gone for longer than `patience`, `QueueLostError` when the task
    manager is gone with it, `NotPicklableError` for a value that cannot travel, and `ClosedError` after
    `close`.

    Args:
        master: Address of a master, a node, or a `LocalCluster`; None: `[application] master`.
        label: Which of the master's task managers.
        patience: So long calls wait for a master that is gone, counted from its loss, 8 s at least
            unless it said goodbye; after that each call looks for a second whether it is there again.
            With a node or a cluster its own `[application] connect_timeout` comes first [s].
        essential: Whether the task manager is terminated when this leaves, or is gone for long.
        config: What `Config.load` takes, for an address.

    Attributes:
        label: As given.
    """

    def __init__(
        self,
        master: Any = None,
        label: str = "default",
        *,
        patience: float = 60.0,
        config: Any = None,
        essential: bool = False,
    ) -> None:
        seconds = asking.check_seconds("patience", patience) or 0.0
        self._connection = Connection(master, label, seconds, config, essential=essential)
        self.label = label

    def __repr__(self) -> str:
        """Return where it is."""
        return f"<task manager {self.label!r} of {self._connection.application.master_url}>"

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Leave the task manager, which stays. Idempotent.

        The processes that were registered here are unregistered, the tasks that were taken here and have
        no result return to the front, calls that wait end with `ClosedError`.
        """
        self._connection.close()

    # Processes

    def register_process(self, watchdog_period: float | None = None, info: str | None = None) -> int:
        """Register a process, for as long as this is connected."""
        period = asking.check_seconds("watchdog_period", watchdog_period, above=True)
        process_id: int = self._connection.ask("register", period, asking.check_info(info))
        return process_id

    def unregister_process(self, process_id: int) -> None:
        """Forget a process; its running tasks return to the front of the line."""
        self._connection.ask("unregister", process_id)

    def ping(self, process_id: int) -> None:
        """Say that a process lives."""
        self._connection.ask("ping", process_id)

    def active_process_info(self, pid: int) -> str:
        """Return what a process said of itself."""
        info: str = self._connection.ask("process_info", pid)
        return info

    def active_processes(self) -> dict[int, str]:
        """Return what each registered process said of itself, by id."""
        return dict(self._connection.ask("processes"))

    # Tasks

    def add_task_request(self, tag: str, parameters: Any, process_id: int | None = None, *, priority: int = 0) -> str:
        """Put a task at the end of the line; return its id."""
        (task_id,) = self.add_task_requests(tag, (parameters,), process_id, priority=priority)
        return task_id

    def add_task_requests(
        self, tag: str, parameters: Iterable[Any], process_id: int | None = None, *, priority: int = 0
    ) -> list[str]:
        """Add many tasks of one tag; return their ids in order."""
        facts = (asking.check_tag(tag), process_id, asking.check_priority(priority))
        task_ids: list[str] = []
        for batch in _batches(map(self._dump, parameters)):
            if len(batch[0]) > INLINE:
                task_ids += self._connection.ask("add_large", *facts, value=batch[0])
            else:
                task_ids += self._connection.ask("add", *facts, batch)
        return task_ids

    def return_task(self, task_id: str, process_id: int | None = None) -> None:
        """Put a running task back to the front of the line."""
        self._connection.ask("return_task", task_id, process_id)

    def store_result(self, task_id: str, result: Any) -> None:
        """Store the result of a running task."""
        self._connection.ask("store", task_id, 0, value=self._dump(result))

    def store_exception(self, task_id: str, exception: Any, traceback: str) -> None:
        """Store what a running task raised.

        One that does not travel arrives as a `ServiceFailedError` with its text.
        """
        self._connection.ask("store", task_id, 1, value=self._dump(self._described(exception, traceback)))

    # Counts

    def number_of_tasks(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Return how many tasks wait, run, have a result, by tag."""
        waiting, running, finished, _ = self._connection.ask("counts")
        return waiting, running, finished

    def number_of_dropped_results(self) -> int:
        """Return how many results were dropped, since they came too late."""
        dropped: int = self._connection.ask("counts")[3]
        return dropped

    def watch_tag(self, tag: str, seen: TagCounts | None = None, timeout: float | None = None) -> TagCounts:
        """Return the counts of a tag as soon as they are not `seen`."""
        limit = asking.check_seconds("timeout", timeout)
        known = None if seen is None else list(seen)
        return TagCounts(*self._connection.ask("watch", asking.check_tag(tag), known, timeout=limit))

    def drain_tag(self, tag: str) -> list[tuple[str, Any]]:
        """Take all waiting tasks of a tag out of the line.

        When this process dies meanwhile, or parameters cannot be rebuilt here, they are in line again.
        """
        drained: list[tuple[str, Any]] = []
        while held := self._take_all(asking.check_tag(tag)):
            ended: set[str] = set()
            for start in range(0, len(held), MOST_AT_ONCE):
                task_ids = [task_id for task_id, _ in held[start : start + MOST_AT_ONCE]]
                ended.update(self._connection.ask("discard", task_ids))
            drained += [each for each in held if each[0] in ended]  # the others went back: our connection was lost
        return drained

    # Data

    def store_data(self, /, **items: Any) -> None:
        """Store data items, for every process."""
        for label, packed in [(label, self._dump(item)) for label, item in items.items()]:
            self._connection.ask("store_data", label, value=packed)

    def retrieve_data(self, label: str) -> Any:
        """Return a data item, another copy each time."""
        return self._load(self._connection.ask("retrieve_data", label))

    def delete_data(self, label: str) -> None:
        """Forget a data item."""
        self._connection.ask("delete_data", label)

    # The end

    def terminate(self) -> None:
        """Say that no more tasks and results are wanted.

        When everybody who is connected has left, the task manager is forgotten, with what is in it.
        """
        self._connection.ask("terminate")

    # How

    def _take(self, choice: Choice, process_id: int | None, timeout: float | None) -> tuple[str, str, Any]:
        limit = asking.check_seconds("timeout", timeout)
        deadline = None if limit is None else time.monotonic() + limit
        rest = limit
        while True:
            task_id, tag, _, packed = self._connection.ask("take", _plain(choice), process_id, timeout=rest)
            try:
                return task_id, tag, self._load(packed)
            except Exception as error:  # noqa: BLE001 - loading runs code of users
                log.warning("the parameters of task %s with tag %r cannot be rebuilt here: %s", task_id, tag, error)
                self.store_exception(task_id, error, tracebacks.format_exc())
                rest = None if deadline is None else max(0.0, deadline - time.monotonic())
            except BaseException:
                with contextlib.suppress(Exception):
                    self.return_task(task_id)
                raise

    def _take_all(self, tag: str) -> list[tuple[str, Any]]:
        """Take all waiting tasks of a tag, as if they ran here; all or none."""
        held: list[tuple[str, bytes]] = []
        try:
            while page := self._connection.ask("drain", tag):
                if isinstance(page[0], str):  # a large one, alone
                    page = [[page[0], [page[-1]]]]
                held += [(task_id, parts[0]) for task_id, parts in page]
            return [(task_id, self._load(packed)) for task_id, packed in held]
        except BaseException:
            with contextlib.suppress(ConcurroError):
                for task_id, _ in reversed(held):
                    self.return_task(task_id)
            raise

    def _collect(self, choice: Choice, timeout: float | None) -> tuple[str, str, Any]:
        limit = asking.check_seconds("timeout", timeout)
        task_id, tag, raised, packed = self._connection.ask("collect", _plain(choice), timeout=limit)
        if raised == GIVEN_UP:
            raise TaskRaisedException(task_id, tag, TakerLostError(packed.decode()), "")
        try:
            result = self._load(packed)
        except Exception as error:
            raise TaskRaisedException(task_id, tag, error, tracebacks.format_exc()) from error
        if raised:
            pickled, type_name, text, trace = result
            raise TaskRaisedException(task_id, tag, self._rebuilt(pickled, type_name, text, trace), trace)
        return task_id, tag, result

    def _described(self, exception: Any, trace: str) -> tuple[bytes | None, str, str, str]:
        """Return an exception as it travels: its text, and itself if it can."""
        try:
            pickled: bytes | None = self._dump(exception)
            self._load(pickled or b"")
        except Exception:  # noqa: BLE001 - pickling runs code of users
            pickled = None
        try:
            text = str(exception)
        except Exception as fault:  # noqa: BLE001 - so does `__str__`
            text = f"<its __str__ raised {type(fault).__name__}>"
        return pickled, type(exception).__name__, text, str(trace)

    def _rebuilt(self, pickled: bytes | None, type_name: str, text: str, trace: str) -> Any:
        if pickled is not None:
            with contextlib.suppress(Exception):
                return self._load(pickled)
        return ServiceFailedError(type_name, text, trace, SERVICE)

    def _dump(self, value: Any) -> bytes:
        return dump_value(self._connection.application, value)

    def _load(self, packed: bytes) -> Any:
        return load_value(self._connection.application, packed)


def labels(master: Any = None, *, config: Any = None) -> list[LabelRecord]:
    """Return what task managers a master has, and how many tasks are in them.

    Args:
        master: As `TaskManager.connect` takes it.
        config: As well.

    Raises:
        MasterUnreachable: No master answered.
    """
    application = open_application(master, config)
    try:
        listed = application.service(SERVICE).call("labels").result()
    finally:
        if is_address(master):
            application.close()
    return [
        LabelRecord(label, waiting, running, finished, dict(processes), terminated)
        for label, waiting, running, finished, processes, terminated in listed
    ]


def _plain(choice: Choice) -> list[Any]:
    return [None if choice.tags is None else sorted(choice.tags), choice.pattern]


def _batches(packed: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield what goes into one message: a large one goes alone."""
    batch: list[bytes] = []
    size = 0
    for one in packed:
        if batch and (size + len(one) > INLINE or len(batch) == MOST_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one)
    if batch:
        yield batch
