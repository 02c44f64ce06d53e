"""What an application pushed and is not final: its implicit system. Pure.

    push, push_call (users' threads) ---> open, waiting ---> take() ---> OUT
    IN ---> settle(entry) ---> future, task, its result or its error

A hundred thousand may be open: each is one tuple here, one future, and its pickle until that
is sent. A call of an executor has no `Task` of its own but where somebody sees it.
"""

from __future__ import annotations

import threading
from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from concurro.ids import format_task_id, parse_task_id
from concurro.nodes.futures import TaskFuture
from concurro.nodes.ledger import TaskClasses, error_of
from concurro.records import BlobUse
from concurro.task import check_task, task_class_key
from concurro.wire.messages import INLINE_LIMIT

if TYPE_CHECKING:
    from concurro.errors import TaskError
    from concurro.nodes.control import Control
    from concurro.task import Task
    from concurro.wire.payload import Packer

FEW = 3
"""So many tasks may be on their way although each is about as large as all that should be."""

Pushed = tuple[TaskFuture, int, object, Any, dict[str, Any] | None]
"""Future, size [B], who pushed it, its task; or, of a call, its class and its fields."""

Settled = tuple[TaskFuture, "Task | None", Any, "TaskError | None"]


class PushedTasks:
    """The tasks that an application pushed, of one connection.

    `push`, `push_call` and `unwant` run in users' threads, everything else in the loop's; the owner holds
    its lock for both, and for `take`.

    Args:
        packer: Pickles tasks, loads results.
        system_id: The system of the tasks.
        client_id: The application.

    Attributes:
        open: Number to `Pushed`, for every task that is not final.
        number: The master's number of the system; None before it said one.
        opening: Whether the master was asked for one.
        consumed: The last input that was consumed.
        cancelled: Numbers of tasks to be cancelled, as a heap.
        withdrawn: Numbers of tasks to be cancelled unless they have started, as a heap.
        answer_due: Whether the master is to hear what was consumed.
        sent: How many tasks were sent and are not final.
        sent_bytes: Bytes of those [B].
        waiting_bytes: Bytes of tasks that were not sent yet [B].
    """

    def __init__(self, packer: Packer, system_id: str, client_id: str) -> None:
        self.system_id = system_id
        self.open: dict[int, Pushed] = {}
        self.number: int | None = None
        self.opening = False
        self.consumed = 0
        self.cancelled: list[int] = []
        self.withdrawn: list[int] = []
        self.answer_due = False
        self.sent = 0
        self.sent_bytes = 0
        self.waiting_bytes = 0
        self._packer = packer
        self._client_id = client_id
        self._next = 0
        self._classes = TaskClasses(packer, system_id)
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._with_blobs: dict[int, tuple[object, list[Any]]] = {}
        self._blob_use = BlobUse()
        self._counting = threading.Lock()  # for that alone: tasks with blobs are few

    # Users' threads

    def push(self, control: Control, value: Any, pusher: object = None) -> TaskFuture:
        """Take a task; return its future.

        Raises:
            InvalidTaskError: It is no usable task.
            NotPicklableError: It cannot travel.
        """
        task = check_task(value)
        owner = object()
        payload, blobs = self._packer.dump_task(task, owner)
        # Numbers come last: what pickles itself runs code of users, which may push tasks.
        class_number = self._classes.number_of(task_class_key(task), task)
        number = self._next
        task.task_id = format_task_id(self.system_id, number)
        task.system_id = self.system_id
        task.client_id = self._client_id
        entry = (class_number, payload, blobs) if blobs else (class_number, payload)
        size = self._size_of(number, entry, owner)
        future = TaskFuture(control, self.system_id, number)
        self._enter(entry, (future, size, pusher, task, None))
        return future

    def push_call(
        self, control: Control, task_class: type[Task], fields: dict[str, Any], pickled: bytes, pusher: object
    ) -> TaskFuture:
        """Take a call, a task that nobody else has; return its future.

        `pickled` is what `Packer.dump_fields` made of its fields.

        Raises:
            NotPicklableError: It, or its class, cannot travel.
        """
        class_number = self._classes.known(task_class)
        if class_number is None:
            class_number = self._classes.number_of(task_class, new_task(task_class, fields))
        number, size = self._next, len(pickled)
        entry: tuple[Any, ...] = (class_number, pickled)
        if size > INLINE_LIMIT:
            owner = object()
            entry = (class_number, *self._packer.part(pickled, owner))
            size = self._size_of(number, entry, owner)
        future = TaskFuture(control, self.system_id, number)
        self._enter(entry, (future, size, pusher, task_class, fields))
        return future

    def _size_of(self, number: int, entry: tuple[Any, ...], owner: object) -> int:
        """Return the bytes of a task, with those of blobs that no other has [B].

        Its blobs are `owner`'s.
        """
        size = len(entry[1])
        if len(entry) > 2 and entry[2]:  # noqa: PLR2004 - [class, payload, blobs]
            self._with_blobs[number] = owner, entry[2]
            with self._counting:
                size += self._blob_use.add(entry[2])
        return size

    def _enter(self, entry: tuple[Any, ...], pushed: Pushed) -> None:
        self.open[self._next] = pushed
        self._next += 1
        self._waiting.append(entry)
        self.waiting_bytes += pushed[1]

    def unwant(self, number: int, *, started: bool) -> None:
        """Have an open task cancelled; one that has started only if `started`."""
        heappush(self.cancelled if started else self.withdrawn, number)

    # The loop's thread

    @property
    def waiting(self) -> int:
        """How many tasks were pushed and not sent."""
        return len(self._waiting)

    def take(self, tasks: int, size: int) -> tuple[int, list[list[Any]], list[tuple[Any, ...]]]:
        """Return first number, classes and entries of the next OUT.

        Args:
            tasks: Most tasks.
            size: Bytes that may be on their way, those sent before included [B]. A few tasks may be larger: what
                one of them takes to travel, another one works.
        """
        waiting = self._waiting
        first = self._next - len(waiting)
        entries: list[tuple[Any, ...]] = []
        while waiting and len(entries) < tasks:
            entry_size = self.open[first + len(entries)][1]
            too_much = self.sent_bytes + entry_size > size and self.sent_bytes
            if too_much and not self._is_of_few(entry_size, size, entries):
                break
            self.sent_bytes += entry_size
            self.waiting_bytes -= entry_size
            entries.append(waiting.popleft())
        if not entries:
            return first, [], []  # a class travels with its first task, not without
        self.sent += len(entries)
        if self._classes.are_many:
            self._classes.retire({_class_key(pushed) for pushed in self.open.values()})
        return first, self._classes.take_new(), entries

    def take_unwanted(self) -> tuple[list[int], list[int]]:
        """Return which tasks are to be cancelled, for the same OUT.

        Only those that were sent: first those that are ended wherever they are, then those that
        are unless they have started.
        """
        if not (self.cancelled or self.withdrawn):
            return [], []
        sent = self._next - len(self._waiting)
        return _take_below(self.cancelled, sent), _take_below(self.withdrawn, sent)

    def take_retired(self) -> list[int]:
        """Return the numbers of classes that were retired, for the same OUT."""
        return self._classes.take_retired()

    def _is_of_few(self, entry_size: int, size: int, entries: list[Any]) -> bool:
        """Say whether a large task may go although others are on their way."""
        is_large = 2 * entry_size > size
        return is_large and self.sent + len(entries) < FEW and self.sent_bytes < FEW * size

    def settle(self, entry: list[Any], *, seen: bool) -> Settled | None:
        """Return the future of a final task, and what it is told.

        None when it is not open.

        The task is still open: call `close` once its future is resolved.

        Args:
            entry: As IN has it.
            seen: Whether somebody sees the task of a call, too; else it is None, but after a failure.
        """
        number, outcome, value, blobs, slave_id, attempt, nanoseconds = entry[:7]
        pushed = self.open.get(number)
        if pushed is None:
            return None
        future, size, _, _, fields = pushed
        self.sent -= 1
        self.sent_bytes -= size
        if number in self._with_blobs:
            owner, parts = self._with_blobs.pop(number)
            with self._counting:
                self._blob_use.remove(parts)
            self._packer.blobs.release(owner)
        result, fault = None, None
        if outcome == 0:
            try:
                result = self._packer.loads(value, blobs)
            except BaseException as raised:  # noqa: BLE001 - loading a result runs user code, which may do anything
                fault = raised
            else:
                if fields is not None and not seen:
                    return future, None, result, None
        task = self._task_of(number, pushed)
        task.slave_id = slave_id
        task.attempt = attempt
        task.attempt_duration = nanoseconds * 1e-9
        if outcome == 0 and fault is None:
            return future, task, result, None
        return future, task, None, error_of(self._packer, task, outcome, value, fault, blobs)

    def close(self, number: int) -> None:
        """Forget a task whose future is resolved."""
        self.open.pop(number, None)

    def drop(self) -> None:
        """Forget every task, and what is kept for them: their connection is lost."""
        self.open.clear()
        for owner, _ in self._with_blobs.values():
            self._packer.blobs.release(owner)
        self._with_blobs.clear()
        self._classes.drop()

    def name_of(self, number: int) -> str:
        """Return the name of an open task; empty when it is none."""
        pushed = self.open.get(number)
        return "" if pushed is None else str(pushed[3].name)

    def tasks(self) -> list[tuple[int, TaskFuture, Task]]:
        """Return number, future and task of everything that is open, in order."""
        return [(number, pushed[0], self._task_of(number, pushed)) for number, pushed in sorted(self.open.items())]

    def futures_of(self, pusher: object) -> list[TaskFuture]:
        """Return the futures of what somebody pushed and is open. Thread-safe."""
        return [pushed[0] for pushed in list(self.open.values()) if pushed[2] is pusher]

    def number_of(self, task_id: str) -> int | None:
        """Return the number of an open task; None when it is none of these."""
        system_id, number = parse_task_id(task_id)
        return number if system_id == self.system_id and number in self.open else None

    def _task_of(self, number: int, pushed: Pushed) -> Task:
        if pushed[4] is None:
            task: Task = pushed[3]
            return task
        task = new_task(pushed[3], pushed[4])
        task.task_id = format_task_id(self.system_id, number)
        task.system_id = self.system_id
        task.client_id = self._client_id
        return task


def _take_below(heap: list[int], limit: int) -> list[int]:
    """Take the numbers below a limit; looks at no others."""
    taken = []
    while heap and heap[0] < limit:
        taken.append(heappop(heap))
    return taken


def _class_key(pushed: Pushed) -> Any:
    _, _, _, value, fields = pushed
    return task_class_key(value) if fields is None else value


def new_task(task_class: type[Task], fields: dict[str, Any]) -> Task:
    """Return a task of a class with these fields, past its `__init__`."""
    task = object.__new__(task_class)
    task.__dict__.update(fields)
    return task
