"""What every ITaskManager promises, checked on each that comes with Concurrent."""

from __future__ import annotations

import threading

import pytest

from concurro.errors import (
    ClosedError,
    InvalidTaskError,
    TaskCancelled,
    TaskError,
    TaskTimeout,
)
from concurro.interfaces import ITaskManager
from concurro.kernel import Environment
from concurro.task import Task
from tests.support.leftovers import watch_leftovers
from tests.support.waiting import wait_until

NAMES = ("process-pool", "thread-pool", "inline")
LIMIT = 30.0


class Square(Task):
    def __init__(self, number):
        super().__init__(f"square-{number}")
        self.number = number

    def __call__(self):
        return self.number**2


class Lasting(Task):
    """Keeps an argument under a name that a figure of ours could have."""

    def __init__(self, duration):
        super().__init__("wait")
        self.duration = duration

    def __call__(self):
        return self.duration


class Divide(Task):
    def __call__(self):
        return 1 // 0


class Exit(Task):
    def __call__(self):
        raise SystemExit(0)


class Interrupted(Task):
    def __call__(self):
        raise KeyboardInterrupt


class TouchTwice(Task):
    """Fails at the first attempt only; a file is the witness."""

    def __init__(self, path, **fields):
        super().__init__("touch-twice", **fields)
        self.path = path

    def __call__(self):
        with self.path.open("a") as file:
            file.write("x")
        if self.path.stat().st_size == 1:
            message = "the first attempt fails"
            raise RuntimeError(message)
        return self.attempt


class CleanUp(Task):
    """Leaves a file when it cleans up."""

    def __init__(self, path, *, fails=False, cleaning_fails=False):
        super().__init__("clean-up")
        self.path = path
        self.fails = fails
        self.cleaning_fails = cleaning_fails

    def __call__(self):
        if self.fails:
            message = "the call"
            raise ValueError(message)
        return "called"

    def clean_up(self):
        self.path.touch()
        if self.cleaning_fails:
            message = "the cleaning"
            raise OSError(message)


class Wait(Task):
    """Runs until a file appears."""

    def __init__(self, path, **fields):
        super().__init__("wait", **fields)
        self.path = path

    def __call__(self):
        limit = threading.Event()
        self.path.with_suffix(".started").touch()
        while not self.path.exists():
            limit.wait(0.005)
        return "waited"


@pytest.fixture(params=NAMES)
def manager(request, tmp_path_factory):
    tmp_path_factory.getbasetemp()  # made before the folder for temporary files is another one
    with watch_leftovers():
        manager = Environment({}).get(ITaskManager, request.param)
        manager.init("", "")
        manager.update_pool(2)
        manager.start()
        yield manager
        manager.stop()


@pytest.fixture
def concurrent_manager(manager):
    if manager.name == "inline":
        pytest.skip("inline runs a task inside push_task")
    return manager


def outcome_of(manager, task):
    """Push one task and return its result and error."""
    manager.push_task(task)
    manager.wait_for_all(LIMIT)
    finished, result, error = manager.get_results_queue().get_nowait()
    assert finished is task
    return result, error


def wait_for_file(path):
    wait_until(path.exists, LIMIT, f"{path} to appear")


def test_says_how_many_tasks_run_at_once(manager):
    assert manager.get_num_workers() == (1 if manager.name == "inline" else 2)


def test_gives_a_created_task_an_id_of_its_own(manager):
    first, second = manager.create_task(Square, 3), manager.create_task(Square, number=4)

    assert first.task_id != second.task_id
    assert (first.number, second.number) == (3, 4)


def test_gives_a_pushed_task_an_id(manager):
    task = Square(3)

    outcome_of(manager, task)

    assert task.task_id


def test_queues_the_pushed_task_itself_with_its_result(manager):
    task = manager.create_task(Square, 3)

    result, error = outcome_of(manager, task)

    assert (result, error) == (9, None)
    assert task.attempt == 1


def test_leaves_a_task_its_own_attributes_and_tells_how_long_it_took(manager):
    task = Lasting(duration=3)

    result, error = outcome_of(manager, task)

    assert (result, error) == (3, None)
    assert task.duration == 3
    assert task.attempt_duration > 0


@pytest.mark.slow
def test_runs_every_task_once(manager):
    for number in range(200):
        manager.push_task(manager.create_task(Square, number))

    manager.wait_for_all(LIMIT)

    results = manager.get_results_queue()
    assert sorted(results.get_nowait()[1] for _ in range(200)) == [number**2 for number in range(200)]
    assert results.empty()


def test_a_raised_exception_is_the_error_with_its_traceback(manager):
    result, error = outcome_of(manager, Divide("divide"))

    assert result is None
    assert isinstance(error, TaskError)
    assert error.type_name == "ZeroDivisionError"
    assert isinstance(error.cause, ZeroDivisionError)
    assert "return 1 // 0" in error.traceback


