"""Whatever happens in whatever order: every lease ends in exactly one way."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.execution.slave_driver import MICROSECOND, MILLISECOND, SlaveDriver, lease, task_class

DURATIONS = st.sampled_from([MICROSECOND, 100 * MICROSECOND, 2 * MILLISECOND, MILLISECOND, 50 * MILLISECOND])


class SlaveCoreMachine(RuleBasedStateMachine):
    """A master, two workers and a clock do what they like."""

    def __init__(self):
        super().__init__()
        self.driver = SlaveDriver(workers=2, devices=("0",))
        self.driver.core.classes([task_class(0), task_class(1), task_class(2, timeout=1.0), task_class(0, system=2)])
        self.driver.core.classes([task_class(3, gpu=1), task_class(4, gpu=0.5)])
        self.count = 0
        self.given = set()
        self.killed = set()
        self.workers_get_ready()
        self.lease_tasks(1, 0, 1)
        self.run_a_task(0, MICROSECOND)

    @rule(size=st.integers(1, 40), number=st.integers(0, 4), system=st.integers(1, 2))
    def lease_tasks(self, size, number, system):
        """The master leases some."""
        entries = []
        for _ in range(size):
            self.count += 1
            self.given.add(self.count)
            entries.append(lease(self.count, 0 if system == 2 else number, system))
        self.driver.core.leases(entries)
        self.driver.step()

    @rule()
    def workers_get_ready(self):
        """Every worker reports that it is ready."""
        self.driver.ready()

    @rule(pick=st.integers(0, 5), duration=DURATIONS)
    def run_a_task(self, pick, duration):
        """A worker runs its next task to the end."""
        worker = self._worker(pick)
        if worker is not None and self.driver.workers[worker].running is None:
            if self.driver.workers[worker].claim() is not None:
                self.driver.report(worker, duration)
            elif self.driver.workers[worker].at_end():
                self.driver.flush(worker)

    @rule(pick=st.integers(0, 5))
    def begin_a_task(self, pick):
        """A worker begins its next task."""
        worker = self._worker(pick)
        if worker is not None and self.driver.workers[worker].running is None:
            self.driver.workers[worker].claim()

    @rule(pick=st.integers(0, 5), tasks=st.integers(1, 5))
    def end_tasks_without_a_word(self, pick, tasks):
        """A worker runs some of a chunk and keeps the results for later."""
        worker = self._worker(pick)
        if worker is None:
            return
        fake = self.driver.workers[worker]
        for _ in range(tasks):
            if fake.running is None and fake.claim() is None:
                return
            if not fake.chunks[0] and not fake.joined[0]:
                return  # the last of a chunk is reported, or of several that are joined
            self.driver.finish(worker)

    @rule(pick=st.integers(0, 5), duration=DURATIONS)
    def end_a_task(self, pick, duration):
        """A worker ends the task that it runs."""
        worker = self._worker(pick)
        if worker is not None and self.driver.workers[worker].running is not None:
            self.driver.core.end_loan(worker)
            self.driver.report(worker, duration)

    @rule(pick=st.integers(0, 5))
    def a_task_waits(self, pick):
        """A task that runs waits for others, and lends its slot if it may."""
        worker = self._worker(pick)
        if worker is not None and self.driver.workers[worker].running is not None:
            self.driver.core.lend(worker, self.driver.workers[worker].running)
            self.driver.step()

    @rule(pick=st.integers(0, 5))
    def a_task_goes_on(self, pick):
        """A task that waited waits no more."""
        worker = self._worker(pick)
        if worker is not None:
            self.driver.core.end_loan(worker)
            self.driver.step()

    @rule(pick=st.integers(0, 5))
    def a_worker_dies(self, pick):
        """A worker's process ends."""
        worker = self._worker(pick)
        if worker is not None:
            self.driver.die(worker)

    @rule(first=st.integers(0, 60), size=st.integers(1, 20))
    def recall(self, first, size):
        """The master wants some back."""
        self.driver.core.recall(range(first, first + size))
        self.driver.step()

    @rule(first=st.integers(0, 60), size=st.integers(1, 6))
    def kill(self, first, size):
        """The master wants no result of some."""
        unwanted = {each for each in range(first, first + size) if each in self.given}
        self.killed |= unwanted - set(self.driver.results)
        self.driver.core.kill(unwanted, self.driver.now)
        self.driver.step()

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.5, 20.0]))
    def time_passes(self, seconds):
        """The clock goes on."""
        self.driver.tick(seconds)

    @rule(workers=st.integers(1, 3))
    def resize(self, workers):
        """The pool gets another size."""
        self.driver.core.update_pool(workers)
        self.driver.step()

    @precondition(lambda self: self.driver.killed)
    @rule()
    def a_killed_worker_is_gone(self):
        """The kernel does what was ordered."""
        worker = self.driver.killed.pop()
        if worker in self.driver.workers:
            self.driver.die(worker, "killed by SIGKILL")

    @invariant()
    def every_lease_is_somewhere_exactly_once(self):
        """Held, reported, returned or killed: one of them, and nothing is invented."""
        held = self.driver.core.inventory()
        ended = list(self.driver.results) + self.driver.returned
        assert len(held) == len(set(held))
        assert len(ended) == len(set(ended))
        assert not set(held) & set(ended)
        assert set(held) | set(ended) <= self.given
        assert self.given - set(held) - set(ended) <= self.killed

    @invariant()
    def no_more_slots_are_lent_than_may_be(self):
        """A slave's processes stay bounded."""
        assert self.driver.core.lent <= 4 * 3
        assert self.driver.core.slots == self.driver.core.workers + self.driver.core.lent

    @invariant()
    def nothing_is_left_to_say(self):
        """Every command was taken."""
        self.driver.core.assert_quiet()

    def teardown(self):
        """Let everything end: then nothing is held any more."""
        for _ in range(10_000):
            if not self.driver.core.inventory():
                break
            self.driver.ready()
            while self.driver.killed:
                self.a_killed_worker_is_gone()
            for worker in list(self.driver.workers):
                fake = self.driver.workers[worker]
                if fake.running is not None or fake.claim() is not None:
                    self.driver.report(worker)
                elif fake.at_end():
                    self.driver.flush(worker)
            self.driver.tick(11.0)
        assert self.driver.core.inventory() == []
        for worker in list(self.driver.workers):
            if self.driver.workers[worker].at_end():
                self.driver.flush(worker)
        assert self.driver.core._devices.free == {"0": 1.0}
        self.every_lease_is_somewhere_exactly_once()

    def _worker(self, pick):
        workers = sorted(self.driver.workers)
        return workers[pick % len(workers)] if workers else None


SlaveCoreMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestSlaveCoreMachine = SlaveCoreMachine.TestCase
