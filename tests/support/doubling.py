"""A job of large arrays: each task gets one, and gives another back."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from concurro import Task, TaskSystem
from tests.support.jobs import leave_trace, wait_for_gate

COUNT = 2**18
"""Of float64: 2 MiB, which is mapped on one machine."""


class Double(Task):
    """Doubles its array; waits at the gate first, if it is one of those that do."""

    def __init__(self, number, folder, count=COUNT, *, waits):
        super().__init__(str(number))
        self.array = np.full(count, float(number))
        self.folder = folder
        self.waits = waits

    def __call__(self):
        leave_trace(self.folder, self.name, os.getpid())
        if self.waits:
            wait_for_gate(self.folder)
        return self.array * 2


class Doubling(TaskSystem):
    """Doubles arrays, keeps what comes back, and adds it; tasks after the first ones wait at the gate.

    Those come when the first ones are done.
    """

    def __init__(self, count, free, folder):
        super().__init__()
        self.count = count
        self.free = free
        self.folder = str(folder)
        self.kept = {}
        self.wrong = []

    def generate_tasks(self, master):
        begun = len(self.kept)
        last = self.count if begun else self.free
        return [Double(number, self.folder, waits=number >= self.free) for number in range(begun, last)]

    def task_finished(self, master, task, result, error):
        number = int(task.name)
        if error is not None:
            self.wrong.append(f"{number}: {error}")
        elif not np.all(result == 2.0 * number) or not np.all(task.array == number):
            self.wrong.append(f"{number}: {result[:3]} of {task.array[:3]}")
        self.kept[number] = result
        master.publish(number)

    def is_complete(self, master):
        return len(self.kept) == self.count

    def gather_result(self, master):
        return (self.wrong, sum(self.kept.values())), None


def is_right(gathered, count):
    """Say whether this is what a job of so many tasks gathers."""
    wrong, total = gathered
    return not wrong and total.shape == (COUNT,) and bool(np.all(total == count * (count - 1)))


def segments(pid):
    """Return how many segments a process has open or mapped; none when it has ended."""
    inodes = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        with Path(f"/proc/{pid}/maps").open() as maps:
            inodes |= {line.split()[4] for line in maps if "memfd:concurro" in line}
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if "memfd:concurro" in str(descriptor.readlink()):
                    inodes.add(str(descriptor.stat().st_ino))
    return len(inodes)
