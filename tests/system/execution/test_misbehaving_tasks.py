"""Whatever a task does to its process: it gets its failure, and nobody else does."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from concurro.errors import ResultNotPicklable, TaskTimeout, WorkerLost
from tests.support.waiting import wait_until
from tests.system.execution import tasks


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (tasks.raise_two_argument_error, "TwoArgumentError"),
        (tasks.raise_exiting_error, "ExitingError"),
        (tasks.raise_unpicklable_error, "UnpicklableError"),
        (tasks.recurse, "RecursionError"),
        (tasks.interrupt, "KeyboardInterrupt"),
    ],
)
def test_what_a_task_raises_arrives_by_name_and_its_worker_lives(pool, function, name):
    before = pool.worker()

    _, error = pool.run(function)

    assert error.type_name == name
    assert function.__name__ in error.traceback
    assert pool.worker() == before


def test_a_result_that_does_not_pickle_is_named_with_its_path_and_the_worker_lives(pool):
    before = pool.worker()

    _, error = pool.run(tasks.return_a_lock)

    assert isinstance(error, ResultNotPicklable)
    assert "lock" in error.message
    assert "result['parts'][1].lock" in error.message
    assert pool.worker() == before


@pytest.mark.parametrize(
    ("function", "arguments", "cause"),
    [
        (tasks.read_address_zero, (), "SIGSEGV"),
        (tasks.exit_at_once, (0,), "exit code 0"),
        (tasks.exit_at_once, (7,), "exit code 7"),
        (tasks.kill_itself, (signal.SIGKILL,), "SIGKILL"),
    ],
)
def test_the_death_of_a_worker_is_its_task_s_alone_and_names_the_cause(pool, function, arguments, cause):
    _, error = pool.run(function, *arguments, max_retries=0)

    assert isinstance(error, WorkerLost)
    assert cause in error.message
    assert pool.run(tasks.square, 3) == (9, None)


def test_the_last_lines_of_a_dead_worker_are_in_the_message(pool):
    _, error = pool.run(tasks.read_address_zero, max_retries=0)

    assert "about to read address zero" in error.message


def test_a_task_that_kills_its_worker_is_given_up_after_three_attempts(pool, tmp_path):
    _, error = pool.run(tasks.crash_until, str(tmp_path / "witness"), 100)

    assert isinstance(error, WorkerLost)
    assert (tmp_path / "witness").stat().st_size == 3


def test_a_task_that_loses_two_workers_is_tried_a_third_time(pool, tmp_path):
    result, error = pool.run(tasks.crash_until, str(tmp_path / "witness"), 2)

    assert (result, error) == ("survived", None)


def test_a_task_that_kills_the_launcher_loses_its_attempt_and_the_pool_lives(two):
    _, error = two.run(tasks.kill_parent, max_retries=0)

    assert isinstance(error, WorkerLost)
    assert two.run(tasks.square, 3) == (9, None)


@pytest.mark.parametrize("seconds", [0.2])
def test_a_timeout_ends_a_task_that_holds_the_interpreter(pool, seconds):
    _, error = pool.run(tasks.hold_the_interpreter, 60, timeout=seconds)

    assert isinstance(error, TaskTimeout)
    assert "0.2 s" in error.message
    assert pool.run(tasks.square, 3) == (9, None)


def test_children_that_a_task_leaves_end_with_the_attempt(pool, tmp_path):
    result, error = pool.run(tasks.fork_a_child_that_lives_on, str(tmp_path / "pids"))

    left = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    wait_until(lambda: not any(is_alive(pid) for pid in left), 30, "the children to end")
    assert (result, error) == ("first result", None)
    assert pool.run(tasks.square, 3) == (9, None)
    assert pool.manager.get_results_queue().empty()


def test_a_thread_that_a_task_leaves_keeps_nothing_alive(pool):
    result, error = pool.run(tasks.leave_a_thread)

    pool.manager.stop()

    assert (result, error) == (2, None)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_task_may_use_multiprocessing(pool, method, runtime_folder):
    assert pool.run(tasks.use_multiprocessing, method) == ([1, 4, 9], None)
    wait_until(lambda: not list(runtime_folder.glob("pymp-*")), 30, "the worker to tidy what multiprocessing left")


def test_a_task_that_prints_without_end_is_not_stopped_by_it(pool):
    assert pool.run(tasks.print_much, 50_000) == (50_000, None)


def test_closing_every_descriptor_costs_only_the_attempt(pool):
    _, error = pool.run(tasks.close_descriptors, max_retries=0)

    assert isinstance(error, WorkerLost)
    assert pool.run(tasks.square, 3) == (9, None)


def test_the_next_task_does_not_see_what_one_did_to_the_process(pool):
    before, _ = pool.run(tasks.look_at_the_process)

    changed, _ = pool.run(tasks.change_the_process)
    after, _ = pool.run(tasks.look_at_the_process)

    assert after == before
    assert pool.worker() != changed


def test_a_missing_module_is_named_with_the_slave_and_the_remedy(pool):
    _, error = pool.run(tasks.import_what_is_not_there)

    assert "no_such_module_of_ours" in error.message
    assert "on slave here" in error.message
    assert "[application] ship" in error.message


def test_a_task_finds_a_clean_process(pool):
    seen, error = pool.run(tasks.look_around)

    assert error is None
    assert (seen["main"], seen["file"], seen["argv"], seen["stdin"]) == ([], None, [""], "")
    assert (seen["threads"], seen["zmq"], seen["group"]) == (1, False, True)
    # Standard streams and the pipes behind two of them, the folder that it lists, its two channels, its tokens,
    # its trace and the count of its reader: nobody else's.
    assert len(seen["descriptors"]) == 11


def test_an_idle_worker_that_is_killed_is_replaced(pool):
    before = pool.worker()

    os.kill(before, signal.SIGKILL)
    after = pool.worker()

    assert after != before


def test_a_busy_worker_that_is_killed_costs_one_attempt_of_its_task_only(two, tmp_path):
    task = two.push(tasks.wait_for, str(tmp_path / "go"))
    for number in range(20):
        two.push(tasks.square, number)
    wait_until((tmp_path / "go.started").exists, 30, "the task to start")
    wait_until(lambda: two.manager.get_results_queue().qsize() == 20, 30, "the others to end")

    os.kill(int((tmp_path / "go.started").read_text()), signal.SIGKILL)
    (tmp_path / "go").touch()
    two.manager.wait_for_all(30)

    ended = [two.manager.get_results_queue().get_nowait() for _ in range(21)]
    assert [error for _, _, error in ended if error is not None] == []
    assert task.attempt == 2
    assert {each.attempt for each, _, _ in ended if each is not task} == {1}


def test_large_values_travel_both_ways(pool):
    value = {"bytes": os.urandom(20_000_000), "text": "x" * 100_000}

    result, error = pool.run(tasks.echo, value)

    assert error is None
    assert result == value


@pytest.mark.slow
def test_a_pool_whose_workers_cannot_start_is_sick_and_says_why(pool, monkeypatch):
    pool.worker()
    agent, launcher = pool.manager._agent, pool.manager._agent._launcher
    fork = launcher.fork_worker

    def fork_without_output(child_id, fds):
        os.close(fds[-1])
        fork(child_id, fds[:-1])

    monkeypatch.setattr(launcher, "fork_worker", fork_without_output)
    os.kill(pool.manager.worker_pids()[0], signal.SIGKILL)

    wait_until(lambda: agent.core.sick, 30, "the slave to be sick")
    assert "exit code 127" in agent.core.sick
