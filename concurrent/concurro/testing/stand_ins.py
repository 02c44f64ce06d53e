"""Stand-ins for the nodes: what a component needs around it in a test."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from concurro.ids import Outcome, SystemState, make_lease
from concurro.interfaces import ISchedulerHost, implementer
from concurro.records import CopyLease, SlaveRecord, SystemRecord, TaskClass, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from concurro.ids import Failure


@implementer(ISchedulerHost)
class SchedulerHostStandIn:
    """A master's side of a scheduler: keeps the records, notes what was asked.

    Attributes:
        slaves: Slave id to record.
        systems: System number to record.
        leases: Lease to `(task, slave id)`, for all that were given.
        recalled: Leases that were asked for again.
        finished: Tasks that were ended for good.
        warnings: System number and text of what applications were told.
        time: What `now` returns; move it as you like [s].
    """

    def __init__(self) -> None:
        self.slaves: dict[str, SlaveRecord] = {}
        self.systems: dict[int, SystemRecord] = {}
        self.leases: dict[int, tuple[TaskRecord, str]] = {}
        self.recalled: list[int] = []
        self.finished: list[TaskRecord] = []
        self.warnings: list[tuple[int, str]] = []
        self.time = 0.0
        self.random = random.Random(0)

    def add_slave(self, slave_id: str, workers: int = 1, resources: dict[str, float] | None = None) -> SlaveRecord:
        """Add a slave and return its record."""
        slave = SlaveRecord(slave_id, f"{slave_id}.example", workers, resources)
        self.slaves[slave_id] = slave
        return slave

    def add_system(self, number: int = 1) -> SystemRecord:
        """Add a running system and return its record."""
        system = SystemRecord(number, f"system-{number}", "Sum", application="application-1")
        system.state = SystemState.RUNNING
        system.classes[0] = TaskClass(0, "Square")
        self.systems[number] = system
        return system

    def add_tasks(self, system: SystemRecord, count: int, task_class: TaskClass | None = None) -> list[TaskRecord]:
        """Add open tasks to a system and return their records."""
        first = len(system.open)
        task_class = task_class or system.classes[0]
        tasks = [TaskRecord(system, number, task_class, b"payload") for number in range(first, first + count)]
        system.open.update({task.number: task for task in tasks})
        return tasks

    def lease(self, task: TaskRecord, slave_id: str) -> int:
        """Give the lease and keep the records as a master does."""
        lease = make_lease(1, len(self.leases) + 1)
        slave = self.slaves[slave_id]
        task.attempt += 1
        task.lease = lease
        task.leased_at = self.time
        task.slave_id = slave_id
        task.system.leased += 1
        slave.leases[lease] = task
        for name, amount in task.requires.items():
            slave.free[name] = slave.free.get(name, 0.0) - amount
        self.leases[lease] = (task, slave_id)
        return lease

    def lease_run(self, tasks: list[TaskRecord], slave_id: str) -> None:
        """Give a lease for each."""
        for task in tasks:
            self.lease(task, slave_id)

    def lease_copy(self, task: TaskRecord, slave_id: str) -> int:
        """Give a second lease and keep the records as a master does."""
        lease = make_lease(1, len(self.leases) + 1)
        task.copy = CopyLease(lease, slave_id, task.attempt + 1, self.time)
        task.copied = True
        slave = self.slaves[slave_id]
        slave.leases[lease] = task
        for name, amount in task.requires.items():
            slave.free[name] = slave.free.get(name, 0.0) - amount
        self.leases[lease] = (task, slave_id)
        return lease

    def take_back(self, leases: Iterable[int], slave_id: str = "") -> None:  # noqa: ARG002 - the interface's signature
        """Note which leases were asked for."""
        self.recalled.extend(leases)

    def finish(self, task: TaskRecord, error: Failure | None) -> None:  # noqa: ARG002 - the interface's signature
        """Take a task out of the open ones."""
        task.system.open.pop(task.number, None)
        self.finished.append(task)

    def end_lease(self, task: TaskRecord, outcome: Outcome | None) -> None:
        """Take the lease from a task that ended, or was handed back (None)."""
        slave = self.slaves.get(task.slave_id or "")
        if slave is not None:
            slave.leases.pop(task.lease, None)
            for name, amount in task.requires.items():
                slave.free[name] = slave.free.get(name, 0.0) + amount
        task.system.leased -= 1
        task.lease = 0
        task.outcome = outcome

    def warn(self, system: SystemRecord, text: str) -> None:
        """Note what the applications of a system were told."""
        self.warnings.append((system.number, text))

    def now(self) -> float:
        """Return `time` [s]."""
        return self.time


class SchedulerStandIn:
    """A scheduler that a strategy can be set up with: any call does nothing."""

    def __getattr__(self, name: str) -> Any:
        """Return a method that does nothing."""
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_arguments, **_keywords: None
