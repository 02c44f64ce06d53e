"""Runs one attempt; nothing that a task raises escapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.errors import NotPicklableError
from concurro.ids import Failure, Outcome, format_task_id
from concurro.task import Task
from concurro.wire.blobs import BlobStore, store_with_segments
from concurro.wire.failures import describe, explain_import
from concurro.wire.importing import importing
from concurro.wire.libraries import blamed, carry
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

RESULT = "result"
"""The owner of the blobs of a result: who runs the attempt releases them once they are sent."""

_no_clean_up = Task.clean_up
_DONE = int(Outcome.DONE)

Answer = tuple[int, Any, Any]

READ_ONLY = "an array of 1 MiB or more is read-only in a task, since other tasks see the same bytes: use array.copy()"
"""What a task is told that writes to its large array."""

_OF_READ_ONLY = ("read-only", "WRITEABLE")
"""What errors of Python and NumPy say who tries to."""


class TaskRunner:
    """Keeps the classes of tasks, and runs their tasks.

    Attributes:
        slave_id: What tasks see as theirs.
        blobs: What the tasks need and give.
        loaded: How many classes were loaded so far.
        packer: Loads tasks and dumps results.
        task: What runs, or ran last.
        on_loaded: Called after a class was loaded, before its first task runs.
    """

    def __init__(self, slave_id: str = "", blobs: BlobStore | None = None) -> None:
        self.slave_id = slave_id
        self.blobs = blobs if blobs is not None else store_with_segments()
        self.loaded = 0
        self.packer = Packer(self.blobs, Travelling())
        self.task: Task | None = None
        self.on_loaded: Callable[[], None] = lambda: None
        self._announced: dict[tuple[int, int], list[Any]] = {}
        self._classes: dict[tuple[int, int], tuple[type[Task], str]] = {}

    def announce(self, announcement: list[Any]) -> None:
        """Learn of a class; it is loaded at first use.

        Another master may give the same numbers to another class.

        Args:
            announcement: `[system, class, name, code payload, blobs, system id]`.
        """
        key = announcement[0], announcement[1]
        if self._announced.get(key) != announcement:
            self._classes.pop(key, None)
        self._announced[key] = announcement

    def forget(self, system: int) -> list[int]:
        """Drop the classes of a system; return which."""
        numbers = [key[1] for key in self._announced if key[0] == system]
        for number in numbers:
            del self._announced[system, number]
            self._classes.pop((system, number), None)
        return numbers

    def run(self, entry: list[Any]) -> Answer:
        """Run the task of a lease.

        Args:
            entry: `[lease, system, class, number, attempt, payload, blobs]`, the blobs are here.

        Returns:
            outcome, value, blobs: as in a result; the blobs are those of `RESULT` until they are released.
        """
        task = self.load(entry)
        if not isinstance(task, Task):
            return task
        self.task = task
        try:
            result = task()
        except BaseException as error:  # noqa: BLE001 - a task may raise anything; SystemExit is a failure too
            if entry[6] and any(word in _text_of(error) for word in _OF_READ_ONLY):
                error.add_note(READ_ONLY)
            answer = self._raised(error, 1)
            self._clean_up(task)
            return answer
        if task.__class__.clean_up is not _no_clean_up:
            answer_of_cleaning = self._clean_up(task)
            if answer_of_cleaning is not None:
                return answer_of_cleaning
        try:
            payload, blobs = self.packer.dumps(result, RESULT, "result")
        except BaseException as error:  # noqa: BLE001 - pickling runs code of users, which may do anything
            return self._not_picklable(error)
        return _DONE, payload, blobs

    def prepare(self, entry: list[Any]) -> None:
        """Load the class of a lease, if it is not; `load` says what is wrong."""
        if (entry[1], entry[2]) not in self._classes:
            try:
                self._load_class(entry[1], entry[2])
            except BaseException:  # noqa: BLE001 - loading runs code of users; it is tried again, and told, by `load`
                return

    def load(self, entry: list[Any]) -> Task | Answer:
        """Return the task of a lease, or the answer that says why not."""
        try:
            known = self._classes.get((entry[1], entry[2])) or self._load_class(entry[1], entry[2])
            task_class, system_id = known
            task = self.packer.load_task(task_class, entry[5], entry[6])
            task.task_id = format_task_id(system_id, entry[3])
            task.system_id = system_id
            task.slave_id = self.slave_id
            task.attempt = entry[4]
        except BaseException as error:  # noqa: BLE001 - loading runs code of users, which may do anything
            return self._not_loaded(error, entry)
        return task

    def announced(self, system: int, number: int) -> list[Any] | None:
        """Return what was announced of a class; None when nothing was."""
        return self._announced.get((system, number))

    def _load_class(self, system: int, number: int) -> tuple[type[Task], str]:
        announcement = self._announced[system, number]
        with importing("the code of a task"):
            task_class = self.packer.load_task_class(announcement[3], announcement[4])
        self.loaded += 1
        self.on_loaded()
        known = (task_class, announcement[5] or str(system))
        self._classes[system, number] = known
        return known

    def _clean_up(self, task: Task) -> Answer | None:
        try:
            task.clean_up()
        except BaseException as error:  # noqa: BLE001 - code of users, which may raise anything
            return self._raised(error, 1)
        return None

    def _raised(self, error: BaseException, trim: int, modules: AbstractSet[str] = frozenset()) -> Answer:
        modules = modules | blamed(error)
        if isinstance(error, ImportError):
            explained = explain_import(error, self.slave_id).with_traceback(error.__traceback__)
            error = explained
        carry(error, modules)
        packer = self.packer
        failure = describe(error, trim=trim, dumps=packer.dumps_whole, loads=packer.loads_whole)
        return int(Outcome.RAISED), list(failure), None

    def _not_loaded(self, error: BaseException, entry: list[Any]) -> Answer:
        modules = self.packer.modules_of(entry[5], entry[6])
        announcement = self._announced.get((entry[1], entry[2]))
        if announcement is not None:
            modules |= self.packer.modules_of(announcement[3], announcement[4])
        outcome, failure, _ = self._raised(error, 0, modules)
        del outcome
        return int(Outcome.NOT_LOADED), failure, None

    @staticmethod
    def _not_picklable(error: BaseException) -> Answer:
        text = str(error) if isinstance(error, NotPicklableError) else describe(error).message
        if not isinstance(error, NotPicklableError):
            text = f"pickling the result raised {type(error).__name__}: {text}"
        return int(Outcome.NOT_PICKLABLE), list(Failure("ResultNotPicklable", text)), None


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a __str__ of a user
        return ""
