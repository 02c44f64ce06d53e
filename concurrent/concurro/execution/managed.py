"""A slave agent over any other task manager.

master <--- send / handle ---> ManagedAgent --- push_task ---> ITaskManager
^  posts to the loop            |
+------- a thread <--- results queue
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from concurro.errors import (
    NotPicklableError,
    ProtocolError,
    ResultNotPicklable,
    TaskCancelled,
    TaskError,
    TaskMemoryExceeded,
    TaskTimeout,
    WorkerLost,
)
from concurro.execution.task_runner import TaskRunner
from concurro.ids import Failure, Outcome
from concurro.task import Task
from concurro.wire.blobs import BlobStore, store_with_segments
from concurro.wire.failures import describe
from concurro.wire.messages import Kind, LineCode, Message
from concurro.wire.transfer import BlobTransfer

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.interfaces import ITaskManager
    from concurro.transport.loop import Loop

    Send = Callable[[Kind, list[Any], tuple[Any, ...]], None]

log = logging.getLogger(__name__)

_OUTCOMES: tuple[tuple[type[TaskError], Outcome], ...] = (
    (TaskTimeout, Outcome.TIMEOUT),
    (WorkerLost, Outcome.LOST),
    (TaskMemoryExceeded, Outcome.MEMORY),
    (TaskCancelled, Outcome.CANCELLED),
    (ResultNotPicklable, Outcome.NOT_PICKLABLE),
)
_BLOB_KINDS = frozenset({Kind.BLOB_GET, Kind.BLOB_CHUNK, Kind.BLOB_MISSING, Kind.BLOB_MAP, Kind.BLOB_MAPPED})


class ManagedAgent:
    """Runs leases through an `ITaskManager`, as `SlaveAgent` does by itself.

    Loop thread only.

    The manager gets as many tasks as it has workers, so that what waits can be taken back. It
    retries nothing: an attempt is the master's to repeat.

    Args:
        loop: The loop of the node.
        send: Sends a message to the master: kind, body, further frames.
        manager: Who runs the tasks; `init`, `start` and `stop` are called here.
        name: The slave's id, as far as it is known.
        address: The master's address, for `init`.
        workers: How many tasks run at once; 0 leaves it to the manager.
        resources: What tasks may require.
    """

    def __init__(  # noqa: PLR0913 - what a slave is made of
        self,
        loop: Loop,
        *,
        send: Send,
        manager: ITaskManager,
        name: str = "",
        address: str = "",
        workers: int = 0,
        resources: dict[str, float] | None = None,
        blobs: BlobStore | None = None,
    ) -> None:
        self.slave_id = name
        self.blobs = blobs if blobs is not None else store_with_segments()
        self._loop = loop
        self._send = send
        self._manager: Any = manager
        self._address = address
        self._workers = workers
        self._resources = resources or {}
        self._transfer = BlobTransfer(self.blobs, send, loop.request_flush)
        self._runner = TaskRunner(name, self.blobs)
        self._ready: deque[list[Any]] = deque()
        self._fetching: dict[int, list[Any]] = {}
        self._pushed: dict[str, tuple[int, Task]] = {}
        self._unwanted: set[int] = set()
        self._results: dict[int, list[Any]] = {}
        self._reports: list[list[Any]] = []
        self._draining = False
        self._on_drained: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the manager."""
        self._manager.init(self.slave_id, self._address)
        if self._workers:
            self._manager.update_pool(self._workers)
        self._manager.start()
        self._thread = threading.Thread(target=self._collect, name="results of the task manager", daemon=True)
        self._thread.start()
        self._loop.on_flush(self.flush)
        self.announce()

    def stop(self) -> None:
        """Stop the manager. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._loop.off_flush(self.flush)
        self._manager.stop()
        self._manager.get_results_queue().put(None)
        thread.join()

    def drain(self, done: Callable[[], None]) -> None:
        """Return what has not started; call `done` when the rest has ended."""
        self._on_drained = done
        self._drain()
        self._loop.wake()

    def update_pool(self, workers: int) -> None:
        """Let the manager use another number of workers."""
        self._manager.update_pool(workers)
        self.announce()

    def set_slave_id(self, slave_id: str) -> None:
        """Learn the id that the master gave; tasks see it."""
        self.slave_id = self._runner.slave_id = slave_id
        self._manager.init(slave_id, self._address)

    @property
    def slots(self) -> int:
        """How many tasks run at once."""
        return int(self._manager.get_num_workers())

    @property
    def sick(self) -> str:
        """Why it must not get tasks: nothing is ever known of the manager."""
        return ""

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers, as far as the manager knows any."""
        known: Callable[[], list[int]] = getattr(self._manager, "worker_pids", lambda: [os.getpid()])
        return known()

    def announce(self) -> None:
        """Send SLAVE_STATE."""
        state = [self.slots, self.worker_pids(), "", self._resources]
        self._send(Kind.SLAVE_STATE, state, ())

    def use_descriptors(self, passes: Callable[[], bool]) -> None:
        """Learn who says whether descriptors reach the master and back."""
        self._transfer.maps = passes

    def resume_transfers(self) -> None:
        """Ask again for the blobs under way: what was sent may have been lost."""
        self._transfer.restart()

    def abandon(self) -> None:
        """Drop every lease and result: the master that gave them is gone."""
        self._ready.clear()
        self._fetching.clear()
        self._results.clear()
        self._reports = []
        self._kill({lease for lease, _ in self._pushed.values()})
        self._transfer.fail_all("the master is gone")

    def handle(self, message: Message) -> None:  # noqa: C901, PLR0912 - one branch per kind of message
        """Take a message of the master.

        Raises:
            ProtocolError: It is none that a slave gets, or a blob has wrong bytes.
        """
        kind, body = message.kind, message.body
        if kind == Kind.LEASES:
            for entry in body:
                self._take(entry)
        elif kind == Kind.RESULT_ACK:
            for lease in body[0]:
                if self._results.pop(lease, None):
                    self.blobs.release(("result", lease))
        elif kind == Kind.CLASSES:
            for announcement in body:
                self._announce(announcement)
        elif kind == Kind.RECALL:
            self._recall(set(body[0]))
        elif kind == Kind.KILL:
            self._kill(set(body[0]))
        elif kind == Kind.FORGET:
            for number in self._runner.forget(body[0]):
                self.blobs.release(("class", body[0], number))
        elif kind == Kind.DRAIN:
            self._drain()
        elif kind == Kind.LINE_OPEN:
            text = f"slave {self.slave_id} keeps no workers for services: its task manager runs tasks elsewhere"
            self._send(Kind.LINE_END, [message.body[0], LineCode.UNKNOWN.value, text], ())
        elif kind == Kind.HIRE:
            self._send(Kind.STAFF, [[], [[0, "its task manager keeps no workers for services"]]], ())
        elif kind in _BLOB_KINDS:
            self._transfer.handle(message)
        else:
            text = f"a slave does not get messages of kind {kind}"
            raise ProtocolError(text)

    def flush(self) -> None:
        """Push what can run, report what ended; called once per turn."""
        while self._ready and len(self._pushed) < self._manager.get_num_workers():
            self._push(self._ready.popleft())
        if self._reports:
            reports, self._reports = self._reports, []
            self._results.update((report[0], report) for report in reports)
            self._send(Kind.RESULTS, reports, ())
        done = self._on_drained
        if done is not None and not (self._ready or self._fetching or self._pushed or self._results):
            self._on_drained = None
            done()

    def _announce(self, announcement: list[Any]) -> None:
        system, number, name, _, _, payload, blobs = announcement[:7]
        system_id = announcement[7] if len(announcement) > 7 else ""  # noqa: PLR2004 - a later field
        self._runner.announce([system, number, name, payload, blobs, system_id])
        self._transfer.fetch(blobs, ("class", system, number), lambda fault: None)  # noqa: ARG005 - loading says it

    def _take(self, entry: list[Any]) -> None:
        lease = entry[0]
        if self._draining:
            self._send(Kind.RETURNED, [[lease], "draining"], ())
            return
        announcement = self._runner.announced(entry[1], entry[2])
        needed = [*(entry[6] or ()), *((announcement[4] or ()) if announcement is not None else ())]
        self._fetching[lease] = entry
        self._transfer.fetch(needed, ("lease", lease), lambda fault: self._fetched(lease, fault))

    def _fetched(self, lease: int, fault: str | None) -> None:
        entry = self._fetching.pop(lease, None)
        if entry is None:
            self.blobs.release(("lease", lease))
        elif fault is None:
            self._ready.append(entry)
        else:
            self._report(lease, Outcome.NOT_LOADED, list(Failure("SystemLoadError", fault)))

    def _push(self, entry: list[Any]) -> None:
        lease = entry[0]
        task = self._runner.load(entry)
        if not isinstance(task, Task):
            outcome, failure, _ = task
            self._report(lease, Outcome(outcome), failure)
            return
        task.max_retries = None
        task.attempt = entry[4] - 1
        task_id = task.task_id or ""
        self._pushed[task_id] = (lease, task)
        self._manager.push_task(task)

    def _collect(self) -> None:
        results = self._manager.get_results_queue()
        while (ended := results.get()) is not None:
            task, result, error = ended
            self._loop.post(self._ender(task, result, error))

    def _ender(self, task: Task, result: Any, error: TaskError | None) -> Callable[[], None]:
        return lambda: self._ended(task, result, error)

    def _ended(self, task: Task, result: Any, error: TaskError | None) -> None:
        held = self._pushed.pop(task.task_id or "", None)
        if held is None:
            return
        lease = held[0]
        if lease in self._unwanted:
            self._unwanted.discard(lease)
            self.blobs.release(("lease", lease))
            return
        duration = round((task.attempt_duration or 0.0) * 1e9)
        if error is None:
            try:
                payload, blobs = self._runner.packer.dumps(result, ("result", lease), "result")
            except BaseException as fault:  # noqa: BLE001 - pickling runs code of users, which may do anything
                text = str(fault) if isinstance(fault, NotPicklableError) else describe(fault).message
                self._report(lease, Outcome.NOT_PICKLABLE, list(Failure("ResultNotPicklable", text)), duration)
                return
            self.blobs.release(("lease", lease))
            self._reports.append([lease, int(Outcome.DONE), payload, blobs, duration])
            return
        outcome = next((outcome for kind, outcome in _OUTCOMES if isinstance(error, kind)), Outcome.RAISED)
        pickled = None
        if error.cause is not None:
            packer = self._runner.packer
            pickled = describe(error.cause, dumps=packer.dumps_whole, loads=packer.loads_whole).pickled
        self._report(lease, outcome, [error.type_name, error.message, error.traceback, pickled], duration)

    def _report(self, lease: int, outcome: Outcome, failure: list[Any], duration: int = 0) -> None:
        self.blobs.release(("lease", lease))
        self._reports.append([lease, int(outcome), failure, None, duration])

    def _recall(self, leases: set[int]) -> None:
        returned = self._remove_queued(leases)
        started = [lease for lease, _ in self._pushed.values() if lease in leases]
        if returned:
            self._send(Kind.RETURNED, [returned, "recalled"], ())
        if started:
            self._send(Kind.STARTED, [started], ())

    def _kill(self, leases: set[int]) -> None:
        self._remove_queued(leases)
        for task_id, (lease, _) in list(self._pushed.items()):
            if lease in leases:
                self._unwanted.add(lease)
                self._manager.cancel(task_id)
        for lease in leases:
            if self._results.pop(lease, None):
                self.blobs.release(("result", lease))

    def _drain(self) -> None:
        self._draining = True
        returned = self._remove_queued({entry[0] for entry in self._ready} | set(self._fetching))
        if returned:
            self._send(Kind.RETURNED, [returned, "draining"], ())

    def _remove_queued(self, leases: set[int]) -> list[int]:
        removed = [entry[0] for entry in self._ready if entry[0] in leases]
        self._ready = deque(entry for entry in self._ready if entry[0] not in leases)
        removed += [lease for lease in leases if self._fetching.pop(lease, None) is not None]
        for lease in removed:
            self.blobs.release(("lease", lease))
        return removed
