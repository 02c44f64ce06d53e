r"""The state of a task manager, and its rules. Pure.

No thread, no clock, no socket: time comes in as an argument, and who waits is told by `take_ready`.

           add          take            store          take_result      confirm
    caller ---> WAITING ---> RUNNING -----------> FINISHED -----> TAKEN -------> gone
                   ^            |                    ^             |
                   \-give_back--/                    \--put_back---/
                   the process, or its connection, is gone; `crash_limit` times: FINISHED, with that as its error

Whoever asks for what is not there is parked as a `Waiter`; what makes it come hands it over at once, to
the one who waits longest. So nobody looks twice, and nobody overtakes.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any

from concurro_tagqueue.errors import (
    TakerLostError,
    TaskManagerTermination,
    UnknownDataError,
    UnknownProcessError,
    UnknownTaskError,
)
from concurro_tagqueue.lines import Choice, TaskLine, WaitLine
from concurro_tagqueue.records import Process, State, TagCounts, TaggedTask, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MISSED_PERIODS = 2
"""A process that did not ping for so many of its periods is gone."""

CRASH_LIMIT = 3
"""So many who ran a task may be gone before it is given up."""

REPEATED_KEPT = 100_000
"""Of so many tasks that were handed out again it is remembered, to know a late result."""


class TaskManagerCore:
    """Everything that a task manager knows. Not thread-safe.

    Args:
        crash_limit: A task is given up when so many who ran it were gone; 0 for never.

    Attributes:
        tasks: Every task, by id.
        processes: Those that are registered, by id.
        stored: Data items, by label.
        dropped: How many results came too late.
        terminated: Whether no more tasks and results are wanted.
        next_task: Number of the next task.
        next_process: Id of the next process.
        changed: Ids of tasks and processes, labels of data, that changed; None while nobody wants to know.
        result_of_lost: Makes the result of a task that is given up, of the reason.
    """

    def __init__(self, crash_limit: int = CRASH_LIMIT) -> None:
        self.crash_limit = crash_limit
        self.result_of_lost: Callable[[str], Any] = lambda reason: (TakerLostError(reason), "")
        self.tasks: dict[str, TaggedTask] = {}
        self.processes: dict[int, Process] = {}
        self.stored: dict[str, Any] = {}
        self.dropped = 0
        self.terminated = False
        self.next_task = 1
        self.next_process = 0
        self.changed: set[tuple[str, Any]] | None = None
        self.waiting = TaskLine()
        self.finished = TaskLine()
        self._running: Counter[str] = Counter()
        self._of_session: dict[str, dict[str, TaggedTask]] = {}
        self._repeated: OrderedDict[str, None] = OrderedDict()
        self._takers = WaitLine()
        self._collectors = WaitLine()
        self._watchers: dict[str, list[Waiter]] = {}
        self._touched: set[str] = set()
        self._ready: list[Waiter] = []
        self._deadlines: list[tuple[float, int]] = []

    # Processes

    def register(self, now: float, period: float | None, info: str, session: str | None = None) -> int:
        """Register a process; return its id."""
        process_id = self.next_process
        self.next_process += 1
        self.enter(Process(process_id, info, period, 0.0, session), now)
        return process_id

    def enter(self, process: Process, now: float) -> None:
        """Take in a process whose id is known; it has just pinged."""
        self.processes[process.process_id] = process
        if process.period is not None:
            process.deadline = now + MISSED_PERIODS * process.period
            heapq.heappush(self._deadlines, (process.deadline, process.process_id))
        self._note("process", process.process_id)

    def process(self, process_id: int) -> Process:
        """Return a registered process.

        Raises:
            UnknownProcessError: There is none of that id.
        """
        process = self.processes.get(process_id) if process_id.__class__ is int else None
        if process is None:
            message = (
                f"no process {process_id!r} is registered ({len(self.processes)} are); it never was, has unregistered, "
                f"or did not ping for {MISSED_PERIODS} of its periods: register it again"
            )
            raise UnknownProcessError(message, process_id)
        return process

    def unregister(self, process_id: int) -> None:
        """Forget a process.

        What it runs goes back to the front, what it waits for ends.

        Raises:
            UnknownProcessError: It is not registered.
        """
        self._unregister(self.process(process_id))

    def _unregister(self, process: Process, lost: str = "") -> None:
        """Forget a process that left; `lost` says how one is gone that did not."""
        process_id = process.process_id
        del self.processes[process_id]
        for waiter in self._takers.everybody():
            if waiter.process_id == process_id:
                message = f"process {process_id} was unregistered while it waited for a task: register it again"
                self._end(waiter, UnknownProcessError(message, process_id))
        for task in reversed(list(process.running.values())):
            if lost:
                self._lose(task, f"{process}, {lost}")
            else:
                self._to_front(task)
        self._note("process", process_id)

    def ping(self, process_id: int, now: float) -> None:
        """Note that a process lives.

        Raises:
            UnknownProcessError: It is not registered.
        """
        process = self.process(process_id)
        if process.period is not None:
            process.deadline = now + MISSED_PERIODS * process.period

    def next_deadline(self) -> float | None:
        """Return when to call `expire` next [s]; None while nobody pings."""
        while self._deadlines and self._deadlines[0][1] not in self.processes:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def expire(self, now: float) -> list[Process]:
        """Unregister those that missed their pings; return them."""
        gone = []
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, process_id = heapq.heappop(self._deadlines)
            process = self.processes.get(process_id)
            if process is None:
                continue
            if process.deadline > deadline:  # it pinged since
                heapq.heappush(self._deadlines, (process.deadline, process_id))
            else:
                self._unregister(process, f"which did not ping for {MISSED_PERIODS} of its periods")
                gone.append(process)
        return gone

    # Tasks

    def add(
        self, tag: str, parameters: Any, requester: int | None = None, priority: int = 0, task_id: str | None = None
    ) -> TaggedTask:
        """Put a task at the end of the line.

        Raises:
            UnknownProcessError: The requester is not registered.
            TaskManagerTermination: There are no more tasks.
        """
        if requester is not None:
            self.process(requester)
        if self.terminated:
            raise TaskManagerTermination(_TERMINATED)
        task = TaggedTask(task_id or str(self.next_task), tag, parameters, priority, requester)
        self.next_task += 1
        self.tasks[task.task_id] = task
        self.waiting.add(task)
        self._offer_task(task)
        return task

    def take(self, choice: Choice, process_id: int | None = None, session: str | None = None) -> TaggedTask | None:
        """Hand out the first task that is wanted; None when there is none.

        Raises:
            UnknownProcessError: The process is not registered.
            TaskManagerTermination: There are no more tasks.
        """
        if process_id is not None:
            self.process(process_id)
        if self.terminated:
            raise TaskManagerTermination(_TERMINATED)
        task = self.waiting.first(choice)
        if task is not None:
            self.hand_out(task, session, process_id)
        return task

    def hand_out(self, task: TaggedTask, session: str | None, process_id: int | None = None) -> None:
        """Hand out a task that waits."""
        self.waiting.remove(task)
        task.state = State.RUNNING
        task.handed_out += 1
        task.process_id, task.session = process_id, session
        self._running[task.tag] += 1
        if process_id is not None:
            self.processes[process_id].running[task.task_id] = task
        if session is not None:
            self._of_session.setdefault(session, {})[task.task_id] = task
        self._changed(task)

    def store(self, task_id: str, result: Any, *, raised: bool = False) -> bool:
        """Store what a running task returned, or raised.

        Return False if it came too late.

        Raises:
            UnknownTaskError: The task does not run, and was never handed out a second time.
        """
        task = self.tasks.get(task_id)
        if task is not None and task.state is State.RUNNING:
            self._stop(task)
            task.state, task.result, task.raised, task.parameters = State.FINISHED, result, raised, None
            self.finished.add(task)
            self._offer_result(task)
            return True
        if task_id in self._repeated or (task is not None and task.may_come_late):
            self.dropped += 1
            self._note("counters", None)
            return False
        raise UnknownTaskError(self._not_running(task_id), task_id)

    def give_back(self, task_id: str, process_id: int | None = None) -> bool:
        """Put a running task to the front.

        Return False if it is another one's by now.

        Raises:
            UnknownTaskError: The task does not run, and was never handed out a second time.
        """
        task = self.tasks.get(task_id)
        if task is not None and task.state is State.RUNNING and process_id in (None, task.process_id):
            self._to_front(task)
            return True
        if task_id in self._repeated or (task is not None and task.may_come_late):
            return False
        raise UnknownTaskError(self._not_running(task_id), task_id)

    def discard(self, task: TaggedTask) -> None:
        """Forget a running task."""
        self._stop(task)
        self._forget(task)

    def drain(self, tag: str) -> list[TaggedTask]:
        """Take every waiting task of a tag out, and forget it."""
        drained = self.waiting.with_tag(tag)
        for task in drained:
            self.waiting.remove(task)
            self._forget(task)
        return drained

    # Results

    def take_result(self, choice: Choice, session: str | None = None) -> TaggedTask | None:
        """Hand out the first result that is wanted; None when there is none.

        Whoever takes it calls `confirm` or `put_back`.

        Raises:
            TaskManagerTermination: There is none, and there will be none.
        """
        task = self.finished.first(choice)
        if task is not None:
            self._hand_over(task, session)
        elif self.terminated:
            raise TaskManagerTermination(_TERMINATED)
        return task

    def confirm(self, task: TaggedTask) -> None:
        """Forget a task whose result came where it was wanted."""
        self._leave_session(task)
        self._forget(task)

    def put_back(self, task: TaggedTask) -> None:
        """Put a result to the front again: it did not come where it was wanted."""
        self._leave_session(task)
        task.state = State.FINISHED
        self.finished.add_first(task)
        self._offer_result(task)

    # Who waits

    def park_taker(self, waiter: Waiter) -> None:
        """Let somebody wait for a task."""
        self._takers.add(waiter)

    def park_collector(self, waiter: Waiter) -> None:
        """Let somebody wait for a result."""
        self._collectors.add(waiter)

    def watch(self, tag: str, waiter: Waiter) -> None:
        """Let somebody wait for other counts of a tag than it has seen.

        Raises:
            TaskManagerTermination: They are what it has seen, and nobody waits any more.
        """
        counts = self.count(tag)
        if waiter.seen is None or counts != waiter.seen:
            waiter.over, waiter.counts = True, counts
        elif self.terminated:
            raise TaskManagerTermination(_TERMINATED)
        else:
            self._watchers.setdefault(tag, []).append(waiter)

    def unpark(self, waiter: Waiter) -> None:
        """Let somebody wait no more. Idempotent."""
        self._takers.remove(waiter)
        self._collectors.remove(waiter)
        for tag in waiter.choice.tags or ():
            watchers = self._watchers.get(tag)
            if watchers is not None and waiter in watchers:
                watchers.remove(waiter)
                if not watchers:
                    del self._watchers[tag]

    def undo(self, waiter: Waiter) -> None:
        """Take back what somebody got who did not live to see it."""
        task = waiter.task
        if not waiter.over:
            self.unpark(waiter)
        elif task is not None and self.tasks.get(task.task_id) is task:
            if task.state is State.RUNNING:
                self._to_front(task)
            elif task.state is State.TAKEN:
                self.put_back(task)

    def take_ready(self) -> list[Waiter]:
        """Return those who wait no more. Call it after every other method."""
        if self._touched:
            self._tell_watchers()
        if not self._ready:
            return []
        ready, self._ready = self._ready, []
        return ready

    # All together

    def terminate(self) -> None:
        """End every wait; hand out no more tasks. Idempotent."""
        self.terminated = True
        watchers = [waiter for line in self._watchers.values() for waiter in line]
        for waiter in [*self._takers.everybody(), *self._collectors.everybody(), *watchers]:
            self._end(waiter, TaskManagerTermination(_TERMINATED))
        self._note("counters", None)

    def end_session(self, session: str, lost: str = "") -> None:
        """Let go what a connection held, which is gone; but see `end_results`.

        Args:
            session: The connection.
            lost: How it was lost; empty for one that left.
        """
        lines = (self._takers.everybody(), self._collectors.everybody(), *self._watchers.values())
        for waiter in [waiter for line in lines for waiter in line if waiter.session == session]:
            self.unpark(waiter)
        for task in reversed(list(self._of_session.get(session, {}).values())):
            if task.state is State.RUNNING and lost:
                process = self.processes.get(-1 if task.process_id is None else task.process_id)
                self._lose(task, f"{process or 'somebody who is not registered'}, {lost}")
            elif task.state is State.RUNNING:
                self._to_front(task)
        for process in [process for process in self.processes.values() if process.session == session]:
            self.unregister(process.process_id)

    def end_results(self, session: str) -> None:
        """Let go the results that a connection took, and that may not have come."""
        for task in reversed(list(self._of_session.get(session, {}).values())):
            if task.state is State.TAKEN:
                self.put_back(task)

    def number_of_tasks(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Return how many wait, run, have a result, by tag; no zeros."""
        return self.waiting.counts(), dict(self._running), self.finished.counts()

    def count(self, tag: str) -> TagCounts:
        """Return how many tasks of a tag there are."""
        return TagCounts(self.waiting.count(tag), self._running[tag], self.finished.count(tag))

    def restore(self, tasks: Iterable[TaggedTask]) -> None:
        """Take in tasks of a core before, each in its state."""
        for task in sorted(tasks, key=lambda task: task.place):
            self.tasks[task.task_id] = task
            if task.state is State.WAITING:
                self.waiting.add_again(task)
            elif task.state is State.FINISHED:
                self.finished.add_again(task)
            else:
                if task.state is State.RUNNING:
                    self._running[task.tag] += 1
                if task.process_id in self.processes and task.process_id is not None:
                    self.processes[task.process_id].running[task.task_id] = task
                if task.session is not None:
                    self._of_session.setdefault(task.session, {})[task.task_id] = task

    # Data

    def retrieve_data(self, label: str) -> Any:
        """Return a data item.

        Raises:
            UnknownDataError: There is none of that label.
        """
        if label not in self.stored:
            raise UnknownDataError(_no_data(label, self.stored), label)
        return self.stored[label]

    def store_data(self, items: dict[str, Any]) -> None:
        """Store data items, in place of those that have their labels."""
        self.stored.update(items)
        for label in items:
            self._note("data", label)

    def delete_data(self, label: str) -> None:
        """Forget a data item.

        Raises:
            UnknownDataError: There is none of that label.
        """
        self.retrieve_data(label)
        del self.stored[label]
        self._note("data", label)

    # How

    def _offer_task(self, task: TaggedTask) -> None:
        """Give a waiting task to who waits longest for one."""
        waiter = None if self.terminated else self._takers.first(task.tag)
        if waiter is None:
            self._changed(task)
            return
        self._takers.remove(waiter)
        self.hand_out(task, waiter.session, waiter.process_id)
        waiter.over, waiter.task = True, task
        self._ready.append(waiter)

    def _offer_result(self, task: TaggedTask) -> None:
        waiter = self._collectors.first(task.tag)
        if waiter is None:
            self._changed(task)
            return
        self._collectors.remove(waiter)
        self._hand_over(task, waiter.session)
        waiter.over, waiter.task = True, task
        self._ready.append(waiter)

    def _hand_over(self, task: TaggedTask, session: str | None) -> None:
        self.finished.remove(task)
        task.state, task.session = State.TAKEN, session
        if session is not None:
            self._of_session.setdefault(session, {})[task.task_id] = task
        self._changed(task)

    def _stop(self, task: TaggedTask) -> None:
        """Let a running task run no more."""
        self._running[task.tag] -= 1
        if not self._running[task.tag]:
            del self._running[task.tag]
        if task.process_id in self.processes and task.process_id is not None:
            self.processes[task.process_id].running.pop(task.task_id, None)
        self._leave_session(task)
        task.process_id = None
        if self._watchers:
            self._touched.add(task.tag)

    def _leave_session(self, task: TaggedTask) -> None:
        held = self._of_session.get(task.session) if task.session is not None else None
        if held is not None:
            held.pop(task.task_id, None)
            if not held:
                del self._of_session[task.session or ""]
        task.session = None

    def _to_front(self, task: TaggedTask) -> None:
        self._stop(task)
        task.state = State.WAITING
        self.waiting.add_first(task)
        self._offer_task(task)

    def _lose(self, task: TaggedTask, who: str) -> None:
        """Put a task to the front whose taker is gone, or give it up."""
        task.losses += 1
        if not self.crash_limit or task.losses < self.crash_limit:
            self._to_front(task)
            return
        reason = (
            f"{task.losses} who ran task {task.task_id} with tag {task.tag!r} were gone before it had a result, "
            f"so it runs no more (crash_limit); the last: {who}"
        )
        self._stop(task)
        task.result = self.result_of_lost(reason)
        task.state, task.raised, task.given_up, task.parameters = State.FINISHED, True, True, None
        self.finished.add(task)
        self._offer_result(task)

    def _forget(self, task: TaggedTask) -> None:
        del self.tasks[task.task_id]
        if task.may_come_late:
            self._repeated[task.task_id] = None
            if len(self._repeated) > REPEATED_KEPT:
                self._repeated.popitem(last=False)
        self._changed(task)

    def _changed(self, task: TaggedTask) -> None:
        if self._watchers:
            self._touched.add(task.tag)
        if self.changed is not None:
            self.changed.add(("task", task.task_id))

    def _note(self, kind: str, key: Any) -> None:
        if self.changed is not None:
            self.changed.add((kind, key))

    def _end(self, waiter: Waiter, error: Exception) -> None:
        self.unpark(waiter)
        waiter.over, waiter.error = True, error
        self._ready.append(waiter)

    def _tell_watchers(self) -> None:
        touched, self._touched = self._touched, set()
        for tag in touched & self._watchers.keys():
            counts = self.count(tag)
            for waiter in [waiter for waiter in self._watchers[tag] if waiter.seen != counts]:
                self.unpark(waiter)
                waiter.over, waiter.counts = True, counts
                self._ready.append(waiter)

    def _not_running(self, task_id: str) -> str:
        task = self.tasks.get(task_id)
        if task is None:
            return f"no task {task_id!r} is running: it never was there, or its result was taken"
        if task.state is State.WAITING:
            return f"task {task_id} with tag {task.tag!r} is not running: it waits for somebody who takes it"
        return f"task {task_id} with tag {task.tag!r} is not running: it has a result already"


_TERMINATED = "the task manager was terminated: no more tasks, and no more results than those that are stored"


def _no_data(label: str, stored: dict[str, Any]) -> str:
    known = ", ".join(map(repr, sorted(stored)[:20])) or "none"
    return f"no data item {label!r} is stored; there are: {known}"
