"""Long systems whose master or host is killed: they go on from a snapshot."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from concurro import MasterNode, TaskSystem
from concurro.journal.folder import JournalFolder
from concurro.journal.store import JournalStore
from concurro.scheduling.snapshots import SNAPSHOT_ENTRIES
from tests.support.jobs import Traced, leave_trace, open_gate, wait_for_gate
from tests.support.journalled import application, executions, journalled, kill
from tests.support.nodes import slave_process
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

INIT = -1
"""In the trace, for `init_system`: a host that begins with a snapshot does not call it."""

LARGE = 120_000
"""Numbers in a large result: 24 of these are more than the bytes of inputs after which a snapshot is taken."""

FREE = 24
AT_THE_GATE = 6
MANY = SNAPSHOT_ENTRIES + 500


class Filled(Traced):
    """Returns an array of its number; waits at the gate first if it is one of the last."""

    def __init__(self, number, size, folder, *, waits):
        super().__init__(str(number), folder)
        self.size = size
        self.waits = waits

    def __call__(self):
        leave_trace(self.folder, self.name, self.attempt)
        if self.waits:
            wait_for_gate(self.folder)
        return np.full(self.size, float(self.name))


class Fill(TaskSystem):
    """Adds arrays; holds its master, has chance in its result, and says when its last tasks are on disk."""

    def __init__(self, folder, free, size):
        super().__init__()
        self.folder = str(folder)
        self.free = free
        self.count = free + AT_THE_GATE
        self.size = size
        self.total = np.zeros(size)
        self.seen = []
        self.chances = []

    def init_system(self, master):
        self.master = master
        leave_trace(self.folder, INIT)

    def generate_tasks(self, master):
        # In a round of their own: a task at the gate must not have the worker that a free one waits for.
        first = len(self.seen)
        if first:
            master.publish("at the gate")
        return [
            Filled(number, self.size, self.folder, waits=first > 0)
            for number in range(first, self.count if first else self.free)
        ]

    def task_finished(self, master, task, result, error):
        assert master is self.master
        self.total += result
        self.seen.append(int(task.name))
        self.chances.append(self.master.random.random())

    def is_complete(self, master):
        return len(self.seen) == self.count

    def gather_result(self, master):
        return (float(self.total.sum()), sorted(self.seen), len(set(self.chances))), None


def expected(free, size):
    """Return the result of a system, and how often it and its tasks ran."""
    numbers = list(range(free + AT_THE_GATE))
    return (float(size * sum(numbers)), numbers, len(numbers)), dict.fromkeys([INIT, *numbers], 1)


def snapshots_in(folder):
    """Return how many snapshots a journal has that a master uses."""
    with closing(sqlite3.connect(f"file:{folder}/journal/journal.db?mode=ro", uri=True)) as database:
        return database.execute("SELECT count(*) FROM snapshots").fetchone()[0]


def run_until_a_snapshot(node, folder, free=FREE, size=LARGE, **options):
    handle = node.submit(Fill(folder, free, size), **options)
    assert next(handle.partial_results()) == "at the gate"
    wait_until(lambda: snapshots_in(folder) == 1, 60, "a snapshot in the journal")
    return handle


def kill_host(node):
    (system,) = node.status()["systems"]
    os.kill(system["host_pid"], signal.SIGKILL)
    wait_until(lambda: node.status()["systems"][0]["host_pid"] not in (None, system["host_pid"]), 30, "another host")


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

    assert (result, executions(tmp_path)) == expected(FREE, LARGE)
    assert kept.snapshot.emitted >= FREE
    assert len(kept.blobs) < FREE


def test_a_killed_host_goes_on_from_a_snapshot(tmp_path):
    with journalled(tmp_path) as (_, url), slave_process(url, workers=2), application(url) as node:
        handle = run_until_a_snapshot(node, tmp_path, restarts=1)

        kill_host(node)
        open_gate(tmp_path)
        result = handle.result(60)

    assert (result, executions(tmp_path)) == expected(FREE, LARGE)


def test_a_killed_host_goes_on_from_a_snapshot_in_memory(tmp_path):
    with (
        MasterNode({"master": {"listen": f"ipc://{tmp_path}/master"}}) as master,
        slave_process(master.url, workers=2),
        application(master.url) as node,
    ):
        handle = node.submit(Fill(tmp_path, FREE, LARGE), restarts=1)
        life = master._table.find(handle.system_id)
        wait_until(lambda: life.history.snapshot is not None, 60, "a snapshot in memory")

        kill_host(node)
        open_gate(tmp_path)
        result = handle.result(60)

    assert (result, executions(tmp_path)) == expected(FREE, LARGE)


def test_host_and_master_of_a_system_with_many_inputs_are_killed_and_nothing_runs_again(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        handle = run_until_a_snapshot(node, tmp_path, MANY, 1, restarts=1)

        kill_host(node)
        kill(master)
        open_gate(tmp_path)
        with journalled(tmp_path):
            result = handle.result(60)

    assert (result, executions(tmp_path)) == expected(MANY, 1)
