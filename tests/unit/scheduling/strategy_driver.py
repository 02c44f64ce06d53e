"""Drives a strategy alone: slaves of a stand-in, rated whenever they change."""

from __future__ import annotations

from concurro.records import TaskClass
from concurro.scheduling.locality import Locality
from concurro.scheduling.strategies import LeastLoaded, RoundRobin, TwoChoices
from concurro.scheduling.throughput import Throughput
from concurro.testing.stand_ins import SchedulerHostStandIn, SchedulerStandIn

STRATEGIES = (LeastLoaded, RoundRobin, Throughput, TwoChoices, Locality)


class Field:
    """A strategy, and slaves around it."""

    def __init__(self, strategy):
        self.host = SchedulerHostStandIn()
        self.host.holders = {}
        self.strategy = strategy
        self.strategy.setup(SchedulerStandIn(), self.host)
        self.system = self.host.add_system()

    def join(self, *names, workers=1, durations=None, resources=None):
        """Add slaves, which have measured tasks if `durations` says so."""
        slaves = [self.host.add_slave(name, workers, resources) for name in names]
        for slave in slaves:
            slave.durations.update(durations or {})
            slave.finished = len(slave.durations)
            self.rate(slave.id)
        return slaves

    def leave(self, name):
        """Remove a slave."""
        del self.host.slaves[name]

    def rate(self, name):
        """Let the strategy know that a slave changed."""
        slave = self.host.slaves[name]
        slave.rating = self.strategy.rate(slave)

    def task_class(self, number, name, mean=None, requires=None):
        """Return a class of tasks."""
        made = TaskClass(number, name, requires=requires)
        made.mean = made.duration = mean
        self.system.classes[number] = made
        return made

    def task(self, task_class=None):
        """Return a task that is queued."""
        return self.host.add_tasks(self.system, 1, task_class)[0]

    def hold(self, name, count, task_class=None):
        """Let a slave hold more tasks; return them."""
        tasks = self.host.add_tasks(self.system, count, task_class)
        for task in tasks:
            self.host.lease(task, name)
        self.rate(name)
        return tasks

    def have(self, name, *digests):
        """Let a slave have blobs."""
        self.host.slaves[name].blobs.update(digests)
        for digest in digests:
            self.host.holders.setdefault(digest, set()).add(name)

    def choose(self, task, slaves=None):
        """Ask the strategy."""
        return self.strategy.get_next_slave(task, slaves)
