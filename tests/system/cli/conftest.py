"""Jobs in files of their own, for the commands."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SLEEPING = """
import time
from pathlib import Path
from concurro import Task, TaskSystem

class Sleep(Task):
    def __init__(self, seconds, started):
        super().__init__("sleep")
        self.seconds = seconds
        self.started = started

    def __call__(self):
        Path(self.started).touch()
        time.sleep(self.seconds)
        return 1

class Sleeping(TaskSystem):
    '''Sleep `seconds` in each of `n` tasks; the file `started` tells that one runs.'''

    def __init__(self, started: Path, n: int = 4, seconds: float = 60.0):
        super().__init__()
        self.started, self.n, self.seconds = str(started), n, seconds
        self.done = 0

    def generate_tasks(self, master):
        yield Sleep(0.0, self.started + ".first")
        for _ in range(self.n):
            yield Sleep(self.seconds, self.started)

    def task_finished(self, master, task, result, error):
        self.done += 1
        master.report_progress(self.done, self.n + 1, "sleeping")

    def is_complete(self, master):
        return self.done == self.n + 1

    def gather_result(self, master):
        return f"{self.done} slept", None
"""

FAILING = """
from concurro import Task, TaskSystem
from dividing import divide

class Divide(Task):
    def __call__(self):
        return divide(1, 0)

class Failing(TaskSystem):
    '''Fail in the task, in a callback, or with an error of its own.'''

    def __init__(self, where: str = "task"):
        super().__init__()
        self.where = where

    def generate_tasks(self, master):
        return [Divide("divide")]

    def task_finished(self, master, task, result, error):
        if self.where == "task":
            raise error
        if self.where == "callback":
            raise RuntimeError("the callback failed")

    def is_complete(self, master):
        return True

    def gather_result(self, master):
        return None, LookupError("nothing was found")
"""

DIVIDING = """
def divide(a, b):
    return a / b
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """A folder with jobs: sleeping.py, failing.py."""
    for name, text in {"sleeping": SLEEPING, "failing": FAILING, "dividing": DIVIDING}.items():
        (tmp_path / f"{name}.py").write_text(dedent(text))
    return tmp_path
