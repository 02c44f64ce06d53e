"""Shares of applications and systems, whatever their tasks take."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurro.ids import Outcome
from concurro.records import SystemRecord
from concurro.scheduling.depth import BURST_SECONDS
from tests.unit.scheduling.cluster import Cluster, task_class

DURATIONS = st.builds(
    lambda shortest, factors: [shortest * factor for factor in factors],
    st.sampled_from([5e-4, 0.005, 0.02, 0.1, 1.0]),
    st.lists(st.sampled_from([1.0, 1.5, 3.0]), min_size=1, max_size=3),
)
WEIGHTS = st.sampled_from([0.5, 1.0, 2.0, 3.0])


class Simulation:
    """One worker per slave that runs its leases in order, for as long as a system says."""

    def __init__(self, workers=1, **resources):
        self.cluster = Cluster()
        self.cluster.join("north", workers=workers, resources=resources)
        self.served = {}
        self.running = []
        self.durations = {}
        self.random = random.Random(1)
        self.waiting = []

    def system(self, number, weight=1.0, application="", durations=(1.0,), requires=None):
        record = SystemRecord(number, f"system-{number}", "Sum", weight=weight, application=application)
        self.cluster.core.start_system(record)
        self.cluster.core.announce_classes(record, [task_class(requires=requires)])
        self.cluster.finished.setdefault(number, [])
        self.served[number] = 0.0
        self.durations[number] = durations
        return record

    def run(self, systems, until):
        """Keep the systems busy until a time; every worker is always used."""
        core = self.cluster.core
        slave = core.slaves["north"]
        begun = set()
        while True:
            for system in systems:
                if len(system.open) < 300:
                    self.cluster.emit(system, 300)
            self.cluster.step()
            for lease, task in slave.leases.items():
                if len(self.running) >= slave.workers:
                    break
                if lease not in begun:
                    begun.add(lease)
                    seconds = self.random.choice(self.durations[task.system.number])
                    heapq.heappush(self.running, (self.cluster.now + seconds, lease, seconds, task))
            end, _, seconds, task = heapq.heappop(self.running)
            if end > until:
                heapq.heappush(self.running, (end, task.lease, seconds, task))
                return
            self.cluster.now = end
            core.begin(end)
            self.served[task.system.number] += seconds
            self.cluster.end(task, seconds=seconds)


def quantum(*durations):
    """Return what one decision may cost at most [s]: a task, a burst, what was sent ahead."""
    return max([BURST_SECONDS, 0.1, *durations])


@settings(max_examples=25, deadline=None)
@given(
    weights=st.tuples(WEIGHTS, WEIGHTS),
    durations=st.tuples(DURATIONS, DURATIONS),
    late=st.booleans(),
)
def test_served_seconds_have_the_ratio_of_the_weights(weights, durations, late):
    simulation = Simulation()
    first = simulation.system(1, weights[0], durations=durations[0])
    largest = quantum(*durations[0], *durations[1])
    if late:
        simulation.run([first], simulation.cluster.now + 200 * durations[0][0])
        simulation.served[1] = 0.0
    second = simulation.system(2, weights[1], durations=durations[1])
    shortest = min(sum(mine) / len(mine) for mine in durations)
    until = simulation.cluster.now + min(20 * largest, 1000 * shortest)

    simulation.run([first, second], until)

    normalized = [simulation.served[number] / weight for number, weight in zip((1, 2), weights, strict=True)]
    assert abs(normalized[0] - normalized[1]) <= 2 * largest / min(weights)


def test_applications_share_whatever_the_number_of_their_systems():
    simulation = Simulation()
    many = [simulation.system(number, application="alice") for number in range(1, 5)]
    single = simulation.system(9, application="bob")

    simulation.run([*many, single], simulation.cluster.now + 400)

    of_alice = sum(simulation.served[number] for number in range(1, 5))
    assert of_alice == pytest.approx(simulation.served[9], abs=2)
    assert max(simulation.served[number] for number in range(1, 5)) <= 52


def test_an_application_counts_with_the_largest_weight_of_its_systems():
    simulation = Simulation()
    heavy = simulation.system(1, weight=3.0, application="alice")
    light = simulation.system(2, weight=1.0, application="alice")
    other = simulation.system(3, weight=1.0, application="bob")

    simulation.run([heavy, light, other], simulation.cluster.now + 400)

    assert simulation.served[1] + simulation.served[2] == pytest.approx(300, abs=4)
    assert simulation.served[1] == pytest.approx(225, abs=4)


def test_a_system_that_ended_counts_no_more_for_the_weight_of_its_application():
    simulation = Simulation()
    heavy = simulation.system(1, weight=3.0, application="alice")
    light = simulation.system(2, weight=1.0, application="alice")
    other = simulation.system(3, weight=1.0, application="bob")
    simulation.run([heavy, light, other], simulation.cluster.now + 40)
    simulation.running.clear()
    simulation.cluster.end_system(heavy)
    for task in [*light.open.values(), *other.open.values()]:
        if task.lease:
            simulation.cluster.end(task)
    simulation.served = dict.fromkeys(simulation.served, 0.0)

    simulation.run([light, other], simulation.cluster.now + 100)

    assert simulation.served[2] == pytest.approx(simulation.served[3], abs=3)


def test_systems_that_need_the_same_resource_share_it_by_weight():
    simulation = Simulation(workers=4, gpu=1.0)
    light = simulation.system(1, requires={"gpu": 1.0})
    heavy = simulation.system(2, weight=3.0, requires={"gpu": 1.0})

    simulation.run([light, heavy], simulation.cluster.now + 200)

    assert simulation.served[2] == pytest.approx(3 * simulation.served[1], abs=6)


def test_attempts_that_fail_are_paid_for(cluster):
    cluster.join("north")
    failing = cluster.system(1, classes=[task_class(max_retries=1000)])
    steady = cluster.system(2)
    spent = {1: 0.0, 2: 0.0}

    for _ in range(200):
        for system in (failing, steady):
            if len(system.open) < 5:
                cluster.emit(system, 5)
        cluster.step(2.0)
        (task,) = cluster.core.slaves["north"].leases.values()
        spent[task.system.number] += 2.0
        cluster.end(task, Outcome.TIMEOUT if task.system is failing else Outcome.DONE, 2.0)

    assert spent[1] == pytest.approx(spent[2], abs=5)


def test_an_attempt_is_paid_for_while_it_runs(cluster):
    cluster.join("north", workers=2)
    greedy, modest = cluster.system(1), cluster.system(2)
    (long,) = cluster.emit(greedy, 1)
    cluster.step()
    counts = {1: 0, 2: 0}

    for _ in range(60):
        for system in (greedy, modest):
            if len(system.open) < 5:
                cluster.emit(system, 5)
        cluster.step(1.0)
        (task,) = [task for task in cluster.core.slaves["north"].leases.values() if task is not long]
        counts[task.system.number] += 1
        cluster.end(task, seconds=1.0)

    assert counts[2] >= 55


def test_a_lease_that_was_handed_back_costs_nothing(cluster):
    cluster.join("north")
    returned, steady = cluster.system(1), cluster.system(2)
    cluster.measure(returned, 1.0)
    cluster.measure(steady, 1.0)
    cluster.emit(returned, 1)
    for _ in range(50):
        cluster.step()
        cluster.give_back("north", list(cluster.held["north"]))
    cluster.emit(returned, 10)
    cluster.emit(steady, 10)

    order = []
    for _ in range(8):
        cluster.step()
        (task,) = cluster.core.slaves["north"].leases.values()
        order.append(task.system.number)
        cluster.end(task)

    assert order.count(1) == 4


@settings(max_examples=20, deadline=None)
@given(weights=st.lists(st.sampled_from([0.01, 1.0, 10.0]), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_every_system_gets_something(weights, seed):
    simulation = Simulation()
    simulation.random = random.Random(seed)
    systems = [
        simulation.system(number, weight, application=f"application-{number % 2}", durations=(0.05, 0.2))
        for number, weight in enumerate(weights, start=1)
    ]

    simulation.run(systems, simulation.cluster.now + 0.3 * 3 * sum(weights) / min(weights) / 10 + 30)

    assert all(simulation.served[system.number] > 0 or system.weight < 1 for system in systems)
