"""The tasks of one system that were emitted and are not final. Pure.

Used by whoever makes tasks: the host of a system, and an application for its plain tasks.

    add(task) --> number, class, pickled state --> take() --> OUT
    IN --> settle(entry) --> the same task object, its result or its error
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

from concurro.errors import InvalidTaskError
from concurro.ids import Failure, Outcome, format_task_id, parse_task_id
from concurro.task import check_task, task_class_key
from concurro.wire.failures import describe, rebuild
from concurro.wire.messages import Kind, pack_message
from concurro.wire.saved_attempt import save_attempt

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.errors import TaskError
    from concurro.task import Task
    from concurro.wire.payload import Packer


class TaskLedger:
    """Emitted tasks by number.

    Args:
        packer: Pickles tasks, loads results.
        system_id: The system of the tasks.
        client_id: The application that pushed them; None in a host.

    Attributes:
        open: Number to task, for every task that is not final.
        waiting_bytes: Bytes of tasks that were added and not taken [B].
        taken_bytes: Bytes of tasks that were taken and are not final [B].
    """

    def __init__(self, packer: Packer, system_id: str, client_id: str | None = None) -> None:
        self.open: dict[int, Task] = {}
        self.system_id = system_id
        self._packer = packer
        self._client_id = client_id
        self._next = 0
        self._first = 0
        self._class_numbers: dict[Hashable, int] = {}
        self._new_classes: list[list[Any]] = []
        self._entries: list[list[Any]] = []
        self._with_blobs: set[int] = set()
        self._sizes: dict[int, int] = {}
        self.waiting_bytes = 0
        self.taken_bytes = 0

    def freeze(self) -> list[Any]:
        """Return what `thaw` takes: nothing waits to be taken."""
        return [self.open, self._next, list(self._class_numbers.items())]

    def thaw(self, state: list[Any]) -> None:
        """Become what another one was.

        The master has the large parts of its tasks.
        """
        self.open, self._next, classes = state
        self._first = self._next
        self._class_numbers = dict(classes)

    def add(self, value: Any) -> str:
        """Take a task and return its id.

        Raises:
            InvalidTaskError: It is no usable task.
            NotPicklableError: It cannot travel.
        """
        task = check_task(value)
        key = task_class_key(task)
        class_number = self._class_numbers.get(key)
        if class_number is None:
            class_number = self._announce(key, task)
        number = self._next
        payload, blobs = self._packer.dump_task(task, (self.system_id, number))
        task.task_id = task_id = format_task_id(self.system_id, number)
        task.system_id = self.system_id
        if self._client_id is not None:
            task.client_id = self._client_id
        if blobs:
            self._with_blobs.add(number)
            self._entries.append([class_number, payload, blobs])
            self.waiting_bytes += _size_of(self._entries[-1])
        else:
            self._entries.append([class_number, payload])
            self.waiting_bytes += len(payload)
        self.open[number] = task
        self._next += 1
        return task_id

    @property
    def last(self) -> int:
        """The number of the task that was added last."""
        return self._next - 1

    @property
    def waiting(self) -> int:
        """How many tasks were added and not taken."""
        return len(self._entries)

    def take(self) -> tuple[int, list[list[Any]], list[list[Any]]]:
        """Return what was added as `(first number, classes, entries)` of an OUT."""
        first, classes, entries = self._first, self._new_classes, self._entries
        self._new_classes, self._entries = [], []
        self.waiting_bytes = 0
        self._first += len(entries)
        return first, classes, entries

    def take_within(self, tasks: int, size: int) -> tuple[int, list[list[Any]], list[list[Any]]]:
        """Return what was added as `take` does, as far as credit goes.

        Args:
            tasks: Most tasks.
            size: Bytes that may be on their way, those taken before included [B]; a single task may be larger.
        """
        count = 0
        for entry in itertools.islice(self._entries, max(0, tasks)):
            entry_size = _size_of(entry)
            if self.taken_bytes + entry_size > size and self.taken_bytes:
                break
            self._sizes[self._first + count] = entry_size
            self.taken_bytes += entry_size
            self.waiting_bytes -= entry_size
            count += 1
        first = self._first
        if not count:
            return first, [], []  # a class travels with its first task, not without
        classes, self._new_classes = self._new_classes, []
        entries, self._entries = self._entries[:count], self._entries[count:]
        self._first += count
        return first, classes, entries

    def number_of(self, task_id: str) -> int | None:
        """Return the number of an open task of this system, else None.

        Raises:
            ValueError: `task_id` is none, or of another system.
        """
        system_id, number = parse_task_id(task_id)
        if system_id != self.system_id:
            message = f"task {task_id} belongs to another system than {self.system_id}"
            raise ValueError(message)
        return number if number in self.open else None

    def settle(self, entry: list[Any]) -> tuple[Task, Any, TaskError | None] | None:
        """Take a final task out; return it with its result or error.

        None: it is not open.
        """
        number, outcome, value, blobs, slave_id, attempt, nanoseconds = entry[:7]
        task = self.open.pop(number, None)
        if task is None:
            return None
        if self._sizes:
            self.taken_bytes -= self._sizes.pop(number, 0)
        task.slave_id = slave_id
        task.attempt = attempt
        task.attempt_duration = nanoseconds * 1e-9
        if number in self._with_blobs:
            self._with_blobs.discard(number)
            self._packer.blobs.release((self.system_id, number))
        if outcome == 0:
            try:
                return task, self._packer.loads(value, blobs), None
            except BaseException as fault:  # noqa: BLE001 - loading a result runs user code, which may do anything
                error = self._unloadable(task, fault)
        else:
            error = rebuild(task.task_id, outcome, value, slave_id, attempt, self._packer.loads_whole)
        error.saver = partial(save_attempt, self._packer, task)
        return task, None, error

    def _announce(self, key: Hashable, task: Task) -> int:
        payload, blobs = self._packer.dump_task_class(type(task), (self.system_id, "classes"))
        number = len(self._class_numbers)
        cls = type(task)
        requires = {name: float(amount) for name, amount in (task.requires or {}).items()}
        name = f"{cls.__module__}.{cls.__qualname__}"
        entry = [number, name, task.priority, task.timeout, task.max_retries, requires, payload, blobs]
        try:
            pack_message(Kind.OUT, entry)
        except (OverflowError, ValueError) as error:
            message = f"{task!r}: its priority, timeout, max_retries or requires cannot be sent: {error}"
            raise InvalidTaskError(message) from None
        self._class_numbers[key] = number
        self._new_classes.append(entry)
        return number

    def _unloadable(self, task: Task, fault: BaseException) -> TaskError:
        failure = describe(fault)
        message = f"the result arrived but could not be rebuilt: {failure.message}"
        broken = Failure(failure.type_name, message, failure.traceback)
        return rebuild(task.task_id, Outcome.RAISED, broken, task.slave_id, task.attempt)


def _size_of(entry: list[Any]) -> int:
    """Return the bytes that travel for an entry, its blobs included [B]."""
    size: int = len(entry[1])
    return size + sum(blob[2] for blob in entry[2]) if len(entry) > 2 else size  # noqa: PLR2004 - [class, payload, blobs]
