"""How a strategy must behave, whatever it prefers."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from concurro.ids import Outcome
from concurro.kernel.contracts import place_of
from concurro.testing.stand_ins import SchedulerHostStandIn, SchedulerStandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro.records import SlaveRecord, TaskRecord

_WORKERS = {"north": 1, "south": 2, "east": 4}
_ROUNDS = 50


class _Lazy(Collection[str]):
    """Ids of a table that pass a test, looked for when asked for."""

    def __init__(self, slaves: dict[str, SlaveRecord], least_workers: int) -> None:
        self._slaves = slaves
        self._least = least_workers

    def __contains__(self, slave_id: object) -> bool:
        slave = self._slaves.get(str(slave_id))
        return slave is not None and slave.workers >= self._least

    def __iter__(self) -> Iterator[str]:
        return (slave_id for slave_id, slave in self._slaves.items() if slave.workers >= self._least)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def strategy_faults(strategy: Any) -> list[str]:
    """Return what is wrong with a strategy's answers among three slaves."""
    return _Trial(strategy).run()


class _Trial:
    """One strategy among slaves that come, take tasks and go."""

    def __init__(self, strategy: Any) -> None:
        self.strategy = strategy
        self.host = SchedulerHostStandIn()
        self.faults: dict[str, None] = {}  # the same fault in every round is told once

    def run(self) -> list[str]:
        self.strategy.setup(SchedulerStandIn(), self.host)
        if self.strategy.get_next_slave() is not None:
            self._fault("get_next_slave", "chooses a slave when there is none")
        for slave_id, workers in _WORKERS.items():
            self._rate(self.host.add_slave(slave_id, workers))
        self._choose_from_idle()
        self._choose_under_load()
        self._choose_without_one_that_left()
        self._choose_one_that_came_back()
        return list(self.faults)

    def _choose_from_idle(self) -> None:
        plain, large = self.host.add_tasks(self.host.add_system(), 2)
        large.blobs = [["buffer", b"digest", 2**30]]
        for task in (None, plain, large):
            if self._next(None, task) is None:
                self._fault("get_next_slave", "chooses none of three idle slaves")
        eligible: Collection[str]
        lazy = _Lazy(self.host.slaves, least_workers=2)
        for eligible in (["south"], ("south", "east"), frozenset({"north"}), dict.fromkeys(["east"]), lazy):
            for task in (None, plain, large):
                if self._next(eligible, task) is None:
                    self._fault("get_next_slave", "chooses none of the idle slaves that it may choose")
        if self.strategy.get_next_slave(slaves=[]) is not None:
            self._fault("get_next_slave", "chooses a slave when it may choose none")

    def _choose_under_load(self) -> None:
        """Load the slaves; None means `rather wait` then, and is no fault."""
        tasks = self.host.add_tasks(self.host.systems[1], _ROUNDS)
        leased: list[TaskRecord] = []
        for task in tasks:
            slave_id = self._next(None, task)
            if slave_id in self.host.slaves:
                self.host.lease(task, slave_id)
                leased.append(task)
                self._rate(self.host.slaves[slave_id])
            self.host.time += 1.0
        for task in leased:
            slave = self.host.slaves[str(task.slave_id)]
            self.host.end_lease(task, Outcome.DONE)
            slave.finished += 1
            slave.durations[task.task_class.name] = 1.0
        for slave in self.host.slaves.values():
            self._rate(slave)
        if self._next(None, tasks[0]) is None:
            self._fault("get_next_slave", "chooses none of three slaves that are idle again")

    def _choose_without_one_that_left(self) -> None:
        del self.host.slaves["south"]
        for _ in range(3):
            self._next(None)
        self._next(["north", "south"])

    def _choose_one_that_came_back(self) -> None:
        self._rate(self.host.add_slave("south", _WORKERS["south"]))
        if self._next(["south"]) is None:
            self._fault("get_next_slave", "never chooses a slave that left and came back")

    def _rate(self, slave: SlaveRecord) -> None:
        rating = self.strategy.rate(slave)
        is_number = isinstance(rating, int | float) and not isinstance(rating, bool)
        if is_number and math.isfinite(rating):
            slave.rating = rating
        else:
            self._fault("rate", f"returns {rating!r}, which is not a finite number")

    def _next(self, eligible: Collection[str] | None, task: TaskRecord | None = None) -> str | None:
        return self._check(self.strategy.get_next_slave(task, eligible), eligible)

    def _check(self, answer: Any, eligible: Collection[str] | None) -> str | None:
        if answer is None:
            return None
        if not isinstance(answer, str):
            self._fault("get_next_slave", f"returns a {type(answer).__name__}, which is not a slave's id")
            return None
        if eligible is not None and answer not in eligible:
            self._fault("get_next_slave", "chooses a slave that it may not choose (`slaves`)")
        elif answer not in self.host.slaves:
            self._fault("get_next_slave", "chooses a slave that is not there, or has left")
        return answer

    def _fault(self, method: str, what: str) -> None:
        place = place_of(getattr(type(self.strategy), method))
        self.faults[f"{place}: {type(self.strategy).__name__}.{method} {what}"] = None
