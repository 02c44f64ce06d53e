"""W10: how many decisions per second the scheduler core makes, alone.

    emit ---> SchedulerCore ---> leases ---> slaves that end what they hold, in order
                    ^                                  |
                    +------ results, a turn's worth ---+

No process, no message: slaves are queues of leases, and only what the core does is
timed (`emit`, `results`, `tick`, `take_commands`). A turn is that of a loaded master: it
takes all that arrived, decides once, and hands out what follows. A decision
is a task that was queued, placed, leased, and whose result was applied.

Timed is processor time: the core never waits, so on a quiet machine it is real time, and on
a busy one the other programs do not count.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from concurro.ids import SystemState
from concurro.interfaces import ITaskScheduler
from concurro.kernel import Environment
from concurro.nodes.master import collect_less_often
from concurro.records import SlaveRecord, SystemRecord
from concurro.scheduling.core import SchedulerCore

if TYPE_CHECKING:
    from benchmarks.workload import Setting
    from concurro.scheduling.orders import Commands

WORKERS = 8
"""Workers of each slave."""

CREDIT = 200_000
"""Open tasks, as many as a master grants."""

MESSAGES = 64
"""Messages of slaves that a turn takes; with more slaves, one of each, since a turn drains every link."""

RESULTS = 16
"""Most results of one message."""

RESULT_SECONDS = 5e-6
"""What a result takes of the cluster's time [s]: a turn of 64 messages 5 ms."""

SHORT = 0.001
LONG = 1.0
"""Durations of tasks [s]: sent ahead by the dozen, and not at all."""

BY_SLAVES = 1_000_000
BY_VARIETY = 200_000
KINDS = 1_000


@dataclass
class Clock:
    """What the core has used, by what it did [s]."""

    emit: float = 0.0
    results: float = 0.0
    tick: float = 0.0

    @property
    def total(self) -> float:
        """All of it [s]."""
        return self.emit + self.results + self.tick


@dataclass
class Case:
    """What is decided about.

    Attributes:
        slaves: How many.
        tasks: How many.
        duration: What each takes [s].
        systems: They come from so many systems, in turn.
        classes: Keyword arguments of each class of a system: `priority`, `requires`.
        resources: What each slave offers.
    """

    slaves: int
    tasks: int
    duration: float = SHORT
    systems: int = 1
    classes: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    resources: dict[str, float] = field(default_factory=dict)


