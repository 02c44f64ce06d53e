"""The scheduler core: open tasks and leases, events in, commands out.

    emit, cancel, end of a system  --+                        +--> leases, classes
    results, returned leases       --+--> SchedulerCore ------+--> recalls, kills, forgets
    slaves that come, change, go   --+    (asks the           +--> finished tasks,
    tick(now)                      --+     ITaskScheduler)         per system

The core owns what must be right whatever the policy: which tasks are open, who holds
which lease, that a result counts only for the current lease, that every task ends once.
Where a task runs and whether it is tried again is the scheduler's decision.
"""

from __future__ import annotations

import random
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from concurro.ids import MOST_ENDINGS, Ending, Failure, Outcome, SystemState, make_lease
from concurro.interfaces import ISchedulerHost, implementer
from concurro.records import CopyLease, SlaveRecord, SystemRecord, TaskClass, TaskRecord
from concurro.scheduling.copies import keep_only, keep_other
from concurro.scheduling.depth import measure
from concurro.scheduling.emission import learn_classes, open_tasks
from concurro.scheduling.holders import BlobHolders
from concurro.scheduling.hooks import hook_for_many
from concurro.scheduling.orders import Commands, SlaveOrders, class_entry
from concurro.scheduling.resources import give, take
from concurro.scheduling.retries import failure_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NANOSECOND = 1e-9
_CANCELLED = Failure("TaskCancelled", "the task was cancelled")
_WORKED = -1


