"""What an inline cluster says to code that waits for itself."""

from __future__ import annotations

import concurrent.futures
import os
import threading

import pytest

from concurro import LocalCluster, Task, TaskSystem, WaitInCallbackError, current_application


class Nothing(Task):
    def __init__(self, work=None):
        super().__init__("nothing")
        self.work = work

    def __call__(self):
        return None if self.work is None else self.work(self.system_id)


class Waiting(TaskSystem):
    """Waits for itself, in a callback or in its task."""

    def __init__(self, wait, *, in_task=False):
        super().__init__()
        self.wait = wait
        self.in_task = in_task
        self.said = None

    def generate_tasks(self, master):
        return [Nothing(self.wait if self.in_task else None)]

    def task_finished(self, master, task, result, error):
        if error is not None:
            self.said = error.type_name, error.message
            return
        try:
            self.wait(self.system_id)
        except WaitInCallbackError as fault:
            self.said = type(fault).__name__, str(fault)

    def is_complete(self, master):
        return True

    def gather_result(self, master):
        return self.said, None


def own(system_id):
    return current_application().attach(system_id)


@pytest.fixture
def inline():
    with LocalCluster(inline=True, config={}) as cluster:
        yield cluster


@pytest.mark.parametrize("in_task", [False, True])
@pytest.mark.parametrize(
    ("wait", "named"),
    [
        (lambda system_id: own(system_id).result(60), True),
        (lambda system_id: own(system_id).exception(), True),
        (lambda system_id: next(own(system_id).partial_results()), True),
        (lambda system_id: concurrent.futures.wait([own(system_id)], 60), False),
    ],
)
def test_who_waits_for_its_own_system_is_told_that_it_never_ends(inline, wait, named, in_task):
    system = Waiting(wait, in_task=in_task)

    type_name, message = inline.run(system)

    assert type_name == "WaitInCallbackError"
    assert f"would wait for {f'system {system.system_id} (Waiting)' if named else 'several futures'}" in message
    assert "for ever" in message


def test_another_thread_may_wait_for_a_system_that_runs_inline(inline):
    seen = []
    threads = []

    def wait_elsewhere(system_id):
        handle = own(system_id)
        threads.append(threading.Thread(target=lambda: seen.append(handle.result(30))))
        threads[0].start()

    inline.run(Waiting(wait_elsewhere))
    threads[0].join(30)

    assert seen == [None]


def test_an_inline_cluster_lists_itself_as_its_slave(inline):
    [slave] = inline.slaves

    assert (slave.id, slave.pid, slave.workers) == ("inline", os.getpid(), ())


def test_output_is_not_kept_where_tasks_print_directly(inline):
    handle = inline.submit(Waiting(lambda system_id: None))

    with pytest.raises(LookupError, match="keeps no output: its tasks print directly"):
        handle.output(f"{handle.system_id}:0")
