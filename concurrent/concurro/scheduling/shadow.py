"""A strategy in shadow mode: asked beside the real one, never obeyed.

    scheduler ---> Shadowed --> real strategy ---> leased
                         `----> Shadow ----------> compared: whose choice was expected
                                                   to be done first?

A shadow sees the same slaves, changes and choices as the real strategy, through a host
that grants nothing and has a random generator of its own. Whatever it raises ends the
shadow, and nothing else.
"""

from __future__ import annotations

import random
import traceback
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from concurro.errors import ComponentError
from concurro.interfaces import ISchedulerHost, implementer
from concurro.scheduling.expectation import ASSUMED_RATE, bytes_to_move, expected_duration, expected_wait, parts_of

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection, Iterator

    from concurro.records import SlaveRecord, SystemRecord, TaskRecord


class Shadowed:
    """The real strategy as its scheduler asks it, with a shadow beside it."""

    def __init__(self, real: Any, shadow: Shadow) -> None:
        self._real = real
        self._shadow = shadow

    def __getattr__(self, name: str) -> Any:
        """Return what else the real strategy has."""
        return getattr(self._real, name)

    def rate(self, slave: SlaveRecord) -> float:
        """Let both rate; return the real rating."""
        rating: float = self._real.rate(slave)
        self._shadow.rate(slave)
        return rating

    def get_next_slave(self, task: TaskRecord | None = None, slaves: Collection[str] | None = None) -> str | None:
        """Ask both; return the real choice."""
        choice: str | None = self._real.get_next_slave(task, slaves)
        if task is not None:
            self._shadow.decide(task, slaves, choice)
        return choice


class Shadow:
    """One strategy in the shadow of the real one, and how it compares.

    Attributes:
        name: The shadow's name.
        failure: Why it was switched off; empty while it works.
        decisions: How often both were asked.
        different: How often they did not answer the same.
        waits: How often the shadow would rather have waited.
        real_waits: How often the real strategy waited.
        expected: Sum of expected completions at the real choices, where both chose [s].
        regret: Sum of what the shadow's choices were expected to be done sooner [s];
            negative when they were expected to be done later.
    """

    def __init__(self, name: str, strategy: Any, host: Any, log: logging.Logger) -> None:
        """Set the strategy up."""
        self.name = name
        self.failure = ""
        self.decisions = 0
        self.different = 0
        self.waits = 0
        self.real_waits = 0
        self.expected = 0.0
        self.regret = 0.0
        self._strategy = strategy
        self._host = host
        self._log = log
        try:
            strategy.setup(_Bystander(), ShadowHost(host))
        except Exception as error:  # noqa: BLE001 - whatever a shadow raises ends the shadow alone
            self._switch_off("setup", error)

    def rate(self, slave: SlaveRecord) -> None:
        """Let the shadow rate a slave whose state changed."""
        if not self.failure:
            try:
                self._strategy.rate(slave)
            except Exception as error:  # noqa: BLE001 - whatever a shadow raises ends the shadow alone
                self._switch_off("rate", error)

    def decide(self, task: TaskRecord, slaves: Collection[str] | None, real: str | None) -> None:
        """Ask the shadow what was just decided; call it before the task is leased.

        Args:
            task: Which is to be placed.
            slaves: Ids that could be chosen; None for all.
            real: What the real strategy chose; None when it would rather wait.
        """
        if not self.failure and (real is None or real in self._host.slaves):
            try:
                choice = self._strategy.get_next_slave(task, None if slaves is None else _ReadOnly(slaves))
                allowed = self._host.slaves if slaves is None else slaves
                if choice is not None and choice not in allowed:
                    _complain(f"it chose {choice!r}, which is not among the slaves that it may choose")
                self._compare(task, real, choice)
            except Exception as error:  # noqa: BLE001 - whatever a shadow raises ends the shadow alone
                self._switch_off("get_next_slave", error)

    def report(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return {
            "strategy": self.name,
            "failure": self.failure,
            "decisions": self.decisions,
            "different": self.different,
            "waits": self.waits,
            "real_waits": self.real_waits,
            "expected": self.expected,
            "regret": self.regret,
        }

    def _compare(self, task: TaskRecord, real: str | None, choice: str | None) -> None:
        self.decisions += 1
        self.different += choice != real
        self.waits += choice is None
        self.real_waits += real is None
        if real is None or choice is None:
            return
        slaves = self._host.slaves
        completion = expected_completion(slaves[real], task)
        self.expected += completion
        if choice != real:
            self.regret += completion - expected_completion(slaves[choice], task)

    def _switch_off(self, method: str, error: Exception) -> None:
        reason = traceback.format_exception_only(error)[-1].strip()
        self.failure = f"{type(self._strategy).__name__}.{method} raised {reason}"
        self._log.warning("strategy %r is no shadow any more: %s", self.name, self.failure, exc_info=error)


def expected_completion(slave: SlaveRecord, task: TaskRecord) -> float:
    """Return when a task is expected to be done at a slave, from now [s].

    The wait for a worker, the bytes to move, its own duration; a class of tasks that was
    never measured counts none.
    """
    moving = bytes_to_move(slave, parts_of(task)) / ASSUMED_RATE
    return expected_wait(slave) + moving + (expected_duration(slave, task.task_class) or 0.0)


@implementer(ISchedulerHost)
class ShadowHost:
    """The master as a shadow sees it: to look at, not to use."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self.slaves = MappingProxyType(host.slaves)
        self.systems = MappingProxyType(host.systems)
        self.holders = MappingProxyType(getattr(host, "holders", {}))
        self.random = random.Random(0)

    def lease(self, task: TaskRecord, slave_id: str) -> int:  # noqa: ARG002 - the interface's signature
        """Refuse."""
        _refuse("lease")

    def lease_run(self, tasks: list[TaskRecord], slave_id: str) -> None:  # noqa: ARG002 - the interface's signature
        """Refuse."""
        _refuse("lease_run")

    def lease_copy(self, task: TaskRecord, slave_id: str) -> int:  # noqa: ARG002 - the interface's signature
        """Refuse."""
        _refuse("lease_copy")

    def take_back(self, leases: Any, slave_id: str = "") -> None:  # noqa: ARG002 - the interface's signature
        """Refuse."""
        _refuse("take_back")

    def finish(self, task: TaskRecord, error: Any) -> None:  # noqa: ARG002 - the interface's signature
        """Refuse."""
        _refuse("finish")

    def warn(self, system: SystemRecord, text: str) -> None:  # noqa: ARG002 - the interface's signature
        """Refuse."""
        _refuse("warn")

    def now(self) -> float:
        """Return the time of the current batch, monotonic [s]."""
        now: float = self._host.now()
        return now


class _Bystander:
    """The scheduler as a shadow sees it: any call is refused."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_arguments, **_keywords: _refuse(name)


class _ReadOnly:
    """A collection to look at."""

    __slots__ = ("_ids",)

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids

    def __contains__(self, slave_id: object) -> bool:
        return slave_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def _refuse(call: str) -> NoReturn:
    _complain(f"a strategy in shadow mode called {call}, which would have an effect")


def _complain(message: str) -> NoReturn:
    raise ComponentError(message)
