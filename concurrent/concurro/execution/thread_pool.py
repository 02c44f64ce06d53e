"""The task manager for tasks that wait, or release the GIL: threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from concurro.errors import TaskTimeout
from concurro.execution.in_process import attempt_here, error_of
from concurro.execution.pooled_tasks import PooledTasks, check_workers
from concurro.execution.processors import usable_processors
from concurro.interfaces import ITaskManager, implementer

if TYPE_CHECKING:
    from concurro.errors import TaskError
    from concurro.task import Task


class _Attempt:
    """One running attempt; `over` once somebody decided its outcome."""

    __slots__ = ("deadline", "over", "task", "task_id")

    def __init__(self, task_id: str, task: Task) -> None:
        self.task_id = task_id
        self.task = task
        self.over = False
        self.deadline = time.monotonic() + task.timeout if task.timeout is not None else None


@implementer(ITaskManager)
class ThreadPool(PooledTasks):
    """Runs tasks in threads of this process. Nothing is pickled.

    A thread cannot be killed. A task that runs longer than its `timeout` ends with TaskTimeout on
    time, and another thread takes its place; its own thread goes on until the task returns, and
    what it returns is dropped. The same holds for a cancelled task and for `stop`. A task that
    never returns therefore keeps a (daemon) thread until the process ends.
    """

    name = "thread-pool"

    def __init__(self) -> None:
        super().__init__()
        self._num_workers = usable_processors()
        self._queue: deque[tuple[str, Task]] = deque()
        self._work = threading.Condition(threading.Lock())
        self._running: dict[threading.Thread, _Attempt | None] = {}
        self._watch: threading.Thread | None = None
        self._stopped = False

    def get_num_workers(self) -> int:
        """Return the number of threads."""
        return self._num_workers

    def start(self) -> None:
        """Start the threads."""
        self._accepts = True
        with self._work:
            self._stopped = False
            self._fill()
            self._watch = threading.Thread(target=self._watch_deadlines, name="thread-pool watch", daemon=True)
            self._watch.start()

    def stop(self) -> None:
        """End every idle thread; open tasks end as cancelled. Idempotent."""
        with self._changed:
            self._accepts = False
        with self._work:
            self._stopped = True
            self._queue.clear()
            idle = [thread for thread, attempt in self._running.items() if attempt is None]
            for thread, attempt in list(self._running.items()):
                if attempt is not None:  # it goes its own way, and holds no place when the pool is started again
                    attempt.over = True
                    del self._running[thread]
            watch, self._watch = self._watch, None
            self._work.notify_all()
        self._cancel_open("the task manager was stopped")
        for thread in [*idle, *([watch] if watch is not None else [])]:
            if thread is not threading.current_thread():
                thread.join()

    def update_pool(self, num_workers: int) -> None:
        """Change the number of threads.

        Raises:
            ValueError: Fewer than one.
        """
        check_workers(num_workers)
        with self._work:
            self._num_workers = num_workers
            if self._watch is not None:
                self._fill()
            self._work.notify_all()

    def push_task(self, task: Task) -> None:
        """Queue a task.

        Raises:
            InvalidTaskError: It is not a usable task.
            ClosedError: The manager takes nothing.
        """
        task_id = self._admit(task)
        with self._work:
            self._queue.append((task_id, task))
            self._work.notify_all()

    def cancel(self, task_id: str) -> bool:
        """Cancel a task; a running one goes on, its result is dropped."""
        with self._work:
            self._queue = deque(each for each in self._queue if each[0] != task_id)
            self._leave(task_id)
        return self._finish(task_id, None, self._cancelled(task_id, "cancelled"))

    def drain(self) -> list[Task]:
        """Take nothing new, give back the tasks that have not started."""
        with self._changed:
            self._accepts = False
        with self._work:
            waiting = list(self._queue)
            self._queue.clear()
        given = [self._withdraw(task_id) for task_id, _ in waiting]
        return [task for task in given if task is not None]

    # Threads. `_work` is held for `_running` and `_queue`.

    def _fill(self) -> None:
        while len(self._running) < self._num_workers:
            thread = threading.Thread(target=self._serve, name="thread-pool worker", daemon=True)
            self._running[thread] = None
            thread.start()

    def _leave(self, task_id: str) -> None:
        """Let the thread of a task go its own way, and start another one."""
        for thread, attempt in list(self._running.items()):
            if attempt is not None and attempt.task_id == task_id:
                attempt.over = True
                del self._running[thread]
        if self._watch is not None:
            self._fill()

    def _serve(self) -> None:
        me = threading.current_thread()
        while True:
            with self._work:
                while not self._queue and not self._stopped and len(self._running) <= self._num_workers:
                    self._work.wait()
                if self._stopped or len(self._running) > self._num_workers or me not in self._running:
                    self._running.pop(me, None)
                    return
                task_id, task = self._queue.popleft()
                task.slave_id = self.identity or None
                task.attempt += 1
                attempt = self._running[me] = _Attempt(task_id, task)
                if attempt.deadline is not None:
                    self._work.notify_all()
            start = time.perf_counter()
            result, raised = attempt_here(task)
            duration = time.perf_counter() - start
            with self._work:
                if attempt.over:
                    return
                attempt.over = True
                self._running[me] = None
            task.attempt_duration = duration
            self._ended(task_id, task, result, error_of(task, raised) if raised is not None else None)

    def _ended(self, task_id: str, task: Task, result: Any, error: TaskError | None) -> None:
        if error is not None and task.max_retries is not None and task.attempt <= task.max_retries:
            with self._work:
                if not self._stopped and task_id in self._open:
                    self._queue.append((task_id, task))
                    self._work.notify_all()
                    return
        self._finish(task_id, result, error)

    def _watch_deadlines(self) -> None:
        while True:
            with self._work:
                if self._stopped:
                    return
                now = time.monotonic()
                late = [a for a in self._running.values() if a is not None and a.deadline and a.deadline <= now]
                for attempt in late:
                    self._leave(attempt.task_id)
                if not late:
                    times = [a.deadline for a in self._running.values() if a is not None and a.deadline]
                    self._work.wait(max(0.0, min(times) - now) if times else None)
                    continue
            for attempt in late:
                task = attempt.task
                message = f"it ran longer than its timeout of {task.timeout:g} s; a thread cannot be killed and goes on"
                error = TaskTimeout(attempt.task_id, "TaskTimeout", message, "", task.slave_id, task.attempt)
                self._ended(attempt.task_id, task, None, error)
