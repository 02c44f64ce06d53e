"""The task manager that runs tasks in processes of their own.

    caller's threads                    thread of the pool
      push_task: pickle, append ------>  loop: LEASES -----> SlaveAgent == workers
      results queue, task_finished <---- RESULTS: retried, or final

Alone it is the master of its own slave agent: the same core, launcher and workers as a
slave of a cluster has.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from concurro.config import IntOption, SizeOption
from concurro.execution.agent import SlaveAgent
from concurro.execution.pooled_tasks import PooledTasks, check_workers
from concurro.execution.processors import usable_processors
from concurro.ids import Failure, Outcome
from concurro.interfaces import ITaskManager, implementer
from concurro.records import SystemRecord, TaskClass, TaskRecord
from concurro.scheduling.retries import is_tried_again
from concurro.task import task_class_key
from concurro.transport.loop import Loop
from concurro.wire.blobs import store_with_segments
from concurro.wire.failures import rebuild
from concurro.wire.messages import Kind, Message
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.task import Task

_SYSTEM = 1
_SLAVE_LOSSES = 10


@implementer(ITaskManager)
class ProcessPool(PooledTasks):
    """Runs tasks in worker processes; a crash or a timeout costs one.

    Every number of retries, time and crash budget is as in a cluster.
    """

    name = "process-pool"
    memory_limit = SizeOption("", "Memory of a worker and the processes below it, beyond which its task is killed.")
    crash_limit = IntOption(3, "Started attempts of one task that may be lost by their worker's death.", minimum=1)

    def __init__(self) -> None:
        super().__init__()
        self._num_workers = usable_processors()
        self._thread: threading.Thread | None = None
        self._loop: Loop | None = None
        self._agent: SlaveAgent | None = None
        self._blobs = store_with_segments()
        self._packer = Packer(self._blobs, Travelling.of_main())
        self._system = SystemRecord(_SYSTEM, self._manager_id, self.name)
        self._classes: dict[Hashable, TaskClass] = {}
        self._pushed: deque[tuple[str, TaskRecord]] = deque()
        self._records: dict[int, tuple[str, TaskRecord]] = {}
        self._leases: dict[str, int] = {}
        self._announced: set[int] = set()
        self._returned: list[str] = []
        self._counter = 0
        self._fault: BaseException | None = None

    def get_num_workers(self) -> int:
        """Return the number of worker processes."""
        return self._num_workers

    def start(self) -> None:
        """Start the workers; they are ready a moment later.

        It may be stopped and started again.

        Raises:
            NodeStartError: The launcher cannot be executed.
        """
        self._forget_leases()
        self._loop = Loop()
        self._agent = SlaveAgent(
            self._loop,
            send=self._heard,
            workers=self._num_workers,
            name=self.identity,
            blobs=self._blobs,
            memory_limit=self.memory_limit,
        )
        started = threading.Event()
        self._fault = None
        self._thread = threading.Thread(
            target=self._serve, args=(self._loop, self._agent, started), name=self.name, daemon=True
        )
        self._thread.start()
        started.wait()
        fault = self._start_fault()
        if fault is not None:
            self._thread.join()
            self._loop = self._agent = self._thread = None
            raise fault
        self._accepts = True

    def stop(self) -> None:
        """End the workers at once; open tasks end as cancelled. Idempotent."""
        with self._changed:
            self._accepts = False
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.stop()
            if thread is not threading.current_thread():
                thread.join()
        self._cancel_open("the task manager was stopped")

    def update_pool(self, num_workers: int) -> None:
        """Change the number of workers.

        Raises:
            ValueError: Fewer than one.
        """
        self._num_workers = check_workers(num_workers)
        agent = self._agent
        if agent is not None and self._loop is not None:
            self._loop.post(lambda: agent.update_pool(num_workers))

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers that run now."""
        return self._agent.worker_pids() if self._agent is not None else []

    def push_task(self, task: Task) -> None:
        """Queue a task; it is pickled here, so a fault shows at once.

        Raises:
            InvalidTaskError: It is not a usable task.
            NotPicklableError: An attribute cannot travel; names it.
            ClosedError: The manager takes nothing.
        """
        task_id = self._admit(task)
        try:
            owner = ("task", task_id)
            payload, blobs = self._packer.dump_task(task, owner)
            task_class = self._class_of(task)
        except BaseException:
            self._withdraw(task_id)
            raise
        record = TaskRecord(self._system, int(task_id.rpartition(":")[2] or 0), task_class, payload, blobs)
        self._pushed.append((task_id, record))
        loop = self._loop
        if loop is not None:
            loop.wake()

    def cancel(self, task_id: str) -> bool:
        """Cancel a task; a running one is killed."""
        cancelled = self._finish(task_id, None, self._cancelled(task_id, "cancelled"))
        if cancelled:
            self._post(lambda: self._kill(task_id))
        return cancelled

    def drain(self) -> list[Task]:
        """Take nothing new, give back the tasks that have not started."""
        with self._changed:
            self._accepts = False
        given: list[Task] = []
        done = threading.Event()

        def give_back() -> None:
            agent = self._agent
            if agent is not None:
                waiting = [task_id for task_id, _ in self._pushed]
                self._pushed.clear()
                agent.recall_all()
                waiting += self._returned
                self._returned = []
                given.extend(task for task_id in waiting if (task := self._withdraw(task_id)) is not None)
            done.set()

        if self._post(give_back):
            done.wait()
        return given

    def _forget_leases(self) -> None:
        """Start with a new agent: it knows no class, and holds no lease."""
        for task_id, _ in (*self._pushed, *self._records.values()):
            self._blobs.release(("task", task_id))
        self._pushed.clear()
        self._records.clear()
        self._leases.clear()
        self._announced.clear()
        self._returned = []

    def _start_fault(self) -> BaseException | None:
        """Return what kept the agent from starting, as its thread noted it."""
        return self._fault

    # In the pool's thread

    def _post(self, call: Callable[[], None]) -> bool:
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return False
        if thread is threading.current_thread():
            call()
        else:
            loop.post(call)
        return True

    def _serve(self, loop: Loop, agent: SlaveAgent, started: threading.Event) -> None:
        loop.on_flush(lambda: self._lease(agent))
        try:
            agent.start()
        except BaseException as error:  # noqa: BLE001 - it is raised by `start`, in the caller's thread
            self._fault = error
            loop.close()
            return
        finally:
            started.set()
        try:
            loop.run()
        finally:
            agent.stop()
            loop.close()

    def _class_of(self, task: Task) -> TaskClass:
        key = task_class_key(task)
        with self._changed:
            known = self._classes.get(key)
        if known is not None:
            return known
        code = self._packer.dump_task_class(type(task), "code")
        with self._changed:
            return self._classes.setdefault(
                key,
                TaskClass(
                    len(self._classes),
                    type(task).__qualname__,
                    priority=task.priority,
                    timeout=task.timeout,
                    max_retries=task.max_retries,
                    code=code,
                ),
            )

    def _lease(self, agent: SlaveAgent) -> None:
        if not self._pushed:
            return
        entries = []
        while self._pushed:
            task_id, record = self._pushed.popleft()
            if task_id not in self._open:
                self._blobs.release(("task", task_id))
                continue
            task_class = record.task_class
            if task_class.number not in self._announced:
                self._announced.add(task_class.number)
                code, blobs = task_class.code
                number, name, timeout = task_class.number, task_class.name, task_class.timeout
                announcement = [_SYSTEM, number, name, timeout, {}, code, blobs, self._manager_id]
                agent.handle(Message(Kind.CLASSES, 0, 0, [announcement]))
            self._counter += 1
            record.lease = self._counter
            record.attempt += 1
            self._records[record.lease] = (task_id, record)
            self._leases[task_id] = record.lease
            number, attempt = record.number, record.attempt
            entries.append([record.lease, _SYSTEM, task_class.number, number, attempt, record.payload, record.blobs])
        agent.handle(Message(Kind.LEASES, 0, 0, entries))
        agent.flush()

    def _heard(self, kind: Kind, body: list[Any], frames: tuple[Any, ...] = ()) -> None:
        del frames
        if kind == Kind.RESULTS:
            for lease, outcome, value, blobs, duration in body:
                self._ended(lease, outcome, value, blobs, duration)
            if self._agent is not None:
                self._agent.handle(Message(Kind.RESULT_ACK, 0, 0, [[result[0] for result in body]]))
        elif kind == Kind.TUNNEL_OPEN and self._agent is not None:
            reason = f"the task manager {self.name!r} runs it alone, without any master"
            self._agent.handle(Message(Kind.TUNNEL_END, 0, 0, [body[0], reason]))
        elif kind == Kind.RETURNED:
            for lease in body[0]:
                task_id, record = self._records.pop(lease)
                self._leases.pop(task_id, None)
                if self._accepts:
                    record.attempt -= 1
                    self._pushed.append((task_id, record))
                else:
                    self._blobs.release(("task", task_id))
                    self._returned.append(task_id)
            if self._loop is not None:
                self._loop.wake()

    def _ended(self, lease: int, outcome: int, value: Any, blobs: Any, duration: int) -> None:
        held = self._records.pop(lease, None)
        if held is None:
            return
        task_id, record = held
        self._leases.pop(task_id, None)
        task = self._open.get(task_id)
        if task is None:
            self._blobs.release(("task", task_id))
            return
        task.attempt, task.slave_id, task.attempt_duration = record.attempt, self.identity or None, duration / 1e9
        if outcome == Outcome.DONE:
            self._blobs.release(("task", task_id))
            self._load_result(task_id, record, value, blobs)
            return
        record.outcome, record.failure = Outcome(outcome), Failure(*value)
        record.crashes += outcome == Outcome.LOST
        record.slave_losses += outcome == Outcome.SLAVE_LOST
        if is_tried_again(record, self.crash_limit, _SLAVE_LOSSES):
            self._pushed.append((task_id, record))
            self._loop_wake()
            return
        self._blobs.release(("task", task_id))
        error = rebuild(task_id, record.outcome, value, self.identity or None, record.attempt, self._packer.loads_whole)
        self._finish(task_id, None, error)

    def _load_result(self, task_id: str, record: TaskRecord, value: Any, blobs: Any) -> None:
        try:
            result = self._packer.loads(value, blobs)
        except BaseException as error:  # noqa: BLE001 - loading runs code of users, which may do anything
            failure = [type(error).__name__, f"the result does not unpickle here: {error}", "", None]
            attempt = record.attempt
            self._finish(task_id, None, rebuild(task_id, Outcome.RAISED, failure, self.identity or None, attempt))
            return
        self._finish(task_id, result, None)

    def _kill(self, task_id: str) -> None:
        lease = self._leases.pop(task_id, None)
        if lease is not None and self._agent is not None:
            self._records.pop(lease, None)
            self._blobs.release(("task", task_id))
            self._agent.handle(Message(Kind.KILL, 0, 0, [[lease]]))
            self._loop_wake()

    def _loop_wake(self) -> None:
        if self._loop is not None:
            self._loop.wake()
