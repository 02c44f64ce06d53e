"""Large parts of systems, tasks and results, and a master that is killed."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from concurro import ITaskSystem
from tests.support.jobs import Traced, leave_trace, open_gate, read_trace, wait_for_gate
from tests.support.journalled import application, journalled, kill
from tests.support.nodes import slave_process
from tests.support.waiting import wait_until

SMALL, LARGE = 12_000, 160_000
"""Numbers in an array: above what rides in a message, and more than two chunks."""

FREE = 4
COUNT = 8


class Scaled(Traced):
    """Scales an array; the later ones wait at the gate."""

    def __init__(self, number, numbers, folder):
        super().__init__(str(number), folder)
        self.numbers = numbers

    def __call__(self):
        leave_trace(self.folder, self.name, self.attempt)
        if int(self.name) >= FREE:
            wait_for_gate(self.folder)
        return self.numbers * float(self.name)


class Scale(ITaskSystem):
    """Adds scaled arrays; publishes each number."""

    def __init__(self, numbers, folder):
        super().__init__()
        self.numbers = numbers
        self.folder = str(folder)
        self.done = 0
        self.total = np.zeros_like(numbers)

    def generate_tasks(self, master):
        return (Scaled(number, self.numbers + number, self.folder) for number in range(COUNT))

    def task_finished(self, master, task, result, error):
        if error is not None:
            raise error
        self.total += result
        self.done += 1
        master.publish((int(task.name), result))

    def is_complete(self, master):
        return self.done == COUNT

    def gather_result(self, master):
        return self.total, None


def run_with_a_kill(folder, size):
    """Kill the master of a running system; return the result, what was published, and how often each task ran."""
    numbers = np.arange(size, dtype=float)
    with journalled(folder) as (master, url), slave_process(url, workers=2), application(url) as node:
        handle = node.submit(Scale(numbers, folder))
        published = handle.partial_results()
        parts = list(itertools.islice(published, FREE))
        wait_until(lambda: len(read_trace(folder)) > FREE, 30, "a task at the gate")
        kill(master)
        open_gate(folder)
        with journalled(folder):
            total = handle.result(60)
            parts += list(published)
    runs = Counter(int(line[0]) for line in read_trace(folder))
    return numbers, total, parts, runs


def check(numbers, total, parts, runs):
    expected = {number: (numbers + number) * number for number in range(COUNT)}
    assert np.array_equal(total, sum(expected.values()))
    assert sorted(number for number, _ in parts) == list(range(COUNT))
    assert all(np.array_equal(part, expected[number]) for number, part in parts)
    assert [runs[number] for number in range(FREE)] == [1] * FREE


@pytest.mark.slow
def test_f58_parts_of_some_chunks_survive_a_killed_master(tmp_path):
    check(*run_with_a_kill(tmp_path, LARGE))


@pytest.mark.slow
def test_f58_parts_of_less_than_a_chunk_survive_a_killed_master(tmp_path):
    check(*run_with_a_kill(tmp_path, SMALL))