class Bench:
    """A core, slaves that are queues, and the clock of what the core uses."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.clock = Clock()
        scheduler = Environment({}, kind="master").selected(ITaskScheduler, "master.scheduler")
        self.core = SchedulerCore(scheduler)
        self.now = 100.0
        self.held: dict[str, deque[int]] = {f"slave-{number}": deque() for number in range(case.slaves)}
        self._busy: deque[str] = deque()
        self._emitted = 0
        self._ended = 0
        self._nanoseconds = int(case.duration * 1e9)
        self.systems = [self._start_system(number) for number in range(1, case.systems + 1)]
        self.core.begin(self.now)
        for name in self.held:
            self.core.slave_joined(SlaveRecord(name, f"{name}.example", WORKERS, dict(case.resources)))

    def run(self) -> None:
        """Decide about every task."""
        while self._ended < self.case.tasks:
            self._emit()
            self._decide()
            self.now += self._take_results() * RESULT_SECONDS
        for system in self.systems:
            self.core.end_system(system, SystemState.COMPLETE)

    def _start_system(self, number: int) -> SystemRecord:
        system = SystemRecord(number, f"system-{number}", "Job")
        self.core.start_system(system)
        entries = [
            [place, "Class", kind.get("priority", 0), None, None, kind.get("requires"), b"code", None]
            for place, kind in enumerate(self.case.classes)
        ]
        self.core.announce_classes(system, entries)
        return system

    def _emit(self) -> None:
        """Emit up to the credit, in turn for each system and class."""
        room = min(self.case.tasks - self._emitted, CREDIT - (self._emitted - self._ended))
        systems, classes = self.systems, len(self.case.classes)
        share = -(-room // len(systems))
        for place, system in enumerate(systems):
            count = min(share, room)
            room -= count
            first = self._emitted if len(systems) == 1 else system.done + len(system.open)
            entries = [[(first + place + index) % classes, b"payload of a task"] for index in range(count)]
            if not entries:
                break
            started = time.thread_time()
            self.core.emit(system, first, entries)
            self.clock.emit += time.thread_time() - started
            self._emitted += count
        if len(systems) > 1:
            systems.append(systems.pop(0))

    def _decide(self) -> None:
        started = time.thread_time()
        self.core.tick(self.now)
        commands = self.core.take_commands()
        self.clock.tick += time.thread_time() - started
        self._carry_out(commands)

    def _carry_out(self, commands: Commands) -> None:
        for name, orders in commands.orders.items():
            held = self.held[name]
            if orders.leases and not held:
                self._busy.append(name)
            held.extend(entry[0] for entry in orders.leases)
            if orders.recalls:
                self._give_back(name, orders.recalls)
        self._ended += sum(map(len, commands.finished.values()))

    def _give_back(self, name: str, leases: list[int]) -> None:
        """Return what was asked back; the oldest, one per worker, have started."""
        held = self.held[name]
        running = set(list(held)[:WORKERS])
        back = [lease for lease in leases if lease in held and lease not in running]
        gone = set(back)
        self.held[name] = deque(lease for lease in held if lease not in gone)
        self.core.returned(name, back)
        self.core.started(name, [lease for lease in leases if lease not in gone])

    def _take_results(self) -> int:
        """Let slaves in turn report their oldest leases; return how many."""
        taken = 0
        for _ in range(max(MESSAGES, len(self._busy))):
            if not self._busy:
                break
            name = self._busy.popleft()
            held = self.held[name]
            if not held:
                continue
            count = min(len(held), RESULTS)
            taken += count
            entries = [[held.popleft(), 0, b"result", None, self._nanoseconds] for _ in range(count)]
            if held:
                self._busy.append(name)
            started = time.thread_time()
            self.core.begin(self.now)
            self.core.results(name, entries)
            self.clock.results += time.thread_time() - started
        return taken


def measure(case: Case) -> dict[str, float]:
    """Return decisions per second, and what each part of one costs [us]."""
    bench = Bench(case)
    gc.collect()
    gc.freeze()  # as a master does once it is up
    collect_less_often()
    bench.run()
    clock = bench.clock
    microseconds = 1e6 / case.tasks
    return {
        "rate": case.tasks / clock.total,
        "emit": clock.emit * microseconds,
        "results": clock.results * microseconds,
        "tick": clock.tick * microseconds,
    }


def _of_slaves(slaves: int, duration: float, setting: Setting) -> dict[str, float]:
    return measure(Case(slaves, setting.count or BY_SLAVES, duration))


def with_10_slaves(setting: Setting) -> dict[str, float]:
    """Decide for 10 slaves."""
    return _of_slaves(10, SHORT, setting)


def with_100_slaves(setting: Setting) -> dict[str, float]:
    """Decide for 100 slaves."""
    return _of_slaves(100, SHORT, setting)


def with_1000_slaves(setting: Setting) -> dict[str, float]:
    """Decide for 1 000 slaves."""
    return _of_slaves(1_000, SHORT, setting)


def with_10000_slaves(setting: Setting) -> dict[str, float]:
    """Decide for 10 000 slaves."""
    return _of_slaves(10_000, SHORT, setting)


def long_with_10_slaves(setting: Setting) -> dict[str, float]:
    """Decide for 10 slaves, each task alone."""
    return _of_slaves(10, LONG, setting)


def long_with_100_slaves(setting: Setting) -> dict[str, float]:
    """Decide for 100 slaves, each task alone."""
    return _of_slaves(100, LONG, setting)


def long_with_1000_slaves(setting: Setting) -> dict[str, float]:
    """Decide for 1 000 slaves, each task alone."""
    return _of_slaves(1_000, LONG, setting)


def long_with_10000_slaves(setting: Setting) -> dict[str, float]:
    """Decide for 10 000 slaves, each task alone."""
    return _of_slaves(10_000, LONG, setting)


def plain(setting: Setting) -> dict[str, float]:
    """Decide for 100 slaves about tasks of one class of one system."""
    return measure(Case(100, setting.count or BY_VARIETY))


def with_many_priorities(setting: Setting) -> dict[str, float]:
    """Decide about as many priorities as there are kinds."""
    classes = [{"priority": number} for number in range(KINDS)]
    return measure(Case(100, setting.count or BY_VARIETY, classes=classes))


def with_many_systems(setting: Setting) -> dict[str, float]:
    """Decide about as many systems as there are kinds."""
    return measure(Case(100, setting.count or BY_VARIETY, systems=KINDS))


def with_one_requirement(setting: Setting) -> dict[str, float]:
    """Decide about tasks that require the same."""
    return _requiring(1, setting)


def with_many_requirements(setting: Setting) -> dict[str, float]:
    """Decide about as many requirements as there are kinds."""
    return _requiring(KINDS, setting)


def _requiring(kinds: int, setting: Setting) -> dict[str, float]:
    classes = [{"requires": {"memory": 1.0 + number / KINDS}} for number in range(kinds)]
    case = Case(100, setting.count or BY_VARIETY, classes=classes, resources={"memory": 1024.0})
    return measure(case)
