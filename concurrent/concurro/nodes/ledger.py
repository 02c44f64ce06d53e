"""The tasks of one system that were emitted and are not final. Pure.

Used by whoever makes tasks: the host of a system, and an application for its plain tasks.

    add(task) --> number, class, pickled state --> take() --> OUT
    IN --> settle(entry) --> the same task object, its result or its error
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from concurro.errors import InvalidTaskError
from concurro.ids import Failure, Outcome, parse_task_id
from concurro.records import BlobUse
from concurro.task import RUNTIME_FIELDS, check_task, task_class_key
from concurro.wire.failures import describe, describe_task, rebuild
from concurro.wire.libraries import blamed, needed_here
from concurro.wire.messages import Kind, pack_message
from concurro.wire.saved_attempt import save_attempt

if TYPE_CHECKING:
    from concurro.errors import TaskError
    from concurro.task import Task
    from concurro.wire.payload import Packer


_OWN_FIELDS = RUNTIME_FIELDS | {"priority", "timeout", "max_retries", "requires"}
"""What a usual task takes from its class, if at all."""

_has_arguments_only = _OWN_FIELDS.isdisjoint


MOST_CLASSES = 1024
"""Classes of a system without tasks that are remembered, for the next task of them."""


class TaskClasses:
    """The task classes of a system, numbered as they come.

    A number has one meaning for ever. A class that was retired gets another one.

    Args:
        packer: Pickles classes.
        system_id: The system.
    """

    def __init__(self, packer: Packer, system_id: str) -> None:
        self._packer = packer
        self._system_id = system_id
        self._numbers: dict[Any, int] = {}
        self._next = 0
        self._limit = MOST_CLASSES
        self._owners: dict[int, object] = {}
        self._new: list[list[Any]] = []
        self._retired: list[int] = []
        self.known = self._numbers.get

    def number_of(self, key: Any, task: Task) -> int:
        """Return the number of a task's class, which is announced when it is new.

        `key` is the same, and hashable, for all tasks of one class.

        Raises:
            InvalidTaskError: One of its fields cannot be sent.
            NotPicklableError: It cannot travel.
        """
        number = self._numbers.get(key)
        return self._announce(key, task) if number is None else number

    def freeze(self) -> list[tuple[Any, int]]:
        """Return what `thaw` takes: every class was taken."""
        return list(self._numbers.items())

    def thaw(self, numbers: list[tuple[Any, int]]) -> None:
        """Become what another one was."""
        self._numbers.update(numbers)
        self._next = len(numbers)

    @property
    def are_many(self) -> bool:
        """Whether it is time to retire those without tasks."""
        return len(self._numbers) > self._limit

    def retire(self, used: set[Any]) -> None:
        """Forget all classes but those whose keys are `used` by tasks.

        It happens again when they are twice as many as are left, so that it costs little.
        """
        for key in [key for key in self._numbers if key not in used]:
            number = self._numbers.pop(key)
            self._retired.append(number)
            self._packer.blobs.release(self._owners.pop(number, None))
        self._limit = max(MOST_CLASSES, 2 * len(self._numbers))

    def take_retired(self) -> list[int]:
        """Return the numbers that mean nothing from now on, for an OUT."""
        taken, self._retired = self._retired, []
        return taken

    def drop(self) -> None:
        """Keep the code of the classes no longer: nobody asks for it any more."""
        for owner in self._owners.values():
            self._packer.blobs.release(owner)
        self._owners.clear()

    def take_new(self) -> list[list[Any]]:
        """Return the entries of what is new, for an OUT."""
        taken, self._new = self._new, []
        return taken

    def _announce(self, key: Any, task: Task) -> int:
        owner = object()
        payload, blobs = self._packer.dump_task_class(type(task), owner)
        known = self._numbers.get(key)
        if known is not None:
            self._packer.blobs.release(owner)
            return known  # what pickles itself runs code of users, which may have pushed such a task
        number = self._next
        cls = type(task)
        requires = {name: float(amount) for name, amount in (task.requires or {}).items()}
        name = f"{cls.__module__}.{cls.__qualname__}"
        entry = [number, name, task.priority, task.timeout, task.max_retries, requires, payload, blobs]
        try:
            pack_message(Kind.OUT, entry)
        except (OverflowError, ValueError) as error:
            message = f"{task!r}: its priority, timeout, max_retries or requires cannot be sent: {error}"
            raise InvalidTaskError(message) from None
        self._numbers[key] = number
        self._next = number + 1
        if blobs:
            self._owners[number] = owner
        self._new.append(entry)
        return number


class TaskLedger:
    """Emitted tasks by number.

    Args:
        packer: Pickles tasks, loads results.
        system_id: The system of the tasks.
        client_id: The application that pushed them; None in a host.

    Attributes:
        open: Number to task, for every task that is not final.
        waiting_bytes: Bytes of tasks that were added and not taken, and of the blobs that more than the first has [B].
    """

    def __init__(self, packer: Packer, system_id: str, client_id: str | None = None) -> None:
        self.open: dict[int, Task] = {}
        self.system_id = system_id
        self._packer = packer
        self._client_id = client_id
        self._next = 0
        self._first = 0
        self._classes = TaskClasses(packer, system_id)
        self._entries: list[list[Any]] = []
        self._with_blobs: set[int] = set()
        self._waiting_use = BlobUse()
        self._waits_with_blobs = False
        self._usual: dict[type, int] = {}
        self.waiting_bytes = 0

    def freeze(self) -> list[Any]:
        """Return what `thaw` takes: nothing waits to be taken."""
        return [self.open, self._next, self._classes.freeze()]

    def thaw(self, state: list[Any]) -> None:
        """Become what another one was.

        The master has the large parts of its tasks.
        """
        self.open, self._next, classes = state
        self._first = self._next
        self._classes.thaw(classes)

    def add(self, value: Any) -> str:
        """Take a task and return its id.

        Raises:
            InvalidTaskError: It is no usable task.
            NotPicklableError: It cannot travel.
        """
        class_number = self._usual.get(value.__class__)
        if class_number is None:
            return self._add_unusual(value)
        fields = value.__dict__
        if not (_has_arguments_only(fields) and fields.get("name").__class__ is str):
            return self._add_unusual(value)
        payload = self._packer.dump_fields(fields)
        if payload is None:
            return self._add_unusual(value)
        self._entries.append([class_number, payload])
        self.waiting_bytes += len(payload)
        return self._open(value)

    def _add_unusual(self, value: Any) -> str:
        """Take a task, whatever it may be.

        Others of its class are usual until the next `take` if only their arguments are their own.
        """
        task = check_task(value)
        class_number = self._classes.number_of(task_class_key(task), task)
        payload, blobs = self._packer.dump_task(task, (self.system_id, self._next))
        if not blobs and self._packer.is_plain(task) and _has_arguments_only(task.__dict__):
            self._usual[task.__class__] = class_number
        if blobs:
            self._with_blobs.add(self._next)
            self._entries.append([class_number, payload, blobs])
            self.waiting_bytes += len(payload) + self._weight_of(blobs)
        else:
            self._entries.append([class_number, payload])
            self.waiting_bytes += len(payload)
        return self._open(task)

    def _weight_of(self, blobs: list[Any]) -> int:
        """Return the bytes of blobs that are new since the last `take` [B].

        Those of the first task count nothing: most often all tasks share them. What was taken
        before does not matter, so that a replay takes the same.
        """
        size = self._waiting_use.add(blobs)
        first, self._waits_with_blobs = not self._waits_with_blobs, True
        return 0 if first else size

    def _open(self, task: Task) -> str:
        """Give a task its number."""
        number = self._next
        self._next = number + 1
        self.open[number] = task
        task.system_id = system_id = self.system_id
        task.task_id = task_id = f"{system_id}:{number}"  # as `format_task_id`, without a call for each task
        if self._client_id is not None:
            task.client_id = self._client_id
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
        first, entries = self._first, self._entries
        self._entries = []
        self._usual.clear()  # a callback may change what its classes say
        self.waiting_bytes = 0
        self._waiting_use.clear()
        self._waits_with_blobs = False
        self._first += len(entries)
        return first, self._classes.take_new(), entries

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

        Args:
            entry: `[number, outcome, value, blobs, slave id, attempt, duration ns]`.
        """
        number, outcome, value, blobs, slave_id, attempt, nanoseconds = entry
        task = self.open.pop(number, None)
        if task is None:
            return None
        task.slave_id = slave_id
        task.attempt = attempt
        task.attempt_duration = nanoseconds * 1e-9
        if self._with_blobs and number in self._with_blobs:
            self._with_blobs.discard(number)
            self._packer.blobs.release((self.system_id, number))
        if outcome != 0:
            return task, None, error_of(self._packer, task, outcome, value)
        try:
            return task, self._packer.loads(value, blobs), None
        except BaseException as fault:  # noqa: BLE001 - loading a result runs user code, which may do anything
            return task, None, error_of(self._packer, task, outcome, value, fault, blobs)


def error_of(  # noqa: PLR0913 - what is known of an end
    packer: Packer, task: Task, outcome: int, value: Any, fault: BaseException | None = None, blobs: Any = None
) -> TaskError:
    """Return the error of a final task, whose runtime fields are filled in.

    Args:
        packer: Loads the original exception.
        task: The task.
        outcome: Of its entry in IN.
        value: Of its entry in IN.
        fault: What was raised when its result was loaded; None when it has none.
        blobs: Those of the result.
    """
    here = "here" if task.client_id else "in the system's host"
    if fault is not None:
        failure = describe(fault)
        message = f"the result arrived but could not be rebuilt: {failure.message}"
        needed = needed_here(packer.modules_of(value, blobs) | blamed(fault), here)
        if needed:
            message += f" ({needed}; what slave {task.slave_id} has: concurrent slaves --json)"
        outcome, value = Outcome.RAISED, Failure(failure.type_name, message, failure.traceback)
    error = rebuild(str(task.task_id), outcome, value, task.slave_id, task.attempt, packer.loads_whole, here)
    error.saver = partial(save_attempt, packer, task)
    error.task = describe_task(task)
    return error
