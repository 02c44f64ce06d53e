"""How a scheduler must behave, whatever it prefers."""

from __future__ import annotations

from typing import Any

from concurro.ids import Outcome
from concurro.kernel.contracts import place_of
from concurro.testing.stand_ins import SchedulerHostStandIn

_TASKS = 4
_TICKS = 20


def scheduler_faults(scheduler: Any) -> list[str]:
    """Return what is wrong with how a scheduler treats a slave and tasks."""
    return _Trial(scheduler).run()


class _Trial:
    """One scheduler, one slave, some tasks that end or come back."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.host = SchedulerHostStandIn()
        self.faults: list[str] = []

    def run(self) -> list[str]:
        self.scheduler.setup(self.host)
        system = self.host.add_system()
        self.scheduler.start_system(system)
        tasks = self.host.add_tasks(system, _TASKS)
        self.scheduler.push_tasks(list(tasks))
        self._tick()
        if self.host.leases:
            self._fault("tick", "leases a task although there is no slave")
        explanation = self.scheduler.explain(tasks[0].id)
        if not isinstance(explanation, str) or not explanation:
            self._fault("explain", "does not return a sentence")
        self.scheduler.slave_joined(self.host.add_slave("north", workers=2))
        self._finish_all()
        self._hand_one_back()
        self._lose_the_slave()
        return self.faults

    def _finish_all(self) -> None:
        system = self.host.systems[1]
        for _ in range(_TICKS):
            self._tick()
            leased = [task for task in system.open.values() if task.lease]
            for task in leased:
                self.host.end_lease(task, Outcome.DONE)
                del system.open[task.number]
                self.scheduler.task_finished(task, b"", None)
        if system.open:
            self._fault("tick", f"left {len(system.open)} of {_TASKS} tasks queued beside an idle slave")
        if len(self.host.leases) > _TASKS:
            self._fault("tick", "leases a task that has ended")

    def _hand_one_back(self) -> None:
        system = self.host.systems[1]
        task = self.host.add_tasks(system, 1)[0]
        self.scheduler.push_task(task)
        self._tick()
        if not task.lease:
            self._fault("push_task", "does not lead to a lease beside an idle slave")
            return
        self.host.end_lease(task, None)
        self.scheduler.handle_task(task)
        self._tick()
        if not task.lease:
            self._fault("handle_task", "does not lead to another lease for a task handed back unstarted")

    def _lose_the_slave(self) -> None:
        system = self.host.systems[1]
        held = [task for task in system.open.values() if task.lease]
        slave = self.host.slaves.pop("north")
        slave.leases.clear()
        self.scheduler.slave_left("north", "it was killed")
        for task in held:
            self.host.end_lease(task, Outcome.SLAVE_LOST)
            task.slave_losses += 1
            self.scheduler.handle_task(task)
        before = len(self.host.leases)
        self._tick()
        if len(self.host.leases) > before:
            self._fault("slave_left", "is followed by a lease to the slave that left")

    def _tick(self) -> None:
        self.host.time += 1.0
        known = set(self.host.leases)
        try:
            self.scheduler.tick(self.host.time)
        except KeyError as error:
            self._fault("tick", f"leases to a slave that is not there: {error}")
        given = [task for lease, (task, _) in self.host.leases.items() if lease not in known]
        if len({id(task) for task in given}) < len(given):
            self._fault("tick", "leases a task twice")

    def _fault(self, method: str, what: str) -> None:
        place = place_of(getattr(type(self.scheduler), method))
        self.faults.append(f"{place}: {type(self.scheduler).__name__}.{method} {what}")
