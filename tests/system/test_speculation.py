"""Straggler copies with real processes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from concurro import ITaskSystem, LocalCluster, Task


class HangsOnce(Task):
    """Hangs when it finds no marker, which it leaves behind."""

    def __init__(self, number, marker, hangs):
        super().__init__(f"hangs-once-{number}")
        self.marker = marker
        self.hangs = hangs

    def __call__(self):
        if self.hangs:
            try:
                Path(self.marker).touch(exist_ok=False)
            except FileExistsError:
                return "of the copy"
            time.sleep(300)
        return "quick"


class AtMostOnce(HangsOnce):
    """Hangs, and must not run twice."""

    max_retries = 0


class Tail(ITaskSystem):
    """Quick tasks, then one that hangs."""

    speculate = True

    def __init__(self, marker, task_class):
        super().__init__()
        self.marker = marker
        self.task_class = task_class
        self.results = []

    def generate_tasks(self, master):
        return (self.task_class(number, self.marker, number == 5) for number in range(6))

    def task_finished(self, master, task, result, error):
        self.results.append(result if error is None else error.type_name)

    def is_complete(self, master):
        return len(self.results) == 6

    def gather_result(self, master):
        return self.results, None


@pytest.mark.slow
def test_a_task_that_hangs_is_done_by_its_copy(tmp_path):
    with LocalCluster(workers=1, slaves=2) as cluster:
        results = cluster.run(Tail(str(tmp_path / "marker"), HangsOnce), timeout=60)

    assert sorted(results) == ["of the copy"] + ["quick"] * 5


@pytest.mark.slow
def test_a_task_that_may_run_once_only_is_not_copied(tmp_path):
    with LocalCluster(workers=1, slaves=2) as cluster, pytest.raises(TimeoutError):
        cluster.run(Tail(str(tmp_path / "marker"), AtMostOnce), timeout=2.5)

    assert (tmp_path / "marker").exists()