@implementer(ISchedulerHost)
class SchedulerCore:
    """Tasks, leases and slaves of a master. Loop thread only.

    Attributes:
        holders: Digest of a blob to ids of the slaves that were sent it.
        touched: Numbers of systems whose leases changed; who looks at them clears it.
    """

    def __init__(self, scheduler: Any, epoch: int = 1, seed: int = 0, *, journalled: bool = False) -> None:
        self.scheduler = scheduler
        self.epoch = epoch
        self._journalled = journalled
        self.slaves: dict[str, SlaveRecord] = {}
        self.systems: dict[int, SystemRecord] = {}
        self.random = random.Random(seed)
        self.touched: set[int] = set()
        self.stale_results = 0
        self._stuck: dict[str, int] = {}  # how many attempts had ended when a slave said so, or `_WORKED`
        self._now = 0.0
        self._latest_lease = make_lease(epoch, 0)
        self._counted: set[int] = set()  # adopted leases whose crashes count already
        self._commands = Commands()
        self._reported: tuple[str, int] | None = None  # what the failed attempt that is decided upon came with
        self._holders = BlobHolders()
        self.holders = self._holders.by_digest
        self._done_hook = hook_for_many(scheduler)
        self._settle_hook = getattr(scheduler, "leases_settled", None)
        self._end_hook = getattr(scheduler, "system_ended", None)
        scheduler.setup(self)

    # What a scheduler asks of its host

    def now(self) -> float:
        """Return the time of the current batch, monotonic [s]."""
        return self._now

    def lease(self, task: TaskRecord, slave_id: str) -> int:
        """Give the slave the right to run the task."""
        self.lease_run([task], slave_id)
        return task.lease

    def lease_run(self, tasks: list[TaskRecord], slave_id: str) -> None:
        """Give the slave the right to run tasks of one class, in this order."""
        system, task_class = tasks[0].system, tasks[0].task_class
        slave, orders = self.slaves[slave_id], self._tell_class(system, task_class, slave_id)
        now, lease, leases, put = self._now, self._latest_lease, slave.leases, orders.leases.append
        number, class_number = system.number, task_class.slave_number
        waits = self._journalled and system.kept
        for task in tasks:
            lease += 1
            task.attempt = attempt = task.attempt + 1
            task.lease = lease
            task.leased_at = now
            task.slave_id = slave_id
            task.outcome = None
            leases[lease] = task
            entry = [lease, number, class_number, task.number, attempt, task.payload, task.blobs]
            if task.blobs:
                self._holders.note(slave, task.blobs)
            if waits and (task.crashes or task_class.max_retries == 0):
                orders.held.append((entry, task.crashes))
            else:
                put(entry)
        self._latest_lease = lease
        system.leased += len(tasks)
        if task_class.requires:
            for _ in tasks:
                take(slave.free, task_class.requires)

    def lease_copy(self, task: TaskRecord, slave_id: str) -> int:
        """Let a leased task run a second time; the first result wins."""
        current = task.lease, task.slave_id, task.attempt, task.leased_at
        self.lease_run([task], slave_id)
        task.system.leased -= 1  # it is one task
        task.copy = CopyLease(task.lease, slave_id, task.attempt, self._now)
        task.lease, task.slave_id, task.attempt, task.leased_at = current
        task.copied = True
        return task.copy.lease

    def _tell_class(self, system: SystemRecord, task_class: TaskClass, slave_id: str) -> SlaveOrders:
        """Let a slave know a class before its tasks; return its orders."""
        self.touched.add(system.number)
        orders = self._orders(slave_id)
        if slave_id not in task_class.told:
            task_class.told.add(slave_id)
            orders.classes.append(class_entry(system, task_class))
            if task_class.code[1]:
                self._holders.note(self.slaves[slave_id], task_class.code[1])
        return orders

    def take_back(self, leases: Iterable[int], slave_id: str = "") -> None:
        """Ask for leases back; what has not started returns through `handle_task`."""
        wanted = set(leases)
        for slave in [self.slaves[slave_id]] if slave_id in self.slaves else self.slaves.values():
            mine = wanted & slave.leases.keys()
            if mine:
                self._orders(slave.id).recalls.extend(sorted(mine))

    def finish(self, task: TaskRecord, error: Failure | None) -> None:
        """End a task for good; one that has ended stays as it is."""
        if task.system.open.get(task.number) is not task:
            return
        self._revoke(task)
        failure = task.failure = Failure(*(error or task.failure or _CANCELLED))
        outcome = task.outcome if task.outcome is not None else Outcome.RAISED
        self._end_task(task, outcome, list(failure), None, 0, self._take_reported())
        self.scheduler.task_finished(task, None, failure)

    def warn(self, system: SystemRecord, text: str) -> None:
        """Tell the applications that follow a system."""
        self._commands.warnings.append((system.number, text))

    # Systems and their tasks

    def start_system(self, system: SystemRecord) -> None:
        """Take a new system."""
        system.state = SystemState.RUNNING
        self.systems[system.number] = system
        self.scheduler.start_system(system)

    def announce_classes(self, system: SystemRecord, entries: Iterable[list[Any]]) -> None:
        """Learn task classes, as an OUT message lists them."""
        learn_classes(system, entries)

    def emit(self, system: SystemRecord, first: int, entries: list[list[Any]], *, queue: bool = True) -> None:
        """Take new tasks, as an OUT message lists them, and queue them.

        All, or none. Those of a replay are not queued: most of them have run already.

        Raises:
            ProtocolError: A task's class was never announced, or its number is that of an open one.
        """
        tasks = open_tasks(system, first, entries)
        if system.chronicle is not None:
            system.chronicle.emitted(first, self._now)
        if tasks and queue:
            self.scheduler.push_tasks(tasks)

    def settle(self, system: SystemRecord, number: int, outcome: int) -> bool:
        """Take a task of a replay out of the open set.

        Return whether it was there.
        """
        task = system.open.get(number)
        if task is not None:
            self._close_task(task, outcome)
        return task is not None

    def adopt(self, task: TaskRecord, slave_id: str, lease: int, attempt: int, *, counted: bool = False) -> None:
        """Let a slave keep an open task that a master before leased to it.

        `counted` says that this attempt crashed, and counts already: it will be told again.
        """
        if counted:
            self._counted.add(lease)
        slave = self.slaves[slave_id]
        task.lease, task.attempt, task.slave_id, task.leased_at = lease, attempt, slave_id, self._now
        task.system.leased += 1
        slave.leases[lease] = task
        task.task_class.told.add(slave_id)
        self.touched.add(task.system.number)
        if task.requires:
            take(slave.free, task.requires)
        self.scheduler.slave_joined(slave)

    def cancel_tasks(self, system: SystemRecord, numbers: Iterable[int]) -> None:
        """Cancel open tasks: queued ones are forgotten, running ones killed."""
        for number in numbers:
            task = system.open.get(number)
            if task is None:
                continue
            self._revoke(task)
            task.outcome = Outcome.CANCELLED
            self.scheduler.cancel(task.id)
            self._end_task(task, Outcome.CANCELLED, list(_CANCELLED), None, 0)

    def end_system(self, system: SystemRecord, state: SystemState) -> None:
        """End a system.

        What is left of it is killed and forgotten, nothing is reported.
        """
        for task in system.open.values():
            self._revoke(task)
            task.outcome = Outcome.CANCELLED
            system.cancelled += 1
        system.open.clear()
        system.open_bytes = 0
        system.unused += system.blob_use.clear()
        system.state = state
        self.systems.pop(system.number, None)
        if self._end_hook is not None:
            self._end_hook(system)
        self._commands.finished.pop(system.number, None)
        for reported in self._commands.leases_of.pop(system.number, ()):
            if reported is not None:
                self._settle_lease(*reported)
        for slave_id in _slaves_told(system):
            orders = self._orders(slave_id)
            # What was not sent yet must not follow FORGET.
            orders.classes = [entry for entry in orders.classes if entry[0] != system.number]
            orders.leases = [entry for entry in orders.leases if entry[1] != system.number]
            orders.held = [held for held in orders.held if held[0][1] != system.number]
            orders.forgets.append(system.number)

    # Slaves

    def slave_joined(self, slave: SlaveRecord) -> None:
        """Take a new slave."""
        self.slaves[slave.id] = slave
        self.scheduler.slave_joined(slave)

    def slave_changed(
        self, slave_id: str, workers: int, sick: str, resources: dict[str, float], *, draining: bool = False
    ) -> None:
        """Note a slave's new size or health."""
        slave = self.slaves.get(slave_id)
        if slave is None:
            return
        slave.workers, slave.sick, slave.draining = workers, sick, slave.draining or draining
        if resources != slave.resources:
            slave.resources = dict(resources)
            slave.free = dict(resources)
            for task in slave.leases.values():
                take(slave.free, task.requires)
        self.scheduler.slave_joined(slave)

    def slave_left(self, slave_id: str, reason: str) -> None:
        """Forget a slave.

        Its tasks are tried elsewhere, uncharged to their crash budget.
        """
        slave = self.slaves.pop(slave_id, None)
        if slave is None:
            return
        self._stuck.pop(slave_id, None)
        for system in self.systems.values():
            for task_class in system.classes.values():
                task_class.told.discard(slave_id)
            system.told.discard(slave_id)
        self._holders.forget(slave_id)
        self._commands.orders.pop(slave_id, None)
        self._commands.settled.pop(slave_id, None)
        self.scheduler.slave_left(slave_id, reason)
        lost = sorted(slave.leases.items(), key=_by_task, reverse=True)
        slave.leases = {}
        for lease, task in lost:
            self.touched.add(task.system.number)
            task.slave_losses += 1
            if task.copy is not None:
                keep_other(task, lease)
                continue
            task.lease = 0
            task.system.leased -= 1
            task.outcome = Outcome.SLAVE_LOST
            task.failure = Failure("WorkerLost", f"slave {slave_id} was lost: {reason}")
            if task.system.chronicle is not None:
                task.system.chronicle.failed(task, Outcome.SLAVE_LOST, task.failure, slave, self._now)
            self.scheduler.handle_task(task)

    def results(self, slave_id: str, entries: list[list[Any]]) -> None:
        """Apply results; only those of current leases count."""
        slave = self.slaves.get(slave_id)
        if slave is None:
            self.stale_results += len(entries)
            return
        done: list[TaskRecord] = []
        try:
            self._apply(slave, entries, done)
        finally:
            self._note_done(slave, done, entries if len(done) == len(entries) else ())

    def _apply(self, slave: SlaveRecord, entries: list[list[Any]], done: list[TaskRecord]) -> None:
        """Apply results; add the tasks that are done to `done`."""
        leases, slave_id, hook = slave.leases, slave.id, self._done_hook
        seconds, failure, system = 0.0, None, None
        finished: list[list[Any]] = []
        reported: list[tuple[str, int] | None] = []
        for lease, outcome, value, blobs, nanoseconds in entries:
            # Whatever may be wrong with the entry shows before the task loses its lease.
            if outcome == 0:
                seconds = nanoseconds * NANOSECOND
            else:
                failure = failure_of(outcome, value)
            task = leases.pop(lease, None)
            if task is None:
                self.stale_results += 1
                self._settle_lease(slave_id, lease)
                continue
            if task.copy is not None and not self._decide_copy(slave, task, lease, outcome):
                continue
            task.lease = 0
            if task.system is not system:
                system = task.system
                finished, reported = self._commands.finals_of(system.number)
            system.leased -= 1
            if outcome == 0:
                task.seconds = seconds
                del system.open[task.number]
                if system.retained is not None:
                    system.retained[task.number] = task, 0
                system.open_bytes -= len(task.payload) if task.blobs is None else system.bytes_without(task)
                finished.append([task.number, 0, value, blobs, task.slave_id, task.attempt, nanoseconds])
                reported.append((slave_id, lease))
                done.append(task)
                if hook is None:
                    self.scheduler.task_finished(task, value, None)
            else:
                slave.finished += 1
                if task.requires:
                    give(slave.free, task.requires)
                task.seconds = nanoseconds * NANOSECOND if isinstance(nanoseconds, int) else 0.0
                self._attempt_failed(task, Outcome(outcome), failure, slave_id, lease)

    def _note_done(self, slave: SlaveRecord, done: list[TaskRecord], results: Sequence[list[Any]]) -> None:
        """Count tasks that are done and learn how long they took, class by class."""
        slave.finished += len(done)
        noted = 0
        for task_class, run in groupby(done, _class_of):
            tasks = list(run)
            system = tasks[0].system
            system.done += len(tasks)
            if task_class.requires:
                for _ in tasks:
                    give(slave.free, task_class.requires)
            seconds = [task.seconds for task in tasks]
            measure(task_class, slave.durations, seconds)
            if system.chronicle is not None:
                system.chronicle.done(tasks, seconds, slave, self._now, results, noted)
            noted += len(tasks)
        if done and self._done_hook is not None:
            self._done_hook(done)

    def returned(self, slave_id: str, leases: Iterable[int]) -> None:
        """Take back leases that had not started; nothing is charged."""
        slave = self.slaves.get(slave_id)
        if slave is None:
            return
        back = [(lease, slave.leases.pop(lease)) for lease in leases if lease in slave.leases]
        back.sort(key=_by_task, reverse=True)
        for lease, task in back:
            self.touched.add(task.system.number)
            if task.requires:
                give(slave.free, task.requires)
            if task.copy is not None:
                keep_other(task, lease)
                task.copied = False
                continue
            task.lease = 0
            task.attempt -= 1
            task.system.leased -= 1
            unwanted, task.outcome = task.outcome is Outcome.CANCELLED, None
            self.scheduler.handle_task(task)
            if unwanted:
                self.cancel_tasks(task.system, [task.number])
        if self._settle_hook is not None:
            self._settle_hook(slave_id, leases)

    def started(self, slave_id: str, leases: Iterable[int]) -> None:
        """Note that leases asked back had started; they stay."""
        if self._settle_hook is not None and slave_id in self.slaves:
            self._settle_hook(slave_id, leases)

    def waits(self, slave_id: str, lease: int, what: str) -> None:
        """Note for what a leased task waits; "" when it goes on."""
        slave = self.slaves.get(slave_id)
        if slave is not None and lease in slave.leases and what:
            slave.waits[lease] = what
        elif slave is not None:
            slave.waits.pop(lease, None)

    def stands_still(self, slave_id: str, *, decided: bool = True) -> bool:
        """Say whether nothing runs that a wait on a slave may be for.

        A slave asks now and then. What ended since it asked last may be about to let somebody go on.

        Args:
            slave_id: Asks.
            decided: Whether no host of a system is at work.
        """
        others = [slave for other, slave in self.slaves.items() if other != slave_id and slave.leases]
        if not decided or any(lease not in slave.waits for slave in others for lease in slave.leases):
            self._stuck[slave_id] = _WORKED
            return False
        ended = sum(slave.finished for slave in self.slaves.values())
        before, self._stuck[slave_id] = self._stuck.get(slave_id), ended
        return before == ended or not (others or before == _WORKED)

    # Time and the way out

    def begin(self, now: float) -> None:
        """Set the time of the batch that follows."""
        self._now = now

    def tick(self, now: float) -> None:
        """Let the scheduler decide."""
        self._now = now
        self.scheduler.tick(now)

    @property
    def wake_at(self) -> float | None:
        """When `tick` is needed although nothing happened, monotonic [s]."""
        return getattr(self.scheduler, "wake_at", None)

    @property
    def pending(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._commands)

    def take_commands(self) -> Commands:
        """Return what follows from everything since the last call."""
        taken, self._commands = self._commands, Commands()
        return taken

    def _orders(self, slave_id: str) -> SlaveOrders:
        orders = self._commands.orders.get(slave_id)
        if orders is None:
            orders = self._commands.orders[slave_id] = SlaveOrders()
        return orders

    def _attempt_failed(
        self, task: TaskRecord, outcome: Outcome, failure: Failure | None, slave_id: str, lease: int
    ) -> None:
        """Let the scheduler decide what follows.

        The slave keeps the result until nothing of it can be forgotten here.
        """
        if task.system.chronicle is not None:
            task.system.chronicle.failed(task, outcome, failure, self.slaves[slave_id], self._now)
        if outcome is Outcome.LOST:
            task.crashes += lease not in self._counted
            self._counted.discard(lease)
        elif outcome is Outcome.SLAVE_LOST:
            task.slave_losses += 1
        task.outcome = outcome
        task.failure = failure
        self.touched.add(task.system.number)
        self._reported = slave_id, lease
        self.scheduler.handle_task(task)
        if self._take_reported() is None:
            return  # it is final: acknowledged with the input that tells of it
        if outcome is Outcome.LOST and self._journalled and task.system.kept:
            self._commands.crashed.append((task.system.number, task.number, task.crashes, slave_id, lease))
        else:
            self._settle_lease(slave_id, lease)

    def _take_reported(self) -> tuple[str, int] | None:
        reported, self._reported = self._reported, None
        return reported

    def _settle_lease(self, slave_id: str, lease: int) -> None:
        self._commands.settled.setdefault(slave_id, []).append(lease)

    def _end_task(  # noqa: PLR0913 - the fields of a result
        self,
        task: TaskRecord,
        outcome: int,
        value: Any,
        blobs: list[Any] | None,
        nanoseconds: int,
        reported: tuple[str, int] | None = None,
    ) -> None:
        """Take a task out of the open set and report it, in one step.

        `reported` is the (slave id, lease) of the result that ends it.
        """
        system = task.system
        self._close_task(task, outcome)
        finished, leases = self._commands.finals_of(system.number)
        leases.append(reported)
        finished.append([task.number, int(outcome), value, blobs, task.slave_id, task.attempt, nanoseconds])

    @staticmethod
    def _close_task(task: TaskRecord, outcome: int) -> None:
        system = task.system
        del system.open[task.number]
        if system.retained is not None:
            system.retained[task.number] = task, outcome
        system.open_bytes -= system.bytes_without(task)
        if outcome == 0:  # not by its name: this runs for every task
            system.done += 1
            return
        reason = ""
        if outcome == Outcome.CANCELLED:
            system.cancelled += 1
        else:
            system.failed += 1
            reason = "" if task.failure is None else task.failure.brief
        if len(system.endings) < MOST_ENDINGS:
            system.endings[task.number] = Ending(Outcome(outcome), reason, task.slave_id, task.attempt)

    def _decide_copy(self, slave: SlaveRecord, task: TaskRecord, lease: int, outcome: int) -> bool:
        """Let one of two attempts decide.

        Return False when it was lost, so that the other goes on.
        """
        if outcome not in (Outcome.LOST, Outcome.SLAVE_LOST):
            other = keep_only(task, lease)
            self._kill(task, *other)
            return True
        keep_other(task, lease)
        if outcome == Outcome.LOST:
            task.crashes += 1
        else:
            task.slave_losses += 1
        slave.finished += 1
        if task.requires:
            give(slave.free, task.requires)
        self.touched.add(task.system.number)
        if outcome == Outcome.LOST and self._journalled and task.system.kept:
            self._commands.crashed.append((task.system.number, task.number, task.crashes, slave.id, lease))
        else:
            self._settle_lease(slave.id, lease)
        self.scheduler.slave_joined(slave)
        return False

    def _revoke(self, task: TaskRecord) -> None:
        """Take the leases of a task that nobody wants any more."""
        if not task.lease:
            return
        if task.copy is not None:
            self._kill(task, *keep_only(task, task.lease))
        self._kill(task, task.slave_id or "", task.lease)
        task.lease = 0
        task.system.leased -= 1

    def _kill(self, task: TaskRecord, slave_id: str, lease: int) -> None:
        slave = self.slaves.get(slave_id)
        if slave is not None and slave.leases.pop(lease, None) is not None:
            self._orders(slave.id).kills.append(lease)
            if task.requires:
                give(slave.free, task.requires)
            self.scheduler.slave_joined(slave)


def _by_task(held: tuple[int, TaskRecord]) -> tuple[int, int]:
    return held[1].number, held[0]


def _slaves_told(system: SystemRecord) -> list[str]:
    """Return who was sent classes of a system; none from now on."""
    told = set(system.told)
    for task_class in system.classes.values():
        told |= task_class.told
        task_class.told.clear()
    return sorted(told)


_class_of = attrgetter("task_class")
