"""A job whose steps leave traces, and masters with a journal to be killed under it."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter

from concurro import ApplicationNode, ITaskSystem
from tests.support.jobs import SHIPPED, Traced, leave_trace, read_trace, wait_for_gate
from tests.support.nodes import master_process
from tests.support.waiting import wait_until

FREE = 50
"""So many tasks of a job run at once; the others wait at the gate."""


class Step(Traced):
    """Says that it ran; its number is its result."""

    def __init__(self, number, folder, *, waits, once):
        super().__init__(str(number), folder)
        self.waits = waits
        self.max_retries = 0 if once else None

    def __call__(self):
        leave_trace(self.folder, self.name, os.getpid(), self.attempt)
        if self.waits:
            wait_for_gate(self.folder)
        return int(self.name)


class Steps(ITaskSystem):
    """Publishes the number of each finished task; those after the first ones wait at the gate."""

    def __init__(self, count, folder, *, once=False):
        super().__init__()
        self.count = count
        self.folder = str(folder)
        self.once = once
        self.seen = []
        self.lost = []

    def generate_tasks(self, master):
        # In a round of their own: a task at the gate must not have the worker that a free one waits for.
        first = len(self.seen) + len(self.lost)
        for number in range(first, self.count if first else min(self.count, FREE)):
            yield Step(number, self.folder, waits=number >= FREE, once=self.once)

    def task_finished(self, master, task, result, error):
        if error is None:
            self.seen.append(result)
            master.publish(result)
        else:
            self.lost.append((int(task.name), error.type_name, error.message))

    def is_complete(self, master):
        return len(self.seen) + len(self.lost) == self.count

    def gather_result(self, master):
        return (sorted(self.seen), self.lost), None


def journalled(folder, master=None, **options):
    """Start a master on the journal of a folder, the same one each time.

    Options are those of `master_process`; `prelude` is code that its process runs first.
    """
    return master_process(folder, master={"journal": str(folder / "journal"), **(master or {})}, **options)


def application(url):
    """Connect to a master, and keep trying for a while."""
    return ApplicationNode(url, config={"application": {**SHIPPED["application"], "connect_timeout": 30.0}})


def kill(process):
    """Kill a node and wait for its end."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)


def executions(folder):
    """Return how often each step ran."""
    return Counter(int(line[0]) for line in read_trace(folder))


def run_until_the_gate(node, system, **options):
    """Submit a system and wait until all that runs at once is on disk."""
    handle = node.submit(system, **options)
    published = handle.partial_results()
    assert sorted(itertools.islice(published, FREE)) == list(range(FREE))
    wait_until(lambda: len(executions(system.folder)) > FREE, 30, "a task at the gate")
    return handle
