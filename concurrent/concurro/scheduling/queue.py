"""Queued tasks: by weighted share, then by priority, then by age.

    pick() ---> the application that got the least for its weight
                  ---> of its systems that are nested deepest, that which got the least for its weight
                         ---> the class queue of highest priority, then of the oldest head

Shares follow stride scheduling (Source: C. Waldspurger, W. Weihl, "Stride Scheduling:
Deterministic Proportional-Share Resource Management", 1995, section 2): each has a virtual
time that advances by cost / weight; the least virtual time is next. One that is new or was
idle starts at the time of the last lease: it cannot save up, nor does it find everybody
else behind it. What a task will cost is estimated at its lease and corrected at its end.

Every level is a heap. An entry that is out of date stays until it comes up: a pick costs
the logarithm of how many are ready, however many tasks, systems or classes there are.
"""

from __future__ import annotations

import heapq
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from concurro.ids import Outcome, SystemState

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.records import SystemRecord, TaskClass, TaskRecord

UNMEASURED_COST = 0.01
"""What a task of a class that was never measured is charged with [s]."""

LEAST_COST = 2e-5
"""What the shortest task is charged with, for the work around it [s]."""

MOST_CATCH_UP = 60.0
"""How far one that waited for resources may be behind the others [s of virtual time]."""


class Standing(Enum):
    """Where a class queue stands."""

    EMPTY = "empty"
    READY = "ready"
    PARKED = "parked"  # what it requires is taken
    UNFIT = "unfit"  # no slave offers what it requires
    DECLINED = "declined"  # the strategy keeps it waiting


class ClassQueue:
    """The queued tasks of one class of one system, in order.

    Attributes:
        need: Resource name to amount above 0.
        signature: The same for all queues of equal need.
        entry: Its current entry in its system's heap; 0 when it has none.
        version: Raised whenever it leaves a place where it was parked.
        reserved_on: Slave that is kept for it; empty for none.
        overtaken_at: When another was first placed before it that needs less [s]; None if none was.
        witness: Slave on which its head was last seen to fit.
        waits_since: When it was parked first, of all times since it last got a slave [s].
    """

    __slots__ = (
        "entry",
        "need",
        "overtaken_at",
        "owner",
        "reserved_on",
        "signature",
        "standing",
        "task_class",
        "tasks",
        "version",
        "waits_since",
        "witness",
    )

    def __init__(self, task_class: TaskClass, owner: SystemQueue) -> None:
        self.task_class = task_class
        self.owner = owner
        self.tasks: deque[TaskRecord] = deque()
        self.need = {name: amount for name, amount in task_class.requires.items() if amount > 0}
        self.signature: Hashable = tuple(sorted(self.need.items()))
        self.standing = Standing.EMPTY
        self.entry = 0
        self.version = 0
        self.reserved_on = ""
        self.overtaken_at: float | None = None
        self.witness: Any = None
        self.waits_since: float | None = None

    def head(self) -> TaskRecord | None:
        """Return the first task that is still wanted."""
        tasks = self.tasks
        while tasks:
            task = tasks[0]
            if task.outcome is not Outcome.CANCELLED:
                return task
            tasks.popleft()
        return None

    def wanted(self) -> list[TaskRecord]:
        """Return the tasks that are still wanted; costs their number."""
        return [task for task in self.tasks if task.outcome is not Outcome.CANCELLED]