def test_sys_exit_is_a_failure(manager):
    _, error = outcome_of(manager, Exit("exit"))

    assert error.type_name == "SystemExit"


def test_a_keyboard_interrupt_in_a_worker_is_a_failure(concurrent_manager):
    _, error = outcome_of(concurrent_manager, Interrupted("interrupted"))

    assert error.type_name == "KeyboardInterrupt"


def test_tries_again_as_often_as_the_task_allows(manager, tmp_path):
    result, error = outcome_of(manager, TouchTwice(tmp_path / "witness", max_retries=1))

    assert (result, error) == (2, None)


def test_does_not_try_a_raised_exception_again_by_itself(manager, tmp_path):
    _, error = outcome_of(manager, TouchTwice(tmp_path / "witness"))

    assert error.type_name == "RuntimeError"
    assert (tmp_path / "witness").stat().st_size == 1


@pytest.mark.parametrize("fails", [False, True])
def test_cleans_up_after_every_call(manager, tmp_path, fails):
    outcome_of(manager, CleanUp(tmp_path / "cleaned", fails=fails))

    assert (tmp_path / "cleaned").exists()


def test_a_failing_clean_up_fails_the_task(manager, tmp_path):
    _, error = outcome_of(manager, CleanUp(tmp_path / "cleaned", cleaning_fails=True))

    assert (error.type_name, error.message) == ("OSError", "the cleaning")


def test_the_failure_of_the_call_hides_that_of_the_clean_up(manager, tmp_path):
    _, error = outcome_of(manager, CleanUp(tmp_path / "cleaned", fails=True, cleaning_fails=True))

    assert (error.type_name, error.message) == ("ValueError", "the call")


def test_refuses_what_is_no_task(manager):
    with pytest.raises(InvalidTaskError):
        manager.push_task("square")

    manager.wait_for_all(LIMIT)


@pytest.mark.parametrize("workers", [0, -1])
def test_refuses_a_pool_without_workers(manager, workers):
    with pytest.raises(ValueError, match="at least 1"):
        manager.update_pool(workers)


def test_takes_nothing_after_stop(manager):
    manager.stop()

    with pytest.raises(ClosedError):
        manager.push_task(Square(1))


def test_stopping_twice_is_harmless(manager):
    manager.stop()

    manager.stop()

    with pytest.raises(ClosedError):
        manager.push_task(Square(1))


@pytest.mark.slow
def test_runs_tasks_of_a_known_class_after_it_was_started_again(manager):
    outcome_of(manager, Square(3))

    manager.stop()
    manager.start()

    assert outcome_of(manager, Square(4)) == (16, None)


@pytest.mark.slow
def test_started_again_it_knows_nothing_of_the_tasks_before(concurrent_manager, tmp_path):
    stuck = [Wait(tmp_path / "go") for _ in range(3)]
    for task in stuck:
        concurrent_manager.push_task(task)
    wait_for_file(tmp_path / "go.started")
    concurrent_manager.stop()
    ended = [concurrent_manager.get_results_queue().get_nowait() for _ in stuck]

    concurrent_manager.start()
    result, error = outcome_of(concurrent_manager, Square(3))
    (tmp_path / "go").touch()

    assert (result, error) == (9, None)
    assert {type(error) for _, _, error in ended} == {TaskCancelled}
    assert {task.attempt for task in stuck} <= {0, 1}


@pytest.mark.parametrize("raised", [SystemExit(1), KeyboardInterrupt(), ValueError("its own")], ids=repr)
def test_a_task_finished_that_raises_costs_no_other_task(concurrent_manager, caplog, raised):
    def raise_it(task, result, error):
        raise raised

    concurrent_manager.task_finished = raise_it

    first = outcome_of(concurrent_manager, Square(3))
    second = outcome_of(concurrent_manager, Square(4))

    assert (first, second) == ((9, None), (16, None))
    assert [type(record.exc_info[1]) for record in caplog.records] == [type(raised)] * 2


def test_calls_task_finished_once_per_task_before_it_is_queued(manager):
    seen = []
    manager.task_finished = lambda task, result, error: seen.append((task, result, manager.get_results_queue().qsize()))
    task = Square(3)

    outcome_of(manager, task)

    assert seen == [(task, 9, 0)]


def test_waiting_for_nothing_returns_at_once(manager):
    manager.wait_for_all(0)


def test_waiting_ends_after_its_timeout(concurrent_manager, tmp_path):
    concurrent_manager.push_task(Wait(tmp_path / "go"))

    with pytest.raises(TimeoutError, match="1 tasks"):
        concurrent_manager.wait_for_all(0.05)

    (tmp_path / "go").touch()
    concurrent_manager.wait_for_all(LIMIT)


