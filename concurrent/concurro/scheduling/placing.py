"""Placing: the next queued task meets the slave that the strategy chooses.

    FairQueue.pick --> requires nothing --> a free worker, else room to be sent ahead
                       requires much    --> a slave where it fits, else Parking
                   --> strategy.get_next_slave(task, candidates) --> host.lease, a burst

Once a task waits for a worker, nothing after it is sent ahead: a slave that always has
short tasks in stock would never have a worker free for a long one. For the same reason
nothing is sent ahead to a slave on which a parked task waits for a worker only. While no
worker is free, and nothing could be sent ahead, what requires something stays in the queue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from concurro.ids import Outcome
from concurro.scheduling.depth import burst_size, lease_depth
from concurro.scheduling.parking import Parking
from concurro.scheduling.queue import FairQueue, Standing
from concurro.scheduling.resources import covers, times
from concurro.scheduling.room import Room
from concurro.scheduling.strategy_faults import (
    checked_rating,
    describe_strategy,
    describe_wrong_choice,
    strategy_raised,
)
from concurro.scheduling.unfit import UnfitWatch

if TYPE_CHECKING:
    from logging import Logger

    from concurro.records import SlaveRecord, SystemRecord, TaskClass, TaskRecord
    from concurro.scheduling.queue import ClassQueue

OTHER_TASKS = 8
"""Tasks of a class that a strategy is asked about when it lets the first wait."""


class Placing:
    """Leases queued tasks. Loop thread only.

    Args:
        host: The `ISchedulerHost`.
        strategy: Chooses among the slaves that may have a task.
        log: Where a strategy's wrong choices are reported.
        who: The strategy's name and class; None: its own.
    """

    def __init__(self, host: Any, strategy: Any, log: Logger, who: str | None = None) -> None:
        self._host = host
        self._strategy = strategy
        self._who = who or describe_strategy(strategy)
        self._told: set[int] = set()  # systems that were told of a wrong choice
        self._log = log
        self.queue = FairQueue()
        self.room = Room()
        self.parking = Parking(self.queue)
        self.unfit: dict[ClassQueue, None] = {}
        self.watch = UnfitWatch(host)
        self._declined: list[ClassQueue] = []
        self._offers_changed = False

    # What changed

    def rate(self, slave: SlaveRecord) -> None:
        """Rate one slave and note how much room it has."""
        try:
            rating = self._strategy.rate(slave)
        except Exception as error:
            raise strategy_raised(self._who, "rate", error) from error
        slave.rating = rating if type(rating) is float else checked_rating(self._who, slave, rating)
        self.room.update(slave)

    def connect(self, slave: SlaveRecord) -> None:
        """Look at what a slave offers; with another offer, something else may fit."""
        if self.room.connect(slave):
            self._retry_unfit()
            self._recheck()

    def disconnect(self, slave_id: str) -> None:
        """Forget a slave."""
        if self.room.disconnect(slave_id):
            self._recheck()
        kept = self.parking.reserved.get(slave_id)
        if kept is not None:
            self.parking.release(kept)

    def drop_system(self, record: SystemRecord) -> None:
        """Forget the queues of a system that ended."""
        self._told.discard(record.number)
        system = self.queue.systems.get(record.number)
        if system is None:
            return
        for queue in system.by_class.values():
            self._release(queue)
            if queue.standing is Standing.PARKED:
                self.parking.drop(queue)
            elif queue.standing is Standing.UNFIT:
                del self.unfit[queue]
            queue.tasks.clear()  # an entry that is out of date may hold the queue for long
        self.queue.drop_system(record.number)

    def drop_cancelled(self) -> None:
        """Forget what waits aside and was cancelled: nobody picks it."""
        for queue in [queue for queue in self.unfit if queue.head() is None]:
            del self.unfit[queue]
            queue.owner.drained(queue)
        for queue in self.parking.parked():
            if queue.head() is None:
                self.parking.drop(queue)
                queue.owner.drained(queue)
        for queue in [queue for queue in self.parking.reserved.values() if queue.head() is None]:
            self._release(queue)

    # Placing

    def place(self, changed: Collection[SlaveRecord]) -> None:
        """Lease queued tasks until none is left or nobody can take the next.

        Args:
            changed: Slaves that may have room where they had none.
        """
        self._take_changes(changed)
        pick, room, idle = self.queue.pick, self.room, self.room.idle
        send_ahead = True
        while idle or send_ahead:
            queue = pick()
            if queue is None:
                break
            if queue.need:
                if not idle and not self.queue.plain:
                    break  # what requires something is never sent ahead
                self._place_needy(queue)
            elif idle:
                chosen = self._choose(queue, None if len(idle) == len(self._host.slaves) else idle)
                if chosen is not None:
                    self._lease_burst(queue, chosen)
            else:
                send_ahead = self._send_ahead(queue, room)

    def _take_changes(self, changed: Collection[SlaveRecord]) -> None:
        """Make ready what may have a place now; set aside what has none."""
        self._retry_declined()
        if self.queue.filled or self._offers_changed:
            self._find_unfit()
        if self.parking.size:
            for slave in changed:
                self._wake(slave)

    def _send_ahead(self, queue: ClassQueue, room: Room) -> bool:
        """Lease tasks to a slave without a free worker.

        Return whether any slave may get more of them.
        """
        level = _ahead_level(queue.task_class)
        if not level or room.lowest() > level:
            return False
        chosen = self._choose(queue, room.up_to(level))
        if chosen is None:
            return True
        if self.parking.size and self._is_held_back(chosen):
            room.update(chosen, held_back=True)
        else:
            self._lease_burst(queue, chosen)
        return True

    def _place_needy(self, queue: ClassQueue) -> None:
        """Place the head of a queue that requires something, or park the queue."""
        witness, queue.witness = queue.witness, None
        now = self._host.now()
        while True:
            fitting = witness if witness is not None and self._fits(witness, queue) else self._find(queue)
            if fitting is None:
                self._park(queue, now)
                break
            slave = self._choose(queue, Fitting(self, queue))
            if slave is None:
                break
            if self.parking.reserve_before(queue, slave, now):
                continue
            self._release(queue)
            self._lease_burst(queue, slave)
            if self.room.idle and queue.standing is Standing.READY and self._find(queue) is None:
                self._park(queue, now)
            if slave is not witness and self.parking.size:
                self._wake(slave)
            break
        if witness is not None and self.parking.size:
            self._wake(witness)

    def _fits(self, slave: SlaveRecord, queue: ClassQueue) -> bool:
        """Say whether a slave has a free worker and all that a queue needs."""
        return (
            slave.id in self.room.idle
            and covers(slave.free, queue.need)
            and (not self.parking.reserved or self.parking.may_use(slave, queue))
        )

    def fits(self, slave_id: object, queue: ClassQueue) -> bool:
        """Say whether the head of a queue can be leased to a slave now."""
        slave = self.room.idle.get(slave_id)  # type: ignore[call-overload]
        return slave is not None and self._fits(slave, queue)

    def fitting(self, queue: ClassQueue) -> Iterator[str]:
        """Return the slaves that could have the head of a queue now."""
        for offer in self.room.covering(queue):
            for slave in offer.idle.values():
                if self._fits(slave, queue):
                    yield slave.id

    def _find(self, queue: ClassQueue) -> SlaveRecord | None:
        """Return some slave on which a queue fits.

        What waits with the same need fits nowhere, so neither does this.
        """
        if self.parking.waits(queue.signature) and not queue.reserved_on:
            return None
        if self.room.idle:
            for slave_id in self.fitting(queue):
                slave: SlaveRecord = self._host.slaves[slave_id]
                return slave
        return None

    def _park(self, queue: ClassQueue, now: float) -> None:
        if self.room.covering(queue):
            self.parking.park(queue, now)
        else:
            self._set_unfit(queue)

    def _wake(self, slave: SlaveRecord) -> None:
        """Let the parked queue be picked that is next on a slave."""
        while slave.id in self.room.idle and slave.resources:
            queue = self.parking.best_for(slave)
            if queue is None:
                break
            if self.parking.unpark(queue):
                queue.witness = slave
                break

    def _is_held_back(self, slave: SlaveRecord) -> bool:
        """Say whether a parked task waits for nothing but a worker of this slave."""
        return bool(slave.resources and len(slave.leases) >= slave.workers and self.parking.best_for(slave) is not None)

    def _find_unfit(self) -> None:
        """Set aside what no slave offers, of what got tasks, busy or not."""
        filled, self.queue.filled = self.queue.filled, []
        if self._offers_changed:
            self._offers_changed = False
            filled = [queue for system in self.queue.systems.values() for queue in system.by_class.values()]
        for queue in filled:
            if queue.need and queue.standing is Standing.READY and not self.room.covering(queue):
                self._set_unfit(queue)

    def _retry_unfit(self) -> None:
        for queue in list(self.unfit):
            if self.room.covering(queue):
                del self.unfit[queue]
                queue.waits_since = None
                self.queue.make_ready(queue)

    def _recheck(self) -> None:
        """Set aside as unfit what no slave offers any more."""
        for queue in self.parking.parked():
            if not self.room.covering(queue):
                self.parking.drop(queue)
                self._set_unfit(queue)
        self._offers_changed = True

    def _set_unfit(self, queue: ClassQueue) -> None:
        self.queue.set_aside(queue, Standing.UNFIT)
        self._release(queue)
        queue.waits_since = self._host.now()
        self.unfit[queue] = None
        self.watch.note(queue)

    def _retry_declined(self) -> None:
        if self._declined:
            declined, self._declined = self._declined, []
            for queue in declined:
                if queue.standing is Standing.DECLINED:
                    self.queue.make_ready(queue)

    def _release(self, queue: ClassQueue) -> None:
        """Let others have what was reserved for a queue."""
        if queue.reserved_on:
            slave = self._host.slaves.get(self.parking.release(queue))
            if slave is not None:
                self._wake(slave)

    # The strategy

    def _choose(self, queue: ClassQueue, slaves: Collection[str] | None) -> SlaveRecord | None:
        """Return the slave that the strategy chooses for the head of a queue.

        When it lets the head wait, it may still want one of the next few. None: the queue is
        set aside until the next turn.
        """
        slave = self.ask(queue.tasks[0], slaves)
        if slave is None and queue.tasks[0].blobs:
            for index, task in enumerate(islice(queue.tasks, 1, OTHER_TASKS + 1), start=1):
                if task.outcome is Outcome.CANCELLED:
                    continue
                slave = self.ask(task, slaves)
                if slave is not None:
                    del queue.tasks[index]
                    queue.tasks.appendleft(task)
                    break
        if slave is None:
            self.queue.set_aside(queue, Standing.DECLINED)
            self._declined.append(queue)
        return slave

    def ask(self, task: TaskRecord, slaves: Collection[str] | None) -> SlaveRecord | None:
        """Return the slave that the strategy chooses for a task, if it does.

        Raises:
            StrategyError: It raised.
        """
        try:
            chosen = self._strategy.get_next_slave(task, slaves)
        except Exception as error:
            raise strategy_raised(self._who, "get_next_slave", error) from error
        if chosen is None:
            return None
        slave: SlaveRecord | None = self._host.slaves.get(chosen) if isinstance(chosen, str) else None
        if slave is None or (slaves is not None and chosen not in slaves):
            return self._instead(task, chosen, slaves)
        return slave

    def _instead(self, task: TaskRecord, chosen: Any, slaves: Collection[str] | None) -> SlaveRecord | None:
        """Return another slave than the wrong one that was chosen, and tell of it."""
        known: dict[str, SlaveRecord] = self._host.slaves
        taken = next(iter(known if slaves is None else slaves), None)
        if taken is None:
            return None
        if task.system.number not in self._told:
            self._told.add(task.system.number)
            text = describe_wrong_choice(self._who, task, chosen, taken)
            self._log.warning(text)
            self._host.warn(task.system, text)
        return known[taken]

    # Leases

    def _lease_burst(self, queue: ClassQueue, slave: SlaveRecord) -> None:
        """Lease as many tasks of one class as one decision may."""
        task_class = queue.task_class
        held = len(slave.leases)
        burst = burst_size(task_class.duration, slave.workers)
        if queue.need:
            count = min(slave.workers - held, burst)
        elif held < slave.workers:
            count = min(burst, max(slave.workers - held, min(burst, 8)))
        else:
            count = min(burst, lease_depth(slave.workers, task_class.duration) - held)
        cost = self.queue.expected_cost(task_class)
        run = _take(queue, count, slave.free)
        if run:
            self._host.lease_run(run, slave.id)
            for task in run:
                task.charged = cost
            self.queue.serve(queue.owner, len(run) * cost)
        queue.waits_since = queue.overtaken_at = None
        if not queue.tasks:
            queue.owner.drained(queue)
        self.rate(slave)


class Fitting(Collection[str]):
    """Ids of slaves on which the head of a queue fits: looked up, not listed."""

    __slots__ = ("_placing", "_queue")

    def __init__(self, placing: Placing, queue: ClassQueue) -> None:
        self._placing = placing
        self._queue = queue

    def __contains__(self, slave_id: object) -> bool:
        return self._placing.fits(slave_id, self._queue)

    def __iter__(self) -> Iterator[str]:
        return self._placing.fitting(self._queue)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _ahead_level(task_class: TaskClass) -> int:
    """Return up to which level slaves get this class ahead; 0 for never."""
    duration = task_class.duration
    return 0 if duration is None else lease_depth(1, duration) - 1


def _take(queue: ClassQueue, count: int, free: dict[str, float]) -> list[TaskRecord]:
    """Take the first tasks that are still wanted.

    As many of `count` as what is free allows, but one if there is any.
    """
    if queue.need:
        count = max(1, min(count, times(free, queue.need)))
    tasks, cancelled = queue.tasks, Outcome.CANCELLED
    run: list[TaskRecord] = []
    while tasks and len(run) < count:
        task = tasks.popleft()
        if task.outcome is not cancelled:
            run.append(task)
    return run