class SystemQueue:
    """The queued tasks of one system."""

    __slots__ = (
        "application",
        "backlog",
        "by_class",
        "entries",
        "entry",
        "fair",
        "rank",
        "ready",
        "record",
        "virtual_time",
        "weighed",
    )

    def __init__(self, record: SystemRecord, application: ApplicationQueue, fair: FairQueue) -> None:
        self.record = record
        self.application = application
        self.fair = fair
        # What a task that waits has submitted comes first: nothing else ends its wait.
        self.rank = -record.depth
        self.virtual_time = 0.0
        self.by_class: dict[int, ClassQueue] = {}
        self.ready: list[tuple[tuple[int, int], int, ClassQueue]] = []
        self.entries = 0
        self.entry = 0
        self.backlog = 0
        self.weighed = False

    def first(self) -> ClassQueue | None:
        """Return the ready queue whose head is next; None when there is none."""
        ready = self.ready
        while ready:
            key, entry, queue = ready[0]
            if queue.entry != entry:
                heapq.heappop(ready)
                continue
            head = queue.head()
            if head is None:
                heapq.heappop(ready)
                self.drained(queue)
            elif head.number != key[1]:
                heapq.heapreplace(ready, ((key[0], head.number), entry, queue))
            else:
                return queue
        return None

    def enter(self, queue: ClassQueue) -> None:
        """Let a queue with a head be ready, in the place of its head."""
        queue.standing = Standing.READY
        self.entries += 1
        queue.entry = self.entries
        key = (-queue.task_class.priority, queue.tasks[0].number)
        _push(self.ready, (key, self.entries, queue), len(self.by_class))

    def drained(self, queue: ClassQueue) -> None:
        """Note that a queue has no tasks any more."""
        queue.standing = Standing.EMPTY
        queue.entry = 0
        queue.waits_since = queue.overtaken_at = None
        queue.version += 1
        self.fair.plain -= not queue.need
        self.backlog -= 1
        if not self.backlog:
            self.application.backlog -= 1
            self.application.weigh()


class ApplicationQueue:
    """The systems of one application.

    Attributes:
        key: Its id, or the number of its only system.
        clock: The virtual time of the last lease among its systems.
        weight: The largest weight of its systems that have queued tasks.
    """

    __slots__ = ("backlog", "clock", "entry", "key", "ready", "systems", "virtual_time", "weighed", "weight")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.virtual_time = 0.0
        self.clock = 0.0
        self.weight = 1.0
        self.systems: dict[int, SystemQueue] = {}
        self.ready: list[tuple[tuple[int, float], int, SystemQueue]] = []
        self.weighed: list[tuple[float, int, SystemQueue]] = []
        self.entry = 0
        self.backlog = 0

    def first(self) -> ClassQueue | None:
        """Return the class queue that is next; None when no system is ready."""
        ready = self.ready
        while ready:
            key, entry, system = ready[0]
            if system.entry != entry:
                heapq.heappop(ready)
            elif key[1] < system.virtual_time:
                heapq.heapreplace(ready, ((system.rank, system.virtual_time), entry, system))
            else:
                queue = None if _has_ended(system.record) else system.first()
                if queue is not None:
                    return queue
                heapq.heappop(ready)
                system.entry = 0
        return None

    def weigh(self, system: SystemQueue | None = None) -> None:
        """Find the weight anew; `system` has queued tasks from now on."""
        weighed = self.weighed
        if system is not None and not system.weighed:
            system.weighed = True
            heapq.heappush(weighed, (-system.record.weight, system.record.number, system))
        while weighed and not (weighed[0][2].backlog and weighed[0][2].record.number in self.systems):
            heapq.heappop(weighed)[2].weighed = False
        if weighed:
            self.weight = -weighed[0][0]


