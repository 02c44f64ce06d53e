"""Real masters and hosts killed at steps of the host protocol; tests/unit tries every one of them."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from concurro import ITaskSystem, LocalCluster, Task
from tests.support.jobs import leave_trace, open_gate, wait_for_gate
from tests.support.journalled import Steps, application, executions, journalled, kill
from tests.support.nodes import slave_process
from tests.support.waiting import wait_until

COUNT = 40

KILL = """
import importlib, os, signal
module = importlib.import_module({module!r})
owner = getattr(module, {owner!r})
act, calls = getattr(owner, {name!r}), []
def step(*arguments, **options):
    calls.append(1)
    if len(calls) == {nth} and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    answer = act(*arguments, **options)
    if len(calls) == {nth}:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
setattr(owner, {name!r}, step)
"""

TABLE = ("concurro.scheduling.systems", "SystemTable")
STORE = ("concurro.journal.store", "JournalStore")
KEEPER = ("concurro.nodes.keeper", "Keeper")

STEPS = [
    (*TABLE, "submit", 1, False),
    (*STORE, "apply", 2, True),  # the first one is of a slave
    (*STORE, "apply", 2, False),
    (*TABLE, "recorded", 1, False),
    (*TABLE, "host_started", 1, True),
    (*TABLE, "host_started", 1, False),
    (*TABLE, "output", 1, True),
    (*TABLE, "output", 2, False),
    (*KEEPER, "hold", 1, False),
    (*TABLE, "finished", 1, True),
    (*TABLE, "finished", 2, False),
    (*STORE, "apply", 6, True),
    (*STORE, "apply", 6, False),
    (*TABLE, "output", 6, False),
    (*TABLE, "_end", 1, False),
    (*TABLE, "_end_kept", 1, True),
]
QUICK = (3, 10)

CALLBACKS = [
    "__setstate__",
    "init_system",
    "generate_tasks",
    "finished",
    "task_finished",
    "is_complete",
    "gather_result",
]


def as_parameter(number, step):
    """Return a step under its name, for the quick suite or the slow one."""
    _, _, name, nth, before = step
    when = f"{'before' if before else 'after'} {name.strip('_')} {nth}"
    return pytest.param(step, id=when, marks=[] if number in QUICK else pytest.mark.slow)


class Echo(Task):
    """Leaves a trace; its host may be killed when it is told of it."""

    def __init__(self, number, folder, deadly):
        super().__init__(str(number))
        self.folder = folder
        self.deadly = deadly

    def __call__(self):
        leave_trace(self.folder, self.name)
        return int(self.name)

    def finished(self, result, error):
        if self.deadly:
            die_once(self.folder, "finished")


class Deadly(ITaskSystem):
    """Kills its host in one of its callbacks, once."""

    def __init__(self, folder, deadly):
        super().__init__()
        self.folder = str(folder)
        self.deadly = deadly
        self.words = {f"word-{number}" for number in range(10)}
        self.seen = set()

    def __setstate__(self, state):
        vars(self).update(state)
        self.die("__setstate__")

    def die(self, callback):
        if callback == self.deadly:
            die_once(self.folder, callback)

    def init_system(self, master):
        self.die("init_system")

    def generate_tasks(self, master):
        for word in self.words:
            if len(self.seen) < 3:
                self.die("generate_tasks")
            yield Echo(int(word[5:]), self.folder, self.deadly == "finished")

    def task_finished(self, master, task, result, error):
        self.die("task_finished")
        self.seen.add(result)

    def is_complete(self, master):
        self.die("is_complete")
        return len(self.seen) == len(self.words)

    def gather_result(self, master):
        self.die("gather_result")
        return sorted(self.seen), None


class LongCallback(Steps):
    """Its first callback waits at the gate."""

    def task_finished(self, master, task, result, error):
        if not self.seen:
            leave_trace(self.folder, -1)
            wait_for_gate(self.folder)
        super().task_finished(master, task, result, error)


def die_once(folder, callback):
    """Kill this process, the first time."""
    mark = Path(folder, f"died in {callback}")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def run_with_a_kill(folder, step):
    """Run a job under a master that is killed at a step; return the result."""
    open_gate(folder)
    names = ("module", "owner", "name", "nth", "before")
    prelude = KILL.format(**dict(zip(names, step, strict=True)))
    with (
        journalled(folder, prelude=prelude) as (master, url),
        slave_process(url, workers=2),
        application(url) as node,
        ThreadPoolExecutor(1) as beside,
    ):
        submission = beside.submit(node.submit, Steps(COUNT, folder, once=True))
        assert master.wait(30) == -signal.SIGKILL
        with journalled(folder):
            return submission.result(60).result(60)


@pytest.mark.slow
@pytest.mark.parametrize("step", [as_parameter(number, step) for number, step in enumerate(STEPS)])
def test_a_master_that_is_killed_at_any_step_loses_nothing(tmp_path, step):
    seen, lost = run_with_a_kill(tmp_path, step)

    assert sorted([*seen, *(number for number, _, _ in lost)]) == list(range(COUNT))
    assert max(executions(tmp_path).values()) == 1


@pytest.mark.slow
def test_a_host_may_be_killed_in_every_callback(tmp_path):
    results = {}
    with LocalCluster(workers=2) as cluster:
        for callback in CALLBACKS:
            folder = tmp_path / callback
            folder.mkdir()
            results[callback] = cluster.submit(Deadly(folder, callback), restarts=1).result(60)

    assert results == {callback: list(range(10)) for callback in CALLBACKS}
    for callback in CALLBACKS:
        assert (tmp_path / callback / f"died in {callback}").exists()
        assert executions(tmp_path / callback) == dict.fromkeys(range(10), 1)


@pytest.mark.slow
def test_a_master_may_be_killed_during_a_long_callback(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        handle = node.submit(LongCallback(COUNT, tmp_path))
        wait_until(lambda: executions(tmp_path)[-1] == 1 and len(executions(tmp_path)) == COUNT + 1, 30, "a callback")

        kill(master)
        with journalled(tmp_path):
            wait_until(lambda: executions(tmp_path)[-1] == 2, 30, "the callback once more")
            open_gate(tmp_path)
            seen, lost = handle.result(60)

    runs = executions(tmp_path)
    del runs[-1]
    assert (seen, lost) == (list(range(COUNT)), [])
    assert runs == dict.fromkeys(range(COUNT), 1)
