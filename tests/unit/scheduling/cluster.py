"""Drives a scheduler core: slaves that keep what they are told, a clock that stands still."""

from __future__ import annotations

from concurro.ids import Outcome, SystemState
from concurro.interfaces import ITaskScheduler
from concurro.kernel import Environment
from concurro.records import SlaveRecord, SystemRecord
from concurro.scheduling.core import SchedulerCore

FAILURE = ["ValueError", "wrong", "Traceback ...", None]
MICROSECOND = 1e-6


def rated(strategy="least-loaded", **options):
    """Return the scheduler `rated`, as a master builds it."""
    env = Environment({"master": {"strategy": strategy}, "rated": options}, kind="master")
    return env.selected(ITaskScheduler, "master.scheduler")


def task_class(number=0, name=None, priority=0, timeout=None, max_retries=None, requires=None):
    """Return one class entry of OUT."""
    return [number, name or f"Class{number}", priority, timeout, max_retries, requires or {}, b"code", None]


class Cluster:
    """A core and what its slaves and systems were told.

    Attributes:
        held: Slave id to lease to entry of LEASES: what the slave believes it has.
        recalled, killed, settled, forgotten: Slave id to what it was told, in order.
        classes: Slave id to (system, class) in order of announcement.
        finished: System number to final entries, in order.
        warnings: System number and text of what applications were told.
    """

    def __init__(self, scheduler=None, strategy="least-loaded", **options):
        self.core = SchedulerCore(scheduler or rated(strategy, **options))
        self.now = 100.0
        self.core.begin(self.now)
        self.held = {}
        self.recalled = {}
        self.killed = {}
        self.settled = {}
        self.forgotten = {}
        self.classes = {}
        self.finished = {}
        self.warnings = []

    def join(self, *names, workers=1, resources=None):
        """Let slaves join."""
        for name in names:
            self.held[name] = {}
            for table in (self.recalled, self.killed, self.settled, self.forgotten, self.classes):
                table[name] = []
            self.core.slave_joined(SlaveRecord(name, f"{name}.example", workers, resources))

    def leave(self, name):
        """Lose a slave."""
        self.held.pop(name)
        self.core.slave_left(name, "it was killed")

    def system(self, number=1, weight=1.0, classes=None, **facts):
        """Start a system."""
        system = SystemRecord(number, f"system-{number}", "Sum", weight=weight, **facts)
        self.core.start_system(system)
        self.core.announce_classes(system, classes or [task_class()])
        self.finished.setdefault(number, [])
        return system

    def emit(self, system, count=1, number=0):
        """Emit tasks of one class; return their records."""
        first = len(system.open) + system.done + system.failed + system.cancelled
        self.core.emit(system, first, [[number, b"payload"]] * count)
        return [system.open[first + index] for index in range(count)]

    def step(self, seconds=0.0):
        """Let the core decide, and the slaves hear of it."""
        self.now += seconds
        self.core.tick(self.now)
        self.hear()

    def hear(self):
        """Carry out what the core commands."""
        commands = self.core.take_commands()
        self.warnings.extend(commands.warnings)
        for number, entries in commands.finished.items():
            self.finished[number].extend(entries)
        for name, leases in commands.settled.items():
            if name in self.settled:
                self.settled[name].extend(leases)
        for name, orders in commands.orders.items():
            self.forgotten[name].extend(orders.forgets)
            self.classes[name] = [key for key in self.classes[name] if key[0] not in orders.forgets]
            self.classes[name].extend((entry[0], entry[1]) for entry in orders.classes)
            for entry in orders.leases:
                assert (entry[1], entry[2]) in self.classes[name], "a lease of a class that the slave does not know"
                self.held[name][entry[0]] = entry
            self.recalled[name].extend(orders.recalls)
            self.killed[name].extend(orders.kills)
            for lease in orders.kills:
                self.held[name].pop(lease, None)

    def end(self, task, outcome=Outcome.DONE, seconds=1.0):
        """Let the slave report how its attempt ended."""
        name, lease = task.slave_id, task.lease
        self.held[name].pop(lease)
        value = b"result" if outcome == Outcome.DONE else list(FAILURE)
        self.core.results(name, [[lease, int(outcome), value, None, int(seconds * 1e9)]])

    def end_copy(self, task, outcome=Outcome.DONE, seconds=1.0):
        """Let the slave that runs the copy of a task report how that ended."""
        name, lease = task.copy.slave_id, task.copy.lease
        self.held[name].pop(lease)
        value = b"of the copy" if outcome == Outcome.DONE else list(FAILURE)
        self.core.results(name, [[lease, int(outcome), value, None, int(seconds * 1e9)]])

    def give_back(self, name, leases):
        """Let a slave return leases that it has not started."""
        for lease in leases:
            self.held[name].pop(lease)
        self.core.returned(name, list(leases))

    def measure(self, system, seconds, number=0):
        """Let a class be known to take so long, with nothing left behind."""
        system.classes[number].duration = seconds

    def loads(self):
        """Return how many leases each slave has."""
        return {name: len(held) for name, held in self.held.items()}

    def leased_systems(self):
        """Return the system of each lease that a slave holds, oldest lease first."""
        entries = sorted((entry for held in self.held.values() for entry in held.values()), key=lambda one: one[0])
        return [entry[1] for entry in entries]

    def end_system(self, system, state=SystemState.COMPLETE):
        """End a system."""
        self.core.end_system(system, state)
