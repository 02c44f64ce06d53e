"""A system's host, pure: a function of numbered inputs.

    START --> init_system --> OUT 0
    IN n  --> finished: task.finished, task_finished, is_complete --+
          --> pull: the generator, round by round ------------------+--> OUT n
          --> cancel: gather_result --------------------------------+

Time, randomness and the view of the cluster come from inputs and a recorded seed, nothing
else; only a pull advances a generator. So the same inputs give the same outputs again, and a host
that was frozen between two inputs goes on as if it had had them all.
"""

from __future__ import annotations

import contextlib
import logging
import random
from itertools import islice
from typing import TYPE_CHECKING, Any

from concurro.errors import InvalidTaskError, StalledSystemError, TaskCancelled
from concurro.ids import Outcome, SlaveView, SystemState
from concurro.interfaces import IMaster, implementer
from concurro.nodes.failed_attempts import FailedAttempts
from concurro.nodes.ledger import TaskLedger
from concurro.task import each_task
from concurro.wire.failures import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from concurro.errors import TaskError
    from concurro.system import TaskSystem
    from concurro.task import Task
    from concurro.wire.payload import Packer

VIEW_FIELDS = 7
"""Fields of a slave in a view of the cluster; a later version may send more."""

FINISHED_FIELDS = 7
"""Fields of a final task in an input; a later version may send more."""

NOTICE_LIMIT = 20
"""Most kinds of failures of which the first one is shown."""

EMISSION_BYTES = 8 * 1024 * 1024
"""Payload bytes after which a pull stops, to be continued by the next one [B]."""


LOADING, INIT, RESULT, FINISHED, TASK_FINISHED, IS_COMPLETE, GENERATE, GATHER = range(1, 9)
"""What the first byte of a trail says: where a host is; 0 for none of the system's code."""

CALLBACKS = (
    "",
    "the loading of its code",
    "init_system",
    "the loading of a result",
    "finished of a task",
    "task_finished",
    "is_complete",
    "generate_tasks",
    "gather_result",
)
"""The same for people."""


class _Ended(Exception):  # noqa: N818 - it carries the end upwards, it is no error
    """The system has ended: nothing more of this input is looked at."""


