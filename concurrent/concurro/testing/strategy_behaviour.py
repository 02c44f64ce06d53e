"""How a strategy must behave, whatever it prefers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from concurro.kernel.contracts import place_of
from concurro.testing.stand_ins import SchedulerHostStandIn, SchedulerStandIn

if TYPE_CHECKING:
    from collections.abc import Collection

    from concurro.ids import SlaveRecord

_WORKERS = {"north": 1, "south": 2, "east": 4}
_ROUNDS = 50


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
        return list(self.faults)

    def _choose_from_idle(self) -> None:
        task = self.host.add_tasks(self.host.add_system(), 1)[0]
        if self._next(None) is None:
            self._fault("get_next_slave", "chooses none of three idle slaves")
        self._check(self.strategy.get_next_slave(task=task, slaves=None), None)
        eligible: Collection[str]
        for eligible in (["south"], ("south", "east"), frozenset({"north"}), dict.fromkeys(["east"])):
            if self._next(eligible) is None:
                self._fault("get_next_slave", "chooses none of the idle slaves that it may choose")
        if self.strategy.get_next_slave(slaves=[]) is not None:
            self._fault("get_next_slave", "chooses a slave when it may choose none")

    def _choose_under_load(self) -> None:
        tasks = self.host.add_tasks(self.host.systems[1], _ROUNDS)
        for task in tasks:
            slave_id = self._next(None)
            if slave_id not in self.host.slaves:
                return
            self.host.lease(task, slave_id)
            self._rate(self.host.slaves[slave_id])
        for task in tasks:
            self.host.end_lease(task, None)
        for slave in self.host.slaves.values():
            self._rate(slave)
        self._next(None)

    def _choose_without_one_that_left(self) -> None:
        del self.host.slaves["south"]
        for _ in range(3):
            self._next(None)

    def _rate(self, slave: SlaveRecord) -> None:
        rating = self.strategy.rate(slave)
        is_number = isinstance(rating, int | float) and not isinstance(rating, bool)
        if is_number and math.isfinite(rating):
            slave.rating = rating
        else:
            self._fault("rate", f"returns {rating!r}, which is not a finite number")

    def _next(self, eligible: Collection[str] | None) -> str | None:
        return self._check(self.strategy.get_next_slave(None, eligible), eligible)

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
