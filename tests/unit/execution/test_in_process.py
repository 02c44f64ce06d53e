"""Tasks in the caller's own thread, where Ctrl-C is the user's."""

from __future__ import annotations

import signal
import threading

import pytest

from concurro.errors import TaskCancelled
from concurro.execution.inline import InlineTasks
from concurro.task import Task


class Interrupted(Task):
    """Raises where somebody pressed Ctrl-C; notes whether it cleaned up."""

    def __init__(self, *, cleaning=False, **fields):
        super().__init__("interrupted", **fields)
        self.cleaning = cleaning
        self.cleaned = 0

    def __call__(self):
        if not self.cleaning:
            raise KeyboardInterrupt

    def clean_up(self):
        self.cleaned += 1
        if self.cleaning:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def ctrl_c_is_pythons():
    """Have Python's own taker of SIGINT, whatever the test run was started with."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def manager():
    manager = InlineTasks()
    manager.start()
    return manager


@pytest.fixture
def own_handler():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("cleaning", [False, True])
def test_ctrl_c_in_a_task_reaches_who_pushed_it(manager, cleaning):
    task = Interrupted(cleaning=cleaning, max_retries=3)

    with pytest.raises(KeyboardInterrupt):
        manager.push_task(task)

    assert (task.attempt, task.cleaned) == (1, 1)


def test_a_task_that_ctrl_c_ended_is_final_as_cancelled(manager):
    task = Interrupted()

    with pytest.raises(KeyboardInterrupt):
        manager.push_task(task)

    manager.wait_for_all(0)
    ended, result, error = manager.get_results_queue().get_nowait()
    assert (ended, result, type(error)) == (task, None, TaskCancelled)


def test_ctrl_c_in_task_finished_reaches_who_pushed_the_task_and_it_is_final(manager):
    def interrupted(task, result, error):
        raise KeyboardInterrupt

    manager.task_finished = interrupted

    with pytest.raises(KeyboardInterrupt):
        manager.push_task(Task("any"))

    manager.wait_for_all(0)
    assert manager.get_results_queue().qsize() == 1


def test_where_ctrl_c_raises_nothing_a_keyboard_interrupt_is_the_task_s_failure(manager, own_handler):
    manager.push_task(Interrupted())

    _, _, error = manager.get_results_queue().get_nowait()
    assert error.type_name == "KeyboardInterrupt"


def test_in_another_thread_a_keyboard_interrupt_is_the_task_s_failure(manager):
    thread = threading.Thread(target=manager.push_task, args=(Interrupted(),))

    thread.start()
    thread.join()

    _, _, error = manager.get_results_queue().get_nowait()
    assert error.type_name == "KeyboardInterrupt"
