"""The scheduler `rated`.

Fair queues, rated slaves, leases sent ahead and taken back.

    push_tasks ---> FairQueue --pick--> strategy.get_next_slave --> host.lease
    handle_task --> again, or host.finish                             |
    tick: idle slave, nothing queued, others hold leases ------> host.take_back

Everything between two ticks only notes what changed; `tick` decides for all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.config import IntOption, StrOption
from concurro.errors import ConfigError
from concurro.ids import Outcome
from concurro.interfaces import ITaskScheduler, ITaskScheduleStrategy, implementer
from concurro.kernel import Component, Selected
from concurro.scheduling.depth import PREFETCH_LIMIT, burst_size, lease_depth
from concurro.scheduling.explain import explain_queued
from concurro.scheduling.queue import ClassQueue, FairQueue, SystemQueue
from concurro.scheduling.retries import is_tried_again
from concurro.scheduling.shadow import Shadow, Shadowed

if TYPE_CHECKING:
    from collections.abc import Collection

    from concurro.ids import Failure, SlaveRecord, SystemRecord, TaskRecord

STALL_SECONDS = 0.005
"""Leases sent ahead may be taken back when their slave finished nothing for so long [s]."""


@implementer(ITaskScheduler)
class RatedScheduler(Component):
    """Rates slaves with a strategy and keeps every worker busy."""

    name = "rated"

    crash_limit = IntOption(3, "Started attempts of a task that may be lost by their worker's death.", minimum=1)
    slave_loss_limit = IntOption(10, "Attempts of a task that may be lost with their whole slave.", minimum=1)
    shadow = StrOption("", "A second ITaskScheduleStrategy that is asked and compared, not obeyed; empty for none.")
    strategy = Selected(ITaskScheduleStrategy, "master.strategy", default="least-loaded")

    def setup(self, master: Any) -> None:
        """Learn the host and set the strategy up."""
        self._host = master
        self._queue = FairQueue()
        self._dirty: dict[str, SlaveRecord] = {}
        self._idle: dict[str, SlaveRecord] = {}
        self._ahead: dict[str, SlaveRecord] = {}
        self._recalling: dict[str, set[int]] = {}
        self._heard: dict[str, float] = {}
        self.wake_at: float | None = None
        self.strategy.setup(self, master)
        self._set_up_shadow()

    # What happened

    def start_system(self, task_system: SystemRecord) -> None:
        """Notice a new system; its queue is made with its first task."""

    def push_tasks(self, tasks: list[TaskRecord]) -> None:
        """Queue tasks of one system, in this order."""
        self._queue.push(tasks)

    def push_task(self, task: TaskRecord) -> None:
        """Queue one task."""
        self._queue.push([task])

    def handle_task(self, task: TaskRecord) -> None:
        """Queue a task back in front, or end it when it was tried enough."""
        self._changed(task.slave_id)
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
        slave_id = task.slave_id
        if slave_id is not None and slave_id not in self._dirty:
            self._changed(slave_id)

    def slave_joined(self, slave: SlaveRecord) -> None:
        """Notice a new slave, or one whose workers or health changed."""
        self._changed(slave.id)

    def slave_left(self, slave_id: str, reason: str) -> None:  # noqa: ARG002 - the interface's signature
        """Forget a slave."""
        tables: tuple[dict[str, Any], ...] = (self._dirty, self._idle, self._ahead, self._recalling, self._heard)
        for table in tables:
            table.pop(slave_id, None)

    def cancel(self, task_id: str) -> None:
        """Leave the task where it is queued: a cancelled one is passed over."""

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
        return explain_queued(task_id, self._host, self._queue)

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
            self._rate(slave)
        self._dirty.clear()

    def tick(self, now: float) -> None:
        """Lease what is queued.

        Take back what waits behind something while others idle.
        """
        for slave_id in self._dirty:
            self._heard[slave_id] = now
        self._queue.drop_ended()
        self.rate_slaves()
        if self._idle or self._ahead:
            self._place_queued()
        self.wake_at = getattr(self.strategy, "wake_at", None)  # it may let a task wait, for a while
        if self._idle and len(self._host.slaves) > 1:
            self._take_back_from_busy(now)

    def _changed(self, slave_id: str | None) -> None:
        if slave_id is not None:
            slave = self._host.slaves.get(slave_id)
            if slave is not None:
                self._dirty[slave_id] = slave

    def _rate(self, slave: SlaveRecord) -> None:
        """Rate one slave and note whether it has room."""
        slave.rating = self.strategy.rate(slave)
        held = len(slave.leases)
        usable = not slave.sick and not slave.draining
        _note(self._idle, slave, usable and held < slave.workers)
        _note(self._ahead, slave, usable and held < slave.workers * (1 + PREFETCH_LIMIT))

    def _place_queued(self) -> None:
        """Lease queued tasks until none is left or nobody can take the next.

        Once a task waits for a worker, nothing after it is sent ahead: a slave that always has
        short tasks in stock would never have a worker free for a long one.
        """
        blocked = False
        send_ahead = True
        while self._idle or send_ahead:
            picked = self._queue.pick()
            if picked is None:
                break
            system, queue = picked
            head = queue.head()
            if head is None:
                break
            slave = self._choose(head, send_ahead=send_ahead)
            if slave is None:
                queue.blocked = blocked = True
                send_ahead = send_ahead and not self._waits_for_worker(head)
                continue
            self._lease_burst(system, queue, slave)
        if blocked:
            self._queue.unblock()

    def _waits_for_worker(self, task: TaskRecord) -> bool:
        """Say whether a slave has all that the task requires, but a free worker."""
        requires = task.task_class.requires
        return not requires or any(has_room(slave.free, requires) for slave in self._ahead.values())

    def _choose(self, task: TaskRecord, *, send_ahead: bool) -> SlaveRecord | None:
        """Ask the strategy.

        First among slaves with a free worker, then to send ahead.
        """
        requires = task.task_class.requires
        slave = self._ask(task, self._idle, requires)
        if slave is not None or requires or not send_ahead or task.task_class.duration is None:
            return slave
        duration = task.task_class.duration
        if lease_depth(1, duration) == 1:
            return None
        candidates: Collection[str] = self._ahead
        slave = self._ask(task, self._ahead, requires)
        while slave is not None and len(slave.leases) >= lease_depth(slave.workers, duration):
            candidates = [other for other in candidates if other != slave.id]
            if not self._roomy(candidates, duration):
                return None
            slave = self._ask_ids(task, candidates)
        return slave

    def _roomy(self, candidates: Collection[str], duration: float) -> bool:
        slaves = self._host.slaves
        return any(len(slaves[one].leases) < lease_depth(slaves[one].workers, duration) for one in candidates)

    def _ask(self, task: TaskRecord, pool: dict[str, SlaveRecord], requires: dict[str, float]) -> SlaveRecord | None:
        if not pool:
            return None
        if requires:
            fitting = [one for one, slave in pool.items() if has_room(slave.free, requires)]
            return self._ask_ids(task, fitting) if fitting else None
        return self._ask_ids(task, None if len(pool) == len(self._host.slaves) else pool)

    def _ask_ids(self, task: TaskRecord, slaves: Collection[str] | None) -> SlaveRecord | None:
        chosen = self.strategy.get_next_slave(task, slaves)
        if chosen is None:
            return None
        slave: SlaveRecord | None = self._host.slaves.get(chosen)
        if slave is None or (slaves is not None and chosen not in slaves):
            self.log.warning("strategy chose %r, which is not among the slaves it may choose", chosen)
            return None
        return slave

    def _lease_burst(self, system: SystemQueue, queue: ClassQueue, slave: SlaveRecord) -> None:
        """Lease as many tasks of one class as one decision may."""
        task_class = queue.task_class
        held = len(slave.leases)
        if not held:
            self._heard[slave.id] = self._host.now()
        if task_class.requires:
            room = 1
        elif held < slave.workers:
            room = max(slave.workers - held, min(burst_size(task_class.duration), 8))
        else:
            room = lease_depth(slave.workers, task_class.duration) - held
        count = min(room, burst_size(task_class.duration))
        tasks, lease, leased = queue.tasks, self._host.lease, 0
        while tasks and leased < count:
            task = tasks.popleft()
            if task.outcome is not Outcome.CANCELLED:
                lease(task, slave.id)
                leased += 1
        system.charge(task_class, leased)
        if not tasks:
            system.drop(queue)
        self._rate(slave)

    def _take_back_from_busy(self, now: float) -> None:
        """Recall leases of stuck slaves, for those that have nothing to do."""
        wanted = sum(slave.workers - len(slave.leases) for slave in self._idle.values())
        for slave in self._host.slaves.values():
            if not slave.queued or slave.id in self._idle or self._is_asked(slave):
                continue
            due = self._heard.get(slave.id, now) + STALL_SECONDS
            if now < due and not slave.draining:
                self.wake_at = due if self.wake_at is None else min(self.wake_at, due)
                continue
            count = min(slave.queued, max(wanted, slave.queued // 2))
            leases = list(slave.leases)[-count:]
            self._recalling[slave.id] = set(leases)
            self._host.take_back(leases)

    def _is_asked(self, slave: SlaveRecord) -> bool:
        """Say whether the answer to a take-back is due.

        Of leases that ended, none comes.
        """
        return any(lease in slave.leases for lease in self._recalling.get(slave.id, ()))


def has_room(free: dict[str, float], requires: dict[str, float]) -> bool:
    """Say whether what is free covers what is required."""
    return all(free.get(name, 0.0) >= amount for name, amount in requires.items())


def _note(table: dict[str, SlaveRecord], slave: SlaveRecord, belongs: bool) -> None:  # noqa: FBT001 - a predicate's value
    if belongs:
        table[slave.id] = slave
    else:
        table.pop(slave.id, None)
