"""A master that is killed with much in flight: line 58 of the failure matrix."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from pathlib import Path

import pytest

from concurro import ApplicationNode, Task, TaskSystem
from tests.support.jobs import SHIPPED, leave_trace, open_gate, read_trace
from tests.support.nodes import master_process, slave_process

TASKS = 100_000
FREE = 2000
"""So many tasks end before the others wait at the gate."""

CHUNK = 500
"""Results that may still be in workers, behind a task at the gate."""


class Numbered(Task):
    """Leaves its number behind."""

    def __init__(self, number, folder):
        super().__init__(str(number))
        self.number = number
        self.folder = folder

    def __call__(self):
        leave_trace(self.folder, self.number)
        while self.number >= FREE and not Path(self.folder, "gate").exists():
            time.sleep(0.01)  # for as long as the test takes: how long the first ones do is not what is tested
        return self.number


class Counting(TaskSystem):
    """Pushes all its tasks at once, counts what has ended, and publishes it."""

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)
        self.seen = set()
        self.calls = 0

    def init_system(self, master):
        master.push_tasks(Numbered(number, self.folder) for number in range(TASKS))

    def generate_tasks(self, master):
        return ()

    def task_finished(self, master, task, result, error):
        self.seen.add(result)
        self.calls += 1
        master.publish(result)

    def is_complete(self, master):
        return self.calls == TASKS

    def gather_result(self, master):
        return (len(self.seen), self.calls), None


@pytest.mark.slow
def test_f58_a_master_killed_with_a_hundred_thousand_tasks_in_flight_loses_none(tmp_path, runtime_folder):
    journal = {"journal": str(tmp_path / "journal")}
    config = {"application": {**SHIPPED["application"], "connect_timeout": 120.0}}
    with (
        master_process(runtime_folder, master=journal) as (master, url),
        slave_process(url, workers=2),
        ApplicationNode(url, config=config) as node,
    ):
        handle = node.submit(Counting(tmp_path))
        taken = set(itertools.islice(handle.partial_results(), FREE - CHUNK))
        [system] = node.status()["systems"]

        master.kill()
        master.wait(30)
        open_gate(tmp_path)
        with master_process(runtime_folder, master=journal):
            outcome = handle.result(120)

    runs = Counter(int(number) for [number] in read_trace(tmp_path))
    assert TASKS - FREE <= system["open"] <= TASKS - FREE + CHUNK
    assert outcome == (TASKS, TASKS)
    assert len(runs) == TASKS
    assert len(taken) == FREE - CHUNK
    assert {runs[number] for number in taken} == {1}
