"""A failed task is saved, and `concurrent replay` fails in the same way."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from concurro import LocalCluster, NothingToSaveError, Task, TaskSystem
from tests.support.jobs import SHIPPED, Square
from tests.support.programs import command, run_program

CONCURRENT = command("concurrent")

JOB = """
import ctypes
import sys

import numpy as np

from concurro import Task, TaskSystem, current_application
from neighbour import divide


class Poison(Task):
    def __init__(self, way, numbers=None):
        super().__init__(way, max_retries=0)
        self.way = way
        self.numbers = numbers

    def __call__(self):
        print("at work")
        if self.way == "neighbour":
            return divide(self.attempt, 0)
        if self.way == "late":
            from late import refuse
            return refuse(self.task_id, self.slave_id)
        if self.way == "large":
            raise LookupError(f"sum {self.numbers.sum():g}")
        if self.way == "crash":
            ctypes.string_at(0)
        if self.way == "exit":
            sys.exit(4)
        if self.way == "ask":
            return len(current_application().run(None))
        if self.way == "unpicklable":
            return sys._getframe()
        if self.way == "luck" and "concurro.cli.replay" not in sys.modules:
            raise OSError("bad luck")
        return "fine"


class Job(TaskSystem):
    def __init__(self, folder: str):
        super().__init__()
        self.folder = folder
        self.left = 8

    def generate_tasks(self, master):
        yield Poison("large", np.arange(100_000.0))
        for way in ("neighbour", "late", "crash", "exit", "ask", "unpicklable", "luck"):
            yield Poison(way)

    def task_finished(self, master, task, result, error):
        self.left -= 1
        error.save(f"{self.folder}/{task.name}")

    def is_complete(self, master):
        return not self.left

    def gather_result(self, master):
        return "saved", None
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Give the folder in which a job, gone since, has saved its tasks."""
    job = tmp_path_factory.mktemp("job")
    folder = tmp_path_factory.mktemp("saved")
    (job / "job.py").write_text(JOB)
    (job / "neighbour.py").write_text("def divide(a, b):\n    return a / b\n")
    (job / "late.py").write_text("def refuse(*facts):\n    raise PermissionError(*facts)\n")
    run = run_program(CONCURRENT, "run", "job.py", "-p", f"folder={folder}", "--workers", 2, cwd=job)
    assert run.stdout == "saved\n"
    for file in job.glob("*.py"):
        file.unlink()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "raised"),
    [
        ("neighbour", "ZeroDivisionError: division by zero"),
        ("large", "LookupError: sum 4.99995e+09"),
        ("exit", "SystemExit: 4"),
        ("ask", "NoApplicationError: a replayed task has no cluster: current_application() has nobody to ask"),
        ("unpicklable", "NotPicklableError: frame cannot travel"),
    ],
)
def test_a_replayed_task_raises_what_it_raised(saved, tmp_path, way, raised):
    run = run_program(CONCURRENT, "replay", saved / way, cwd=tmp_path, expect=1)

    assert run.stdout == ""
    assert raised in run.stderr.splitlines()[-1]
    assert f"task '{way}' (job.Poison), " in run.stderr
    assert f"This runs the code in {saved / way} as you: replay only files that you trust." in run.stderr


def test_a_replayed_task_imports_its_neighbours_and_knows_who_it_is(saved, tmp_path):
    run = run_program(CONCURRENT, "replay", saved / "late", cwd=tmp_path, expect=1)

    first, *_, last = run.stderr.splitlines()
    task_id = first.split(", ")[1]
    slave = first.rpartition(" on slave ")[2]
    assert last == f"PermissionError: [Errno {task_id}] {slave}"


def test_a_replayed_crash_says_how_to_look_at_it(saved, tmp_path):
    run = run_program(CONCURRENT, "replay", saved / "crash", cwd=tmp_path, expect=-11)

    assert "it ended with WorkerLost: the worker died: killed by SIGSEGV" in run.stderr
    assert f" replay --no-debugger {saved / 'crash'}" in run.stderr
    assert "Fatal Python error: Segmentation fault" in run.stderr


def test_a_task_that_does_not_fail_here_gives_its_result(saved, tmp_path):
    run = run_program(CONCURRENT, "replay", saved / "luck", cwd=tmp_path)

    assert run.stdout == "'fine'\n"
    assert "it ended with OSError: bad luck" in run.stderr


def test_in_a_terminal_the_debugger_stands_where_the_task_failed(saved, tmp_path):
    terminal, its_end = pty.openpty()
    os.write(terminal, b"p 'the way is', a, b\nup\np self.way\nq\n")

    run = subprocess.run(
        [CONCURRENT, "replay", saved / "neighbour"],
        stdin=its_end, capture_output=True, cwd=tmp_path, timeout=60, check=False, text=True,
    )  # fmt: skip

    os.close(terminal)
    os.close(its_end)
    assert run.returncode == 1
    assert "('the way is', 1, 0)" in run.stdout
    assert "'neighbour'" in run.stdout


def test_a_damaged_file_is_refused(saved, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.write_bytes((saved / "large").read_bytes()[:-100])

    run = run_program(CONCURRENT, "replay", damaged, cwd=tmp_path, expect=2)

    assert f"{damaged} is damaged" in run.stderr


class Raising(Task):
    """Raises an error."""

    def __call__(self):
        message = "refused"
        raise ValueError(message)


@pytest.mark.slow
@pytest.mark.parametrize("inline", [False, True], ids=["in a worker", "inline"])
def test_the_future_of_a_pushed_task_saves_it(tmp_path, inline):
    file = tmp_path / "pushed.task"
    with LocalCluster(workers=1, config=SHIPPED, inline=inline) as cluster:
        future = cluster.push_task(Raising("raising"))
        future.exception(30)
        fine = cluster.push_task(Square(1))
        fine.result(30)

        future.save_task(file)
        with pytest.raises(NothingToSaveError, match="has not failed"):
            fine.save_task(tmp_path / "fine.task")

    run = run_program(CONCURRENT, "replay", file, cwd=tmp_path, expect=1)
    assert run.stderr.splitlines()[-1] == "ValueError: refused"


class AllFail(TaskSystem):
    """Gathers nothing but how many tasks failed."""

    def __init__(self, count):
        super().__init__()
        self.count = count
        self.failed = 0

    def generate_tasks(self, master):
        del master
        return (Raising("raising") for _ in range(self.count))

    def task_finished(self, master, task, result, error):
        del master, task, result
        self.failed += error is not None

    def is_complete(self, master):
        del master
        return self.failed == self.count

    def gather_result(self, master):
        del master
        return self.failed, None


@pytest.mark.slow
@pytest.mark.parametrize("inline", [False, True], ids=["in workers", "inline"])
def test_the_first_failures_are_saved_where_the_configuration_says(tmp_path, caplog, inline):
    config = {"application": {**SHIPPED["application"], "save_failed": str(tmp_path / "failed")}}
    system = AllFail(25)
    with LocalCluster(workers=1, config=config, inline=inline) as cluster:
        assert cluster.run(system, timeout=30) == 25
        pushed = cluster.push_task(Raising("pushed"))
        pushed.exception(30)

    saved = {file.name for file in (tmp_path / "failed").iterdir()}
    assert saved == {f"{system.system_id}-{n}.task" for n in range(20)} | {f"{pushed.task_id.replace(':', '-')}.task"}
    told = [line for line in caplog.messages if "a failed task is saved: concurrent replay " in line]
    assert len(told) == (1 if inline else 2)
    run = run_program(CONCURRENT, "replay", tmp_path / "failed" / min(saved), cwd=tmp_path, expect=1)
    assert run.stderr.splitlines()[-1] == "ValueError: refused"


@pytest.mark.slow
def test_a_job_goes_on_when_its_failures_cannot_be_saved(tmp_path, caplog):
    in_the_way = tmp_path / "a file"
    in_the_way.touch()
    system = AllFail(3)
    system.save_failed = str(in_the_way)
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        assert cluster.run(system, timeout=30) == 3

    [told] = [line for line in caplog.messages if "failed tasks are not saved" in line]
    assert str(in_the_way) in told
