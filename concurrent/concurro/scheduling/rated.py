"""The scheduler `rated`.

Fair queues, rated slaves, leases sent ahead and taken back.

    push_tasks ---> FairQueue --pick--> strategy.get_next_slave --> host.lease
    handle_task --> again, or host.finish                             |
    tick: idle slave, nothing queued, others hold leases ------> host.take_back

Everything between two ticks only notes what changed; `tick` decides for all of it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from concurro.config import IntOption, StrOption
from concurro.errors import ConfigError
from concurro.interfaces import ITaskScheduler, ITaskScheduleStrategy, implementer
from concurro.kernel import Component, Selected
from concurro.scheduling.explain import explain_queued
from concurro.scheduling.placing import Placing
from concurro.scheduling.queue import LEAST_COST
from concurro.scheduling.retries import is_tried_again
from concurro.scheduling.shadow import Shadow, Shadowed
from concurro.scheduling.speculation import Speculation
from concurro.scheduling.strategy_faults import describe_strategy, strategy_raised

if TYPE_CHECKING:
    from collections.abc import Collection

    from concurro.ids import Failure
    from concurro.records import SlaveRecord, SystemRecord, TaskRecord

STALL_SECONDS = 0.005
"""Leases sent ahead may be taken back when their slave finished nothing for so long [s]."""

SURVEY_PERIOD = 0.25
"""How often attempts are looked at that take longer than expected [s]."""


@implementer(ITaskScheduler)
class RatedScheduler(Component):
    """Rates slaves with a strategy and keeps every worker busy."""

    name = "rated"

    crash_limit = IntOption(3, "Started attempts of a task that may be lost by their worker's death.", minimum=1)
    slave_loss_limit = IntOption(10, "Attempts of a task that may be lost with their whole slave.", minimum=1)
    shadow = StrOption("", "A second ITaskScheduleStrategy that is asked and compared, not obeyed; empty for none.")
    strategy = Selected(ITaskScheduleStrategy, "master.strategy", default="least-loaded")

    def setup(self, master: Any) -> None:
        """Learn the host and set the strategy up.

        Raises:
            StrategyError: Its `setup` raised.
        """
        self._host = master
        who = describe_strategy(self.strategy)
        try:
            self.strategy.setup(self, master)
        except Exception as error:
            raise strategy_raised(who, "setup", error) from error
        self._set_up_shadow()
        self._placing = Placing(master, self.strategy, self.log, who)
        self._speculation = Speculation(master, self._placing, self.crash_limit)
        self._queue = self._placing.queue
        self._room = self._placing.room
        self._dirty: dict[str, SlaveRecord] = {}
        self._recalling: dict[str, set[int]] = {}
        self._heard: dict[str, float] = {}
        self._surveyed_at = 0.0
        self._cancelled = False
        self.wake_at: float | None = None

    # What happened

    def start_system(self, task_system: SystemRecord) -> None:
        """Notice a new system; its queue is made with its first task."""
        self._speculation.start(task_system)

    def push_tasks(self, tasks: list[TaskRecord]) -> None:
        """Queue tasks of one system, in this order."""
        self._queue.push(tasks)

    def push_task(self, task: TaskRecord) -> None:
        """Queue one task."""
        self._queue.push([task])

    def handle_task(self, task: TaskRecord) -> None:
        """Queue a task back in front, or end it when it was tried enough."""
        self._changed(task.slave_id)
        self._settle(task, 0.0 if task.outcome is None else task.seconds or task.charged)
        if task.outcome is None or is_tried_again(task, self.crash_limit, self.slave_loss_limit):
            self._queue.push([task], front=True)
        else:
            self._host.finish(task, task.failure)

    def task_pushed(self, slave_id: str) -> None:
        """Rate the slave again: it holds more than before."""
        self._changed(slave_id)

    def _tasked_pushed(self, slave_id: str) -> None:
        """Do as `task_pushed`."""
        self.task_pushed(slave_id)

    def task_finished(self, task: TaskRecord, result: Any, error: Failure | None) -> None:  # noqa: ARG002
        """Notice that the slave has room again."""
        self._changed(task.slave_id)
        if task.charged:
            self._settle(task, task.seconds if error else max(task.seconds, LEAST_COST))

    def tasks_done(self, tasks: list[TaskRecord]) -> None:
        """Notice that the slave of these tasks has room again."""
        self._changed(tasks[0].slave_id)
        overruns = self._queue.overruns
        for task in tasks:
            charged = task.charged
            if charged:
                number, seconds = task.system.number, task.seconds
                cost = max(LEAST_COST, seconds)
                overruns[number] = overruns.get(number, 0.0) + cost - charged
                task.charged = 0.0

    def slave_joined(self, slave: SlaveRecord) -> None:
        """Notice a new slave, or one whose workers or health changed."""
        self._changed(slave.id)
        self._placing.connect(slave)

    def slave_left(self, slave_id: str, reason: str) -> None:  # noqa: ARG002 - the interface's signature
        """Forget a slave."""
        tables: tuple[dict[str, Any], ...] = (self._dirty, self._recalling, self._heard)
        for table in tables:
            table.pop(slave_id, None)
        self._placing.disconnect(slave_id)

    def system_ended(self, system: SystemRecord) -> None:
        """Forget the queue of a system."""
        self._placing.drop_system(system)
        self._speculation.end(system)

    def classes_forgotten(self, system: SystemRecord, numbers: list[int]) -> None:
        """Forget the queues of classes that have no tasks and get none."""
        self._placing.queue.drop_classes(system.number, numbers)

    def cancel(self, task_id: str) -> None:  # noqa: ARG002 - the interface's signature
        """Leave the task where it is queued: a cancelled one is passed over."""
        self._cancelled = True

    def leases_settled(self, slave_id: str, leases: Collection[int]) -> None:
        """Notice which leases of a take-back came back or had started."""
        pending = self._recalling.get(slave_id)
        if pending is not None:
            pending.difference_update(leases)
            if not pending:
                del self._recalling[slave_id]
        self._changed(slave_id)

    def explain(self, task_id: str) -> str:
        """Say why a task is where it is."""
        return explain_queued(task_id, self._host, self._placing, self._is_asked_back)

    def _is_asked_back(self, slave_id: str, lease: int) -> bool:
        return lease in self._recalling.get(slave_id, ())

    @property
    def shadow_report(self) -> dict[str, Any] | None:
        """How the strategy in the shadow compares; None without one."""
        return None if self._shadow is None else self._shadow.report()

    def _set_up_shadow(self) -> None:
        """Let the strategy in the shadow be asked beside the real one.

        Raises:
            ConfigError: It is the real one.
            ComponentError: There is none of that name, or it cannot be used.
        """
        self._shadow: Shadow | None = None
        if self.shadow and self.env is not None:
            option = f"{self.name}.shadow"
            shadow = self.env.selected(ITaskScheduleStrategy, option)
            if shadow is self.strategy:
                message = f"{option} = {self.shadow!r}: that is the strategy in force already; name another"
                raise ConfigError(message, self.config.origin(option))
            self._shadow = Shadow(self.shadow, shadow, self._host, self.log)
            vars(self)["strategy"] = Shadowed(self.strategy, self._shadow)

    # What follows from it

    def rate_slaves(self) -> None:
        """Rate again every slave whose state changed."""
        for slave in self._dirty.values():
            self._placing.rate(slave)
        self._dirty.clear()

    def tick(self, now: float) -> None:
        """Lease what is queued.

        Take back what waits behind something while others idle.
        """
        for slave_id, slave in self._dirty.items():
            self._heard[slave_id] = now
            self._placing.connect(slave)
        changed = list(self._dirty.values())
        self.rate_slaves()
        self._survey(now)
        self._queue.settle()
        if self._cancelled:
            self._cancelled = False
            self._placing.drop_cancelled()
        self._placing.place(changed)
        self.wake_at = getattr(self.strategy, "wake_at", None)  # it may let a task wait, for a while
        if self._room.stocked and self._room.idle:
            self._take_back_from_busy(now)
        self._wake_at(self._speculation.look(now))
        self._wake_at(self._placing.watch.look(now))

    def _wake_at(self, time: float | None) -> None:
        if time is not None and (self.wake_at is None or time < self.wake_at):
            self.wake_at = time

    def _changed(self, slave_id: str | None) -> None:
        if slave_id is not None:
            slave = self._host.slaves.get(slave_id)
            if slave is not None:
                self._dirty[slave_id] = slave

    def _settle(self, task: TaskRecord, cost: float) -> None:
        """Charge a system with what an attempt took, now that it is over [s]."""
        self._queue.note_overrun(task.system.number, cost - task.charged)
        task.charged = task.seconds = 0.0

    def _survey(self, now: float) -> None:
        """Charge attempts while they run, those that take longer than was charged."""
        if now - self._surveyed_at < SURVEY_PERIOD:
            return
        self._surveyed_at = now
        for slave in self._host.slaves.values():
            for task in islice(slave.leases.values(), slave.workers):
                overrun = now - task.leased_at - task.charged
                if overrun > SURVEY_PERIOD:
                    task.charged += overrun
                    self._queue.note_overrun(task.system.number, overrun)

    def _take_back_from_busy(self, now: float) -> None:
        """Recall leases of stuck slaves, for those that have nothing to do."""
        wanted = self._room.free_workers
        for slave in self._room.stocked.values():
            if self._is_asked(slave):
                continue
            due = self._heard.get(slave.id, now) + STALL_SECONDS
            if now < due and not slave.draining:
                self._wake_at(due)
                continue
            count = min(slave.queued, max(wanted, slave.queued // 2))
            leases = list(slave.leases)[-count:]
            self._recalling[slave.id] = set(leases)
            self._host.take_back(leases, slave.id)

    def _is_asked(self, slave: SlaveRecord) -> bool:
        """Say whether the answer to a take-back is due.

        Of leases that ended, none comes.
        """
        return any(lease in slave.leases for lease in self._recalling.get(slave.id, ()))