@implementer(IMaster)
class MasterView:
    """What the system sees of the master.

    Attributes:
        freezing: Whether a snapshot is being pickled.
    """

    def __init__(self, core: HostCore, system_id: str, name: str, seed: int) -> None:
        self.system_id = system_id
        self.log = logging.getLogger(f"concurro.system.{name}")
        self.random = random.Random(seed)
        self.slaves: tuple[SlaveView, ...] = ()
        self._core = core
        self._wall = 0.0
        self.freezing = False

    @property
    def num_workers(self) -> int:
        """Workers of all slaves."""
        return sum(slave.workers for slave in self.slaves)

    def push_task(self, task: Task) -> str:
        """Emit one more task; return its task id."""
        return self._core.push(task)

    def push_tasks(self, tasks: Iterable[Task]) -> list[str]:
        """Emit more tasks; return their ids."""
        return [self._core.push(task) for task in each_task(tasks)]

    def cancel_task(self, task_id: str) -> None:
        """Cancel an open task of this system; a final one is left alone."""
        self._core.cancel(task_id)

    def report_progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Tell the application how far the system is.

        Raises:
            ValueError: A number of more than 64 bits, or a message that is no valid text.
        """
        checked = _within_64_bits("done", done), None if total is None else _within_64_bits("total", total)
        self._core.progress = [*checked, _encodable(message)]

    def publish(self, value: Any) -> None:
        """Stream a partial result to the application."""
        self._core.publish(value)

    def now(self) -> float:
        """Return the time of the current input, seconds since the epoch [s]."""
        return self._wall

    def __getstate__(self) -> dict[str, Any]:
        """Return what a snapshot keeps.

        A system may hold its master, and gets the same again.

        Raises:
            TypeError: It is for a task or a result: those have no master.
        """
        if not self.freezing:
            message = "the master of a system stays with the system"
            raise TypeError(message)
        return {name: value for name, value in vars(self).items() if name not in ("freezing", "_core")}

    def serve(self, core: HostCore) -> None:
        """Ask this host from now on, as part of it."""
        self.freezing = False
        self._core = core

    def update(self, wall: float, view: list[list[Any]] | None) -> None:
        """Take the time and, when there is a new one, the view of the cluster."""
        self._wall = wall
        if view is not None:
            self.slaves = tuple(SlaveView(*entry[:VIEW_FIELDS]) for entry in view)


class HostCore:
    """Runs one task system.

    Args:
        number: The master's short number for it.
        system: The system.
        packer: Pickles what goes out, loads what comes in.
        seed: Of the system's randomness.
        view: The first view of the cluster.
        trail: Its first byte says in which callback we are; others may look.
    """

    def __init__(  # noqa: PLR0913 - what START carries
        self,
        number: int,
        system: TaskSystem,
        system_id: str,
        packer: Packer,
        *,
        seed: int = 0,
        view: list[list[Any]] | None = None,
        trail: Any = None,
    ) -> None:
        self.number = number
        self.ended = False
        self.progress: list[Any] | None = None
        self._trail: Any = bytearray(1) if trail is None else trail
        self._task: Task | None = None
        self._system = system
        self._packer = packer
        self._ledger = TaskLedger(packer, system_id)
        self._failed = FailedAttempts(str(system.save_failed or ""))
        self._master = MasterView(self, system_id, type(system).__name__, seed)
        self._master.update(0.0, view)
        self._iterator: Iterator[Task] | None = None
        self._round = 0
        self._round_start = 0
        self._added = 0
        self._pulled = False
        self._cancelled: list[int] = []
        self._publications: list[list[Any]] = []
        self._published = 0
        self._released = 0
        self._end: list[Any] | None = None
        self._noticed: dict[tuple[type, str], None] = {}  # in an order that every interpreter pickles alike
        self._notices: list[str] = []

    # Inputs

    def start(self, wall: float) -> list[Any]:
        """Run `init_system`; return OUT 0."""
        self._master.update(wall, None)
        self._guarded(self._call_init)
        return self._output(0)

    def take_input(self, body: list[Any]) -> list[Any]:
        """Apply IN n; return OUT n."""
        _, n, wall, entries, pull, budget, cancel, view = body[:8]
        self._master.update(wall, view)
        if not self.ended:
            if cancel is not None:
                self._guarded(lambda: self._gather(SystemState.CANCELLED))
            else:
                self._guarded(lambda: self._advance(entries, pull, min(budget, EMISSION_BYTES)))
        return self._output(n)

    def fail(self, n: int, fault: Exception) -> list[Any]:
        """End the system since its OUT n cannot be packed; return another OUT n."""
        failure = describe(fault)
        message = f"what the system said cannot be packed: {failure.message}"
        self._finish_with(
            SystemState.FAILED, [int(Outcome.RAISED), [failure.type_name, message, failure.traceback, None], None]
        )
        return self._output(n)

    # Snapshots

    @property
    def iterator(self) -> Iterator[Task] | None:
        """What is being pulled; None between two rounds."""
        return self._iterator

    @contextlib.contextmanager
    def frozen(self) -> Iterator[dict[str, Any]]:
        """Give what `thaw` makes the same host of, to be pickled in one go.

        Between two inputs only: nothing waits to be put out.
        """
        self._master.freezing = True
        try:
            yield {
                "system": self._system,
                "ledger": self._ledger.freeze(),
                "iterator": self._iterator,
                "master": self._master,
                "pulled": [self._round, self._round_start, self._added, self._pulled],
                "published": self._published,
                "noticed": self._noticed,
                "savings": self._failed.left,
            }
        finally:
            self._master.freezing = False

    def thaw(self, n: int, state: dict[str, Any]) -> list[Any]:
        """Become the host that was frozen behind IN n.

        Return OUT n, which says nothing.
        """
        self._ledger.thaw(state["ledger"])
        self._iterator = state["iterator"]
        self._master = state["master"]
        self._master.serve(self)
        self._round, self._round_start, self._added, self._pulled = state["pulled"]
        self._published = self._released = state["published"]
        self._noticed = state["noticed"]
        self._failed.left = state["savings"]
        return self._output(n)

    @property
    def published(self) -> int:
        """How many partial results there were."""
        return self._published

    # What the system asks of its master

    def push(self, task: Task) -> str:
        """Take a task that a callback pushed."""
        self._added += 1
        return self._ledger.add(task)

    def cancel(self, task_id: str) -> None:
        """Ask the master to cancel an open task."""
        number = self._ledger.number_of(task_id)
        if number is not None:
            self._cancelled.append(number)

    def publish(self, value: Any) -> None:
        """Queue a partial result; its parts stay until the master has them."""
        self._published += 1
        payload, blobs = self._packer.dumps(value, ("publication", self._published))
        self._publications.append([payload, blobs])

    def release_published(self, count: int) -> None:
        """Let go of the first `count` partial results: the master has them."""
        while self._released < min(count, self._published):
            self._released += 1
            self._packer.blobs.release(("publication", self._released))

    # The life of the system

    def _advance(self, entries: list[list[Any]], pull: int, budget: int) -> None:
        if entries and len(entries[0]) > FINISHED_FIELDS:
            entries = [entry[:FINISHED_FIELDS] for entry in entries]
        for entry in entries:
            self._finish(entry)
        if pull:
            self._pull(pull, budget)

    def _call_init(self) -> None:
        self._trail[0] = INIT
        self._system.init_system(self._master)

    def _finish(self, entry: list[Any]) -> None:
        trail = self._trail
        trail[0] = RESULT
        settled = self._ledger.settle(entry)
        if settled is None:
            return
        task, result, error = settled
        if error is not None:
            self._notice(task, error)
            if kept := self._failed.take(error):
                self._notices.append(kept)
        self._task = task
        trail[0] = FINISHED
        task.finished(result, error)
        trail[0] = TASK_FINISHED
        self._system.task_finished(self._master, task, result, error)
        if self._pulled:
            self._ask_complete()

    def _notice(self, task: Task, error: TaskError) -> None:
        """Let the application show the first failure of each kind.

        A job may overlook it.
        """
        kind = (type(task), error.type_name)
        if kind in self._noticed or len(self._noticed) >= NOTICE_LIMIT or isinstance(error, TaskCancelled):
            return
        self._noticed[kind] = None
        self._notices.append(f"task {task.name!r} failed; further failures of this kind are only counted\n{error}")

    def _ask_complete(self) -> None:
        self._trail[0] = IS_COMPLETE
        if self._system.is_complete(self._master):
            self._gather(SystemState.COMPLETE)

    def _pull(self, pull: int, budget: int) -> None:
        ledger = self._ledger
        pulled = 0
        while pulled < pull and ledger.waiting_bytes < budget:
            if self._iterator is None:
                if self._round and not self._begin_next_round():
                    return
                if not self._round:
                    self._begin_round()
            assert self._iterator is not None  # noqa: S101 - a round has begun
            self._trail[0] = GENERATE
            for task in islice(self._iterator, pull - pulled):
                self._added += 1
                ledger.add(task)
                pulled += 1
                if ledger.waiting_bytes >= budget:
                    break
            else:
                if pulled < pull:
                    self._iterator = None
            self._pulled = True
            if self._iterator is None and ledger.open:
                return

    def _begin_round(self) -> None:
        self._round += 1
        self._round_start = self._added
        self._trail[0] = GENERATE
        tasks = self._system.generate_tasks(self._master)
        if tasks is None:
            tasks = ()
        try:
            self._iterator = iter(tasks)
        except TypeError:
            kind = type(tasks).__qualname__
            message = f"generate_tasks must return an iterable of tasks or None, got {kind}"
            raise InvalidTaskError(message) from None

    def _begin_next_round(self) -> bool:
        """Begin another round when nothing is outstanding; say whether one began."""
        if self._ledger.open:
            return False
        self._ask_complete()
        if self._added == self._round_start:
            name = type(self._system).__qualname__
            message = (
                f"system {name} is not complete, but round {self._round} of generate_tasks yielded no task "
                f"and none is outstanding; is_complete must become true, or more tasks must come"
            )
            raise StalledSystemError(message)
        self._begin_round()
        return True

    def _gather(self, state: SystemState) -> None:
        self._trail[0] = GATHER
        gathered: Any = self._system.gather_result(self._master)
        # A text or a dictionary of two would unpack as well.
        if not isinstance(gathered, tuple | list) or len(gathered) != 2:  # noqa: PLR2004 - a pair
            message = f"gather_result must return a tuple (result, error), got {_shape_of(gathered)}"
            raise TypeError(message)
        result, error = gathered
        payload, blobs = self._packer.dumps((result, error), "gathered")
        self._finish_with(state, [int(Outcome.DONE), payload, blobs])
        raise _Ended

    # The way out

    def _guarded(self, step: Any) -> None:
        """Run a step; whatever a callback raises ends the system with that error."""
        try:
            step()
        except _Ended:
            return
        except BaseException as fault:  # noqa: BLE001 - a system's callbacks may raise anything, exits included
            failure = describe(fault, dumps=self._packer.dumps_whole, loads=self._packer.loads_whole)
            self._finish_with(SystemState.FAILED, [int(Outcome.RAISED), [*failure, self._where()], None])
        finally:
            self._trail[0] = 0
            self._task = None

    def _where(self) -> str:
        """Name the class and the method that we are in."""
        if self._trail[0] == FINISHED:
            return f"{type(self._task).__qualname__}.finished"
        return f"{type(self._system).__qualname__}.{CALLBACKS[self._trail[0]]}"

    def _finish_with(self, state: SystemState, result: list[Any]) -> None:
        self.ended = True
        self._end = [state.value, result]
        self._ledger.open.clear()

    def _output(self, n: int) -> list[Any]:
        first, classes, tasks = self._ledger.take()
        if self.ended:
            classes, tasks = [], []
        cancelled, self._cancelled = self._cancelled, []
        publications, self._publications = self._publications, []
        progress, self.progress = self.progress, None
        end, self._end = self._end, None
        facts: dict[str, Any] = {"exhausted": self._iterator is None and self._round > 0, "round": self._round}
        if self._notices:
            facts["notices"], self._notices = self._notices, []
        return [self.number, n, first, classes, tasks, cancelled, publications, progress, end, facts]


def _within_64_bits(name: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        message = f"report_progress: {name} must be a number, got {value!r} ({type(value).__qualname__})"
        raise ValueError(message) from None
    if not -(2**63) <= number < 2**63:
        message = f"report_progress: {name} must fit into 64 bits, got a number of {number.bit_length()} bits"
        raise ValueError(message)
    return number


def _encodable(value: Any) -> str:
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"report_progress: the message is no valid text: {error}"
        raise ValueError(message) from None
    return text


def _shape_of(value: Any) -> str:
    kind = type(value).__qualname__
    return f"a {kind} of {len(value)}" if isinstance(value, tuple | list) else kind