class FairQueue:
    """The queued tasks of every system.

    Attributes:
        systems: System number to its queue.
        plain: How many class queues have tasks that require nothing.
        filled: Class queues that got tasks which require something; who looks at them clears it.
        overruns: System number to what attempts took beyond what was charged for them, not yet
            charged [s].
    """

    def __init__(self) -> None:
        self.systems: dict[int, SystemQueue] = {}
        self._applications: dict[Hashable, ApplicationQueue] = {}
        self._ready: list[tuple[float, int, ApplicationQueue]] = []
        self._entries = 0
        self._virtual_time = 0.0
        self.plain = 0
        self.filled: list[ClassQueue] = []
        self.overruns: dict[int, float] = {}

    # Tasks

    def push(self, tasks: list[TaskRecord], *, front: bool = False) -> None:
        """Queue tasks of one system, at the end of their classes or at the front."""
        if not tasks:
            return
        system = self._system(tasks[0].system)
        last_class: TaskClass | None = None
        queue: ClassQueue | None = None
        for task in reversed(tasks) if front else tasks:
            if queue is not None and task.task_class is last_class and not front:
                queue.tasks.append(task)
                continue
            last_class = task.task_class
            queue = system.by_class.get(last_class.number)
            if queue is None:
                queue = system.by_class[last_class.number] = ClassQueue(last_class, system)
            if front:
                queue.tasks.appendleft(task)
            else:
                queue.tasks.append(task)
            if queue.standing is Standing.EMPTY:
                self._fill(queue)
            elif front and queue.standing is Standing.READY:
                system.enter(queue)

    def pick(self) -> ClassQueue | None:
        """Return the class queue that is next, or None."""
        ready = self._ready
        while ready:
            key, entry, application = ready[0]
            if application.entry != entry:
                heapq.heappop(ready)
            elif key < application.virtual_time:
                heapq.heapreplace(ready, (application.virtual_time, entry, application))
            else:
                queue = application.first()
                if queue is not None:
                    return queue
                heapq.heappop(ready)
                application.entry = 0
        return None

    def set_aside(self, queue: ClassQueue, standing: Standing) -> None:
        """Let a queue be picked no more until it is made ready again."""
        queue.standing = standing
        queue.entry = 0

    def make_ready(self, queue: ClassQueue) -> bool:
        """Let a queue be picked again; return whether it has a task."""
        if _has_ended(queue.owner.record) or queue.owner.record.number not in self.systems:
            return False
        queue.version += 1
        if queue.head() is None:
            queue.owner.drained(queue)
            return False
        system, application = queue.owner, queue.owner.application
        if queue.standing is Standing.PARKED:
            application.virtual_time = max(application.virtual_time, self._virtual_time - MOST_CATCH_UP)
            system.virtual_time = max(system.virtual_time, application.clock - MOST_CATCH_UP)
        else:
            self._lift(system)
        system.enter(queue)
        self._enter(system, application)
        return True

    def drop_system(self, number: int) -> None:
        """Forget a system that ended."""
        system = self.systems.pop(number, None)
        if system is None:
            return
        application = system.application
        application.systems.pop(number, None)
        self.plain -= sum(not one.need and one.standing is not Standing.EMPTY for one in system.by_class.values())
        self._charge_application(application, self.overruns.pop(number, 0.0))
        system.entry = 0
        if system.backlog:
            application.backlog -= 1
        application.weigh()
        if not application.systems and (
            not isinstance(application.key, str) or application.virtual_time <= self._virtual_time
        ):
            application.entry = 0
            del self._applications[application.key]
        if len(self._applications) > 64 + 4 * len(self.systems):
            self._drop_idle_applications()

    def drop_classes(self, number: int, classes: list[int]) -> None:
        """Forget the queues of classes of a system that get no more tasks."""
        system = self.systems.get(number)
        if system is None:
            return
        for class_number in classes:
            queue = system.by_class.get(class_number)
            if queue is None or queue.reserved_on or queue.head() is not None:
                continue
            if queue.standing is not Standing.EMPTY:
                system.drained(queue)
            del system.by_class[class_number]

    # Shares

    def expected_cost(self, task_class: TaskClass) -> float:
        """Return what a task is charged with when it is leased [s]."""
        mean = task_class.mean
        if mean is None:
            mean = task_class.duration
        return UNMEASURED_COST if mean is None else max(mean, LEAST_COST)

    def serve(self, system: SystemQueue, seconds: float) -> None:
        """Charge a system for a lease: that is when others start that come now."""
        application = system.application
        self._virtual_time = max(self._virtual_time, application.virtual_time)
        application.clock = max(application.clock, system.virtual_time)
        system.virtual_time += seconds / system.record.weight
        application.virtual_time += seconds / application.weight

    def charge(self, system: SystemQueue, seconds: float) -> None:
        """Advance the virtual times of a system and its application."""
        system.virtual_time += seconds / system.record.weight
        if seconds < 0 and system.entry:
            system.entry = self._next_entry()
            key = (system.rank, system.virtual_time)
            _push(system.application.ready, (key, system.entry, system), len(system.application.systems))
        self._charge_application(system.application, seconds)

    def note_overrun(self, number: int, seconds: float) -> None:
        """Note that an attempt took more, or less, than was charged for it."""
        self.overruns[number] = self.overruns.get(number, 0.0) + seconds

    def settle(self) -> None:
        """Charge every overrun."""
        for number, seconds in self.overruns.items():
            system = self.systems.get(number)
            if system is not None and seconds:
                self.charge(system, seconds)
        self.overruns.clear()

    def order_of(self, queue: ClassQueue) -> tuple[float, int, float, int, int]:
        """Return what orders a queue against others; the least is next."""
        system = queue.owner
        number = queue.tasks[0].number if queue.tasks else 0
        shares = (system.application.virtual_time, system.rank, system.virtual_time)
        return (*shares, -queue.task_class.priority, number)

    # Steps

    def _system(self, record: SystemRecord) -> SystemQueue:
        system = self.systems.get(record.number)
        if system is None:
            key: Hashable = record.application or record.number
            application = self._applications.get(key)
            if application is None:
                application = self._applications[key] = ApplicationQueue(key)
            system = self.systems[record.number] = SystemQueue(record, application, self)
            application.systems[record.number] = system
        return system

    def _fill(self, queue: ClassQueue) -> None:
        """Make a queue ready that was empty."""
        system = queue.owner
        application = system.application
        if not system.backlog:
            self._lift(system)
            application.backlog += 1
        system.backlog += 1
        if system.backlog == 1:
            application.weigh(system)
        if queue.need:
            self.filled.append(queue)
        else:
            self.plain += 1
        system.enter(queue)
        self._enter(system, application)

    def _lift(self, system: SystemQueue) -> None:
        """Let one that was not ready start where the others are."""
        application = system.application
        if not application.entry or not application.backlog:
            application.virtual_time = max(application.virtual_time, self._virtual_time)
        if not system.entry or not system.backlog:
            system.virtual_time = max(system.virtual_time, application.clock)

    def _enter(self, system: SystemQueue, application: ApplicationQueue) -> None:
        if not system.entry:
            system.entry = self._next_entry()
            key = (system.rank, system.virtual_time)
            _push(application.ready, (key, system.entry, system), len(application.systems))
        if not application.entry:
            application.entry = self._next_entry()
            _push(self._ready, (application.virtual_time, application.entry, application), len(self._applications))

    def _charge_application(self, application: ApplicationQueue, seconds: float) -> None:
        application.virtual_time += seconds / application.weight
        if seconds < 0 and application.entry:
            application.entry = self._next_entry()
            _push(self._ready, (application.virtual_time, application.entry, application), len(self._applications))

    def _next_entry(self) -> int:
        self._entries += 1
        return self._entries

    def _drop_idle_applications(self) -> None:
        for key, application in list(self._applications.items()):
            if not application.systems and application.virtual_time <= self._virtual_time:
                application.entry = 0
                del self._applications[key]


def _has_ended(record: SystemRecord) -> bool:
    state = record.state
    return state is not SystemState.RUNNING and state is not SystemState.STARTING


def _push(heap: list[tuple[Any, int, Any]], item: tuple[Any, int, Any], live: int) -> None:
    """Push an entry; drop those that are out of date when they are too many."""
    heapq.heappush(heap, item)
    if len(heap) > 64 + 4 * live:
        heap[:] = [known for known in heap if known[2].entry == known[1]]
        heapq.heapify(heap)
