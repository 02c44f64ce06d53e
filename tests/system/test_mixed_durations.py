"""Nothing waits behind a long task while another worker idles."""

from __future__ import annotations

import pytest

from concurro import LocalCluster, Task, TaskSystem
from tests.support.jobs import SHIPPED, open_gate, wait_for_gate

SHORT_TASKS = 600
LONG_ONE = 300


class Mixed(Task):
    """Does nothing, but for one that waits at the gate: it takes until every other has ended."""

    def __init__(self, number, folder):
        super().__init__(f"mixed-{number}")
        self.number = number
        self.folder = str(folder)

    def __call__(self):
        if self.number == LONG_ONE:
            wait_for_gate(self.folder)
        return self.number


class MixedSystem(TaskSystem):
    """Opens the gate when all but one task have ended."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.done = []

    def generate_tasks(self, master):
        return (Mixed(number, self.folder) for number in range(SHORT_TASKS))

    def task_finished(self, master, task, result, error):
        if error is not None:
            raise error
        self.done.append(result)
        if len(self.done) == SHORT_TASKS - 1:
            open_gate(self.folder)

    def is_complete(self, master):
        return len(self.done) == SHORT_TASKS

    def gather_result(self, master):
        return self.done, None


@pytest.mark.slow
@pytest.mark.parametrize(("slaves", "workers"), [(1, 2), (2, 1)], ids=["inside a slave", "across slaves"])
def test_what_was_sent_behind_a_task_that_turns_out_long_runs_elsewhere(slaves, workers, tmp_path):
    with LocalCluster(workers=workers, slaves=slaves, config=SHIPPED) as cluster:
        done = cluster.run(MixedSystem(tmp_path), timeout=30)

    assert done[-1] == LONG_ONE
    assert sorted(done) == list(range(SHORT_TASKS))
