"""Queued tasks.

By priority within a system, by weighted share between systems.

    pick() ---> the system that got the least for its weight
                  ---> its highest priority ---> the class queue whose head came first

Shares follow stride scheduling (Source: C. Waldspurger, W. Weihl, "Stride Scheduling:
Deterministic Proportional-Share Resource Management", 1995, section 2): each system has a
virtual time that advances by cost / weight; the least virtual time is next. A system that
is new or was idle starts at the time of the last pick: it cannot save up, nor does it
find everybody else behind it.
"""

from __future__ import annotations

import bisect
from collections import deque
from typing import TYPE_CHECKING

from concurro.ids import Outcome

if TYPE_CHECKING:
    from concurro.ids import SystemRecord, TaskClass, TaskRecord

UNMEASURED_COST = 0.01
"""What a task of a class that was never measured is charged with [s]."""

LEAST_COST = 2e-5
"""What the shortest task is charged with, for the work around it [s]."""


class ClassQueue:
    """The queued tasks of one class of one system, in order."""

    __slots__ = ("blocked", "task_class", "tasks")

    def __init__(self, task_class: TaskClass) -> None:
        self.task_class = task_class
        self.tasks: deque[TaskRecord] = deque()
        self.blocked = False

    def head(self) -> TaskRecord | None:
        """Return the first task that is still wanted."""
        tasks = self.tasks
        while tasks:
            task = tasks[0]
            if task.outcome is not Outcome.CANCELLED:
                return task
            tasks.popleft()
        return None


class SystemQueue:
    """The queued tasks of one system."""

    __slots__ = ("by_class", "order", "record", "virtual_time")

    def __init__(self, record: SystemRecord, virtual_time: float) -> None:
        self.record = record
        self.virtual_time = virtual_time
        self.by_class: dict[int, ClassQueue] = {}
        self.order: list[ClassQueue] = []

    def queue_for(self, task_class: TaskClass) -> ClassQueue:
        """Return the queue of a class; highest priority stands first in `order`."""
        queue = self.by_class.get(task_class.number)
        if queue is None:
            queue = self.by_class[task_class.number] = ClassQueue(task_class)
            bisect.insort_right(self.order, queue, key=_urgency)
        return queue

    def drop(self, queue: ClassQueue) -> None:
        """Forget the queue of a class that is drained.

        Its next task makes it again.
        """
        del self.by_class[queue.task_class.number]
        self.order.remove(queue)

    def charge(self, task_class: TaskClass, count: int) -> None:
        """Advance the virtual time by what `count` tasks are expected to take."""
        duration = task_class.duration
        cost = UNMEASURED_COST if duration is None else max(duration, LEAST_COST)
        self.virtual_time += count * cost / self.record.weight

    def next_queue(self) -> ClassQueue | None:
        """Return the queue whose head is next: highest priority, then oldest.

        Queues that are `blocked` (nobody can take their head now) are passed over.
        """
        best: ClassQueue | None = None
        best_number = 0
        for queue in self.order:
            if best is not None and queue.task_class.priority < best.task_class.priority:
                break
            if queue.blocked:
                continue
            head = queue.head()
            if head is not None and (best is None or head.number < best_number):
                best, best_number = queue, head.number
        return best


class FairQueue:
    """The queued tasks of every system."""

    def __init__(self) -> None:
        self.systems: dict[int, SystemQueue] = {}
        self._virtual_time = 0.0

    def push(self, tasks: list[TaskRecord], *, front: bool = False) -> None:
        """Queue tasks of one system, at the end of their classes or at the front."""
        if not tasks:
            return
        system = self._system(tasks[0].system)
        if not any(queue.tasks for queue in system.order):
            system.virtual_time = max(system.virtual_time, self._virtual_time)
        last_class, queue = None, None
        for task in reversed(tasks) if front else tasks:
            if queue is None or task.task_class is not last_class:
                last_class = task.task_class
                queue = system.queue_for(last_class)
            if front:
                queue.tasks.appendleft(task)
            else:
                queue.tasks.append(task)

    def drop_ended(self) -> None:
        """Forget systems that ended."""
        for number in [number for number, queue in self.systems.items() if queue.record.state.ended]:
            del self.systems[number]

    def unblock(self) -> None:
        """Let every queue be looked at again."""
        for system in self.systems.values():
            for queue in system.order:
                queue.blocked = False

    def pick(self) -> tuple[SystemQueue, ClassQueue] | None:
        """Return the system and class queue that are next, or None."""
        for system in sorted(self.systems.values(), key=_virtual_time):
            queue = system.next_queue()
            if queue is not None:
                self._virtual_time = max(self._virtual_time, system.virtual_time)
                return system, queue
        return None

    def _system(self, record: SystemRecord) -> SystemQueue:
        queue = self.systems.get(record.number)
        if queue is None:
            queue = self.systems[record.number] = SystemQueue(record, 0.0)
        return queue


def _urgency(queue: ClassQueue) -> int:
    return -queue.task_class.priority


def _virtual_time(queue: SystemQueue) -> float:
    return queue.virtual_time