@pytest.mark.slow
def test_a_waiting_task_can_be_cancelled(concurrent_manager, tmp_path):
    blocking = [Wait(tmp_path / "go") for _ in range(2)]
    late = concurrent_manager.create_task(Square, 3)
    for task in [*blocking, late]:
        concurrent_manager.push_task(task)

    was_open = concurrent_manager.cancel(late.task_id)
    (tmp_path / "go").touch()
    concurrent_manager.wait_for_all(LIMIT)

    results = [concurrent_manager.get_results_queue().get_nowait() for _ in range(3)]
    assert was_open
    assert [type(error) for task, _, error in results if task is late] == [TaskCancelled]


def test_a_running_task_can_be_cancelled(concurrent_manager, tmp_path):
    task = concurrent_manager.create_task(Wait, tmp_path / "go")
    concurrent_manager.push_task(task)
    wait_for_file(tmp_path / "go.started")

    was_open = concurrent_manager.cancel(task.task_id)
    concurrent_manager.wait_for_all(LIMIT)

    _, _, error = concurrent_manager.get_results_queue().get_nowait()
    (tmp_path / "go").touch()
    assert was_open
    assert isinstance(error, TaskCancelled)


def test_a_final_task_cannot_be_cancelled(manager):
    task = manager.create_task(Square, 3)
    outcome_of(manager, task)

    assert not manager.cancel(task.task_id)
    assert manager.get_results_queue().empty()


@pytest.mark.slow
def test_a_task_that_runs_too_long_ends_with_its_limit(concurrent_manager, tmp_path):
    result, error = outcome_of(concurrent_manager, Wait(tmp_path / "go", timeout=0.1))

    (tmp_path / "go").touch()
    assert result is None
    assert isinstance(error, TaskTimeout)
    assert "0.1 s" in error.message


@pytest.mark.slow
def test_after_a_timeout_others_still_run(concurrent_manager, tmp_path):
    for _ in range(3):
        concurrent_manager.push_task(Wait(tmp_path / "go", timeout=0.05))
    concurrent_manager.push_task(Square(3))

    concurrent_manager.wait_for_all(LIMIT)
    (tmp_path / "go").touch()

    results = [concurrent_manager.get_results_queue().get_nowait() for _ in range(4)]
    assert sorted(str(error.type_name) if error else "" for _, _, error in results) == ["", *["TaskTimeout"] * 3]


@pytest.mark.slow
def test_draining_gives_back_what_has_not_started_and_lets_the_rest_end(concurrent_manager, tmp_path):
    running = [Wait(tmp_path / f"go-{number}") for number in range(2)]
    waiting = [Square(number) for number in range(5)]
    for task in [*running, *waiting]:
        concurrent_manager.push_task(task)
    for number in range(2):
        wait_for_file(tmp_path / f"go-{number}.started")

    given = concurrent_manager.drain()
    for number in range(2):
        (tmp_path / f"go-{number}").touch()
    concurrent_manager.wait_for_all(LIMIT)

    assert {id(task) for task in given} == {id(task) for task in waiting}
    assert concurrent_manager.get_results_queue().qsize() == 2


def test_takes_nothing_while_it_drains(manager):
    manager.drain()

    with pytest.raises(ClosedError):
        manager.push_task(Square(1))


@pytest.mark.slow
def test_stopping_ends_open_tasks_as_cancelled(concurrent_manager, tmp_path):
    for _ in range(3):
        concurrent_manager.push_task(Wait(tmp_path / "go"))
    wait_for_file(tmp_path / "go.started")

    concurrent_manager.stop()

    (tmp_path / "go").touch()
    results = [concurrent_manager.get_results_queue().get_nowait() for _ in range(3)]
    assert [type(error) for _, _, error in results] == [TaskCancelled] * 3


@pytest.mark.slow
def test_a_larger_pool_runs_more_at_once(concurrent_manager, tmp_path):
    for number in range(3):
        concurrent_manager.push_task(Wait(tmp_path / f"go-{number}"))

    concurrent_manager.update_pool(3)

    for number in range(3):
        wait_for_file(tmp_path / f"go-{number}.started")
    for number in range(3):
        (tmp_path / f"go-{number}").touch()
    concurrent_manager.wait_for_all(LIMIT)
    assert concurrent_manager.get_num_workers() == 3


@pytest.mark.slow
def test_tasks_can_be_pushed_from_many_threads(manager):
    def push():
        for number in range(50):
            manager.push_task(manager.create_task(Square, number))

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manager.wait_for_all(LIMIT)

    assert manager.get_results_queue().qsize() == 200
