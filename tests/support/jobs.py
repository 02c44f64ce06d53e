"""Jobs and tasks that several tests run; their traces are files, outside the code under test."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from concurro import Task, TaskError, TaskSystem

SHIPPED = {"application": {"ship": [str(Path(__file__).parents[1])]}}
"""Settings with which the classes of the tests travel: workers cannot import them."""

GATE_LIMIT = 60.0


def leave_trace(folder: str | Path, *words: object) -> None:
    """Append one line to `folder/trace`, whole even when several processes write."""
    line = " ".join(str(word) for word in words) + "\n"
    fd = os.open(f"{folder}/trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(fd, line.encode())
    os.close(fd)


def read_trace(folder: str | Path) -> list[list[str]]:
    """Return the lines that tasks left in `folder`, as words."""
    path = Path(folder, "trace")
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_gate(folder: str | Path) -> None:
    """Wait until somebody makes `folder/gate`."""
    deadline = time.monotonic() + GATE_LIMIT
    while not os.path.exists(f"{folder}/gate"):  # noqa: PTH110 - it travels to workers as it is
        if time.monotonic() > deadline:
            message = "nobody opened the gate"
            raise TimeoutError(message)
        time.sleep(0.005)


def open_gate(folder: str | Path) -> None:
    """Let every task that waits at the gate go on."""
    Path(folder, "gate").touch()


class Square(Task):
    """Returns n squared."""

    def __init__(self, n: int) -> None:
        super().__init__(f"square-{n}")
        self.n = n

    def __call__(self) -> int:
        return self.n * self.n


class Traced(Task):
    """Leaves `name pid attempt slave` in a folder, then returns its pid."""

    def __init__(self, name: str, folder: str | Path) -> None:
        super().__init__(name)
        self.folder = str(folder)

    def __call__(self) -> int:
        leave_trace(self.folder, self.name, os.getpid(), self.attempt, self.slave_id)
        return os.getpid()


class Waiting(Traced):
    """As Traced, and then waits at the gate of its folder."""

    def __call__(self) -> int:
        super().__call__()
        wait_for_gate(self.folder)
        return os.getpid()


class Brief(Traced):
    """As Traced, but takes a moment, and returns its name."""

    def __call__(self) -> str:
        super().__call__()
        time.sleep(0.01)
        return self.name


def brief_tasks(folder: str | Path, count: int = 100) -> list[Brief]:
    """Return tasks that each leave a trace."""
    return [Brief(f"brief-{n}", folder) for n in range(count)]


@dataclass
class Report:
    """What a `Mixture` saw."""

    results: dict[str, Any] = field(default_factory=dict)
    errors: list[TaskError] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    slaves: dict[str, str | None] = field(default_factory=dict)


class Mixture(TaskSystem):
    """Runs any tasks, and reports how each ended."""

    def __init__(self, *tasks: Task) -> None:
        super().__init__()
        self.tasks = tasks
        self.report = Report()

    def generate_tasks(self, master):
        return iter(self.tasks)

    def task_finished(self, master, task, result, error):
        report = self.report
        report.finished.append(task.name)
        report.attempts[task.name] = task.attempt
        report.slaves[task.name] = task.slave_id
        if error is None:
            report.results[task.name] = result
        else:
            report.errors.append(error)

    def is_complete(self, master):
        return len(self.report.finished) == len(self.tasks)

    def gather_result(self, master):
        return self.report, None


def run_among_others(cluster, *bad: Task, timeout: float = 30) -> list[TaskError]:
    """Run bad tasks among good ones; prove the good ones unaffected; return the errors."""
    good = [Square(n) for n in range(20)]
    report = cluster.run(Mixture(*good[:10], *bad, *good[10:]), timeout=timeout)
    expected = {f"square-{n}": n * n for n in range(20)}
    assert {name: report.results.get(name) for name in expected} == expected
    assert sorted(report.finished) == sorted([*expected, *(task.name for task in bad)])
    return report.errors


def traced(folder: str | Path) -> Counter[str]:
    """Return how often each task ran."""
    return Counter(line[0] for line in read_trace(folder))


def assert_ran_once(report: Report, folder: str | Path, tasks: list[Brief]) -> None:
    """Prove that each task ran once, was tried once, and that its result was taken once."""
    names = {task.name for task in tasks}
    assert report.errors == []
    assert report.results == {name: name for name in names}
    assert set(Counter(report.finished).values()) == {1}
    assert set(report.attempts.values()) == {1}
    assert traced(folder) == dict.fromkeys(names, 1)
