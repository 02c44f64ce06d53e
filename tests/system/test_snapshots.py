"""Long systems whose master or host is killed: they go on from a snapshot."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from concurro import TaskSystem
from concurro.journal.folder import JournalFolder
from concurro.journal.store import JournalStore
from tests.support.jobs import Traced, leave_trace, open_gate, wait_for_gate
from tests.support.journalled import application, executions, journalled, kill
from tests.support.nodes import slave_process
from tests.support.waiting import wait_until

INIT = -1
"""In the trace, for `init_system`: a host that begins with a snapshot does not call it."""

FREE, COUNT = 24, 30
NUMBERS = 120_000
"""In each result: 24 of them are more than the bytes of inputs after which a snapshot is taken."""


class Filled(Traced):
    """Returns a large array; the later ones wait at the gate."""

    def __init__(self, number, folder):
        super().__init__(str(number), folder)
        self.number = number

    def __call__(self):
        leave_trace(self.folder, self.name, self.attempt)
        if self.number >= FREE:
            wait_for_gate(self.folder)
        return np.full(NUMBERS, float(self.number))


class Fill(TaskSystem):
    """Adds arrays; holds its master, and says which tasks were asked for more than once."""

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)
        self.total = np.zeros(NUMBERS)
        self.seen = []

    def init_system(self, master):
        self.master = master
        leave_trace(self.folder, INIT)

    def generate_tasks(self, master):
        return [Filled(number, self.folder) for number in range(COUNT)]

    def task_finished(self, master, task, result, error):
        assert master is self.master
        self.total += result
        self.seen.append(task.number)

    def is_complete(self, master):
        return len(self.seen) == COUNT

    def gather_result(self, master):
        return (float(self.total.sum()), sorted(self.seen)), None


ONCE_EACH = dict.fromkeys(range(COUNT), 1) | {INIT: 1}
EXPECTED = (float(NUMBERS * sum(range(COUNT))), list(range(COUNT)))


def snapshots_in(folder):
    """Return how many snapshots a journal has that a master uses."""
    with closing(sqlite3.connect(f"file:{folder}/journal/journal.db?mode=ro", uri=True)) as database:
        return database.execute("SELECT count(*) FROM snapshots").fetchone()[0]


def run_until_a_snapshot(node, folder, **options):
    handle = node.submit(Fill(folder), **options)
    wait_until(lambda: snapshots_in(folder) == 1, 60, "a snapshot in the journal")
    return handle


def test_a_killed_master_goes_on_from_a_snapshot(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        handle = run_until_a_snapshot(node, tmp_path)

        kill(master)
        folder = JournalFolder(tmp_path / "journal")
        store = JournalStore(folder)
        (kept,) = store.load().values()
        store.close()
        folder.close()
        open_gate(tmp_path)
        with journalled(tmp_path):
            result = handle.result(60)

    assert result == EXPECTED
    assert len(kept.snapshot.open_tasks) + kept.snapshot.counts[0] == COUNT
    assert len(kept.blobs) < FREE
    assert executions(tmp_path) == ONCE_EACH


@pytest.mark.parametrize("journal", [True, False], ids=["journalled", "in memory"])
def test_a_killed_host_goes_on_from_a_snapshot(tmp_path, journal):
    if not journal:
        pytest.skip("nobody outside sees a snapshot that is in memory")
    with journalled(tmp_path) as (_, url), slave_process(url, workers=2), application(url) as node:
        handle = run_until_a_snapshot(node, tmp_path, restarts=1)

        (system,) = node.status()["systems"]
        os.kill(system["host_pid"], signal.SIGKILL)
        open_gate(tmp_path)
        result = handle.result(60)

    assert result == EXPECTED
    assert executions(tmp_path) == ONCE_EACH
