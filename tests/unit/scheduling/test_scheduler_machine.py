"""Whatever happens in whatever order: every task is somewhere once, and ends once."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from concurro.ids import Outcome, SystemState
from concurro.scheduling.queue import Standing
from concurro.scheduling.resources import covers
from tests.unit.scheduling.cluster import FAILURE, Cluster, task_class

OUTCOMES = st.sampled_from([Outcome.DONE, Outcome.DONE, Outcome.RAISED, Outcome.LOST, Outcome.SLAVE_LOST])
SECONDS = st.sampled_from([1e-6, 1e-4, 0.01, 2.0])
CLASSES = [
    task_class(0),
    task_class(1, priority=3, max_retries=2),
    task_class(2, requires={"gpu": 1.0}),
    task_class(3, max_retries=0),
    task_class(4, requires={"gpu": 0.3, "disk": 1 / 3}),
]


class SchedulerMachine(RuleBasedStateMachine):
    """Systems, slaves and a clock do what they like."""

    def __init__(self):
        super().__init__()
        self.cluster = Cluster()
        self.joined = 0
        self.started = 0
        self.live = {}
        self.emitted = {}
        self.ended = set()

    def pick(self, choices, index):
        """Return one of the choices; None when there are none."""
        choices = list(choices)
        return choices[index % len(choices)] if choices else None

    @rule(workers=st.integers(1, 3), gpus=st.integers(0, 2))
    def slave_joins(self, workers, gpus):
        self.joined += 1
        self.cluster.join(f"slave-{self.joined}", workers=workers, resources={"gpu": float(gpus), "disk": 1.0})

    @rule(index=st.integers(0, 9))
    def slave_leaves(self, index):
        name = self.pick(self.cluster.held, index)
        if name is not None:
            self.cluster.leave(name)

    @rule(index=st.integers(0, 9), workers=st.integers(1, 4), sick=st.booleans(), gpus=st.integers(0, 2))
    def slave_changes(self, index, workers, sick, gpus):
        name = self.pick(self.cluster.held, index)
        if name is not None:
            self.cluster.core.slave_changed(name, workers, "it is unwell" if sick else "", {"gpu": float(gpus)})

    @precondition(lambda self: len(self.live) < 3)
    @rule(weight=st.sampled_from([0.5, 1.0, 3.0]))
    def system_starts(self, weight):
        self.started += 1
        application = f"application-{self.started % 2}" if weight > 1 else ""
        facts = {"application": application, "speculate": self.started % 2 == 0}
        self.live[self.started] = self.cluster.system(self.started, weight, CLASSES, **facts)
        self.emitted[self.started] = 0

    @rule(index=st.integers(0, 2), count=st.integers(1, 30), number=st.integers(0, 4))
    def system_emits(self, index, count, number):
        system = self.pick(self.live.values(), index)
        if system is not None:
            self.cluster.core.emit(system, self.emitted[system.number], [[number, b"payload"]] * count)
            self.emitted[system.number] += count

    @rule(index=st.integers(0, 2))
    def system_ends(self, index):
        system = self.pick(self.live.values(), index)
        if system is not None:
            self.cluster.end_system(system, SystemState.COMPLETE)
            del self.live[system.number]
            self.ended.add(system.number)

    @rule(index=st.integers(0, 2), numbers=st.lists(st.integers(0, 40), max_size=5))
    def system_cancels(self, index, numbers):
        system = self.pick(self.live.values(), index)
        if system is not None:
            self.cluster.core.cancel_tasks(system, numbers)

    @rule(index=st.integers(0, 9), which=st.integers(0, 99), outcome=OUTCOMES, seconds=SECONDS)
    def attempt_ends(self, index, which, outcome, seconds):
        name = self.pick(self.cluster.held, index)
        lease = self.pick(self.cluster.held.get(name, ()), which)
        if lease is not None:
            self.cluster.held[name].pop(lease)
            value = b"result" if outcome == Outcome.DONE else list(FAILURE)
            self.cluster.core.results(name, [[lease, int(outcome), value, None, int(seconds * 1e9)]])

    @rule(index=st.integers(0, 9), which=st.integers(0, 99))
    def copy_starts(self, index, which):
        core = self.cluster.core
        name = self.pick(core.slaves, index)
        leased = [task for system in self.live.values() for task in system.open.values() if task.lease]
        task = self.pick([task for task in leased if task.copy is None], which)
        if name is not None and task is not None and covers(core.slaves[name].free, task.requires):
            core.lease_copy(task, name)
            core.scheduler.slave_joined(core.slaves[name])
            self.cluster.hear()

    @rule(index=st.integers(0, 9), lease=st.integers(0, 60), outcome=OUTCOMES)
    def slave_lies(self, index, lease, outcome):
        name = self.pick(self.cluster.held, index)
        if name is not None and lease not in self.cluster.held[name]:
            value = b"forged" if outcome == Outcome.DONE else ["Forged", "not mine"]
            self.cluster.core.results(name, [[lease, int(outcome), value, None, 1]])
            self.cluster.core.returned(name, [lease])

    @rule(index=st.integers(0, 9), count=st.integers(1, 20))
    def slave_returns(self, index, count):
        name = self.pick(self.cluster.held, index)
        if name is not None:
            known = self.cluster.core.slaves[name].leases
            self.cluster.give_back(name, [lease for lease in list(self.cluster.held[name])[-count:] if lease in known])

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 5.0]))
    def time_passes(self, seconds):
        self.cluster.step(seconds)

    @invariant()
    def every_open_task_is_queued_or_leased_exactly_once(self):
        queues = self.cluster.core.scheduler._queue.systems
        for system in self.live.values():
            queued = [
                task
                for queue in (queues[system.number].by_class.values() if system.number in queues else ())
                for task in queue.tasks
                if task.outcome is not Outcome.CANCELLED
            ]
            leased = [task for task in system.open.values() if task.lease]
            places = [task.number for task in [*queued, *leased]]
            assert sorted(places) == sorted(system.open)
            assert system.leased == len(leased)

    @invariant()
    def queues_that_require_nothing_are_counted(self):
        queue = self.cluster.core.scheduler._queue
        queues = [one for system in queue.systems.values() for one in system.by_class.values()]
        assert queue.plain == sum(not one.need and one.standing is not Standing.EMPTY for one in queues)

    @invariant()
    def leases_are_held_by_the_slave_that_the_task_names(self):
        core = self.cluster.core
        held = {lease: task for slave in core.slaves.values() for lease, task in slave.leases.items()}
        for lease, task in held.items():
            copy = task.copy
            assert lease == task.lease or (copy is not None and lease == copy.lease)
            slave_id = task.slave_id if lease == task.lease else copy.slave_id
            assert core.slaves[slave_id].leases[lease] is task
            assert task.system.open[task.number] is task
        copies = sum(1 for system in self.live.values() for task in system.open.values() if task.copy is not None)
        assert len(held) == copies + sum(system.leased for system in self.live.values())

    @invariant()
    def resources_are_what_leases_leave(self):
        for slave in self.cluster.core.slaves.values():
            for name in ("gpu", "disk"):
                taken = sum(task.requires.get(name, 0.0) for task in slave.leases.values())
                assert slave.free.get(name, 0.0) == pytest.approx(slave.resources.get(name, 0.0) - taken, abs=1e-6)

    @invariant()
    def bytes_of_open_tasks_are_counted(self):
        for system in self.live.values():
            assert system.open_bytes == sum(len(task.payload) for task in system.open.values())

    @invariant()
    def every_task_that_is_not_open_ended_exactly_once(self):
        pending = self.cluster.core._commands.finished
        for number, system in self.live.items():
            entries = [*self.cluster.finished[number], *pending.get(number, ())]
            numbers = [entry[0] for entry in entries]
            assert len(set(numbers)) == len(numbers)
            assert sorted([*numbers, *system.open]) == list(range(self.emitted[number]))
            assert system.done + system.failed + system.cancelled == len(numbers)

    @invariant()
    def nothing_of_an_ended_system_is_left(self):
        core = self.cluster.core
        assert core.systems.keys() == self.live.keys()
        assert not self.ended & core._commands.finished.keys()
        for system in core.systems.values():
            assert all(one.told <= core.slaves.keys() for one in system.classes.values())

    def teardown(self):
        """Let everything that is left end, beside a healthy slave."""
        self.cluster.join("last", workers=4, resources={"gpu": 4.0, "disk": 1.0})
        for name in list(self.cluster.held):
            if name != "last":
                self.cluster.leave(name)
        for _ in range(400):
            self.cluster.step(1.0)
            for lease in list(self.cluster.core.slaves["last"].leases):
                self.cluster.core.results("last", [[lease, 0, b"result", None, 2_000_000_000]])
        self.cluster.step()
        assert [system.open for system in self.live.values()] == [{} for _ in self.live]


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=60, stateful_step_count=40)
