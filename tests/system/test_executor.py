"""ClusterExecutor is a `concurrent.futures.Executor`, with real processes."""

from __future__ import annotations

import concurrent.futures
import itertools
import math
import os
import signal
import sys
import threading
import time
import weakref
from concurrent.futures import BrokenExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from concurro import (
    ClusterExecutor,
    LocalCluster,
    NotPicklableError,
    RemoteTraceback,
    WorkerLost,
    as_completed,
    current_application,
)
from concurro.executor import FunctionCall
from tests.support.commands import running_master, running_slave
from tests.support.jobs import wait_for_gate
from tests.support.programs import run_program
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

settings: dict[str, object] = {}


def scale(number, offset=0):
    return number * 2 + offset


def raise_key_error(key):
    raise KeyError(key)


def configure(value):
    settings["value"] = value


def configured():
    return os.getpid(), settings.get("value")


def fail_to_configure():
    message = "no such model"
    raise FileNotFoundError(message)


def kill_worker():
    os.kill(os.getpid(), signal.SIGKILL)


def touch_and_sleep(path, seconds):
    with open(path, "a") as file:  # noqa: PTH123 - a worker needs no more
        file.write("x")
    time.sleep(seconds)


def wait_in(folder, name):
    with open(f"{folder}/{name}", "w"):  # noqa: PTH123 - a worker needs no more
        wait_for_gate(folder)
    return name


def wait_for_gate_or_not(folder):
    if folder:
        wait_for_gate(folder)
    return folder


def sum_of_calls(count):
    return sum(current_application().executor().imap(scale, range(count), buffersize=3))


@pytest.fixture
def executor(shared_cluster: LocalCluster) -> Iterator[ClusterExecutor]:
    with shared_cluster.executor() as executor:
        yield executor


def test_it_is_an_executor_of_the_standard_library(executor):
    future = executor.submit(pow, 2, exp=5)

    assert isinstance(executor, concurrent.futures.Executor)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(30) == 32
    assert list(concurrent.futures.as_completed([future])) == [future]


def test_functions_of_every_kind_are_called(executor):
    local = 3

    def closure(number):
        return number * local

    assert executor.submit(scale, 4, offset=1).result(30) == 9
    assert executor.submit(math.sqrt, 16).result(30) == 4
    assert executor.submit(lambda number: number + 1, 4).result(30) == 5
    assert executor.submit(closure, 4).result(30) == 12
    assert executor.submit("a b".split).result(30) == ["a", "b"]


def test_a_closure_is_called_as_it_is_at_each_submission(executor):
    local = 1

    def closure():
        return local

    first = executor.submit(closure)
    local = 2
    second = executor.submit(closure)

    assert (first.result(30), second.result(30)) == (1, 2)


def test_functions_that_come_by_the_hundred_are_called_too(executor, monkeypatch):
    monkeypatch.setattr("concurro.executor.MOST_FUNCTIONS", 3)
    executor._classes[FunctionCall].clear()
    namespaces = [{} for _ in range(8)]
    for number, namespace in enumerate(namespaces):
        exec(f"def added(value):\n    return value + {number}", namespace)  # noqa: S102 - each is another function
    functions = [namespace["added"] for namespace in namespaces]

    results = [executor.submit(function, 10).result(30) for function in (*functions, *functions)]

    assert results == [*range(10, 18), *range(10, 18)]
    assert len(executor._classes[FunctionCall]) <= 3


def test_the_next_executor_of_an_application_knows_the_functions_of_the_last(shared_cluster):
    with shared_cluster.executor() as first, shared_cluster.executor() as second:
        assert first.submit(scale, 4).result(30) == second.submit(scale, 4).result(30) == 8

        assert first._classes[FunctionCall][scale] is second._classes[FunctionCall][scale]


def test_calls_run_in_other_processes(executor):
    pids = {executor.submit(os.getpid).result(30) for _ in range(8)}

    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_an_exception_comes_back_with_its_remote_traceback(executor):
    error = executor.submit(raise_key_error, "colour").exception(30)

    assert isinstance(error, KeyError)
    assert error.args == ("colour",)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "raise_key_error" in str(error.__cause__)


def test_a_lost_worker_fails_its_call_alone(executor):
    lost = executor.submit(kill_worker)
    after = executor.submit(scale, 1)

    assert isinstance(lost.exception(30), WorkerLost)
    assert isinstance(lost.exception(), BrokenExecutor)
    assert "SIGKILL" in str(lost.exception())
    assert after.result(30) == 2


def test_an_argument_that_cannot_travel_is_named_at_once(executor):
    with pytest.raises(NotPicklableError, match="lock"):
        executor.submit(scale, {"lock": threading.Lock()})


def test_map_gives_results_in_order(executor):
    numbers = range(50)

    assert list(executor.map(scale, numbers)) == [number * 2 for number in numbers]
    assert list(executor.map(pow, [2, 3, 4], [5, 2])) == [32, 9]


@pytest.mark.parametrize("chunksize", [1, 7, 1000])
def test_map_in_chunks_gives_the_same(executor, chunksize):
    assert list(executor.map(scale, range(100), range(100), chunksize=chunksize)) == [3 * n for n in range(100)]


@pytest.mark.parametrize("function", [scale, lambda number: number * 2, partial(scale, offset=0)], ids=str)
def test_map_in_chunks_of_any_size_takes_functions_of_every_kind(executor, function):
    numbers = range(100_000, 200_000)

    assert list(executor.map(function, numbers, chunksize=40_000)) == [number * 2 for number in numbers]


def test_map_in_chunks_takes_no_error_for_the_end(executor):
    results = executor.map(next, [iter([1]), iter([])], chunksize=2)

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(results)


def test_map_in_chunks_ends_with_its_time_and_cancels_the_rest(executor):
    assert executor.submit(scale, 1).result(30) == 2  # there is a worker, and it is awake
    results = executor.map(time.sleep, [0.0, 0.0, 60.0, 60.0, 60.0], chunksize=2, timeout=2.0)

    assert [next(results), next(results)] == [None, None]
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)
    assert executor.submit(scale, 1).result(30) == 2


def test_map_raises_the_error_in_its_place(executor):
    results = executor.map(math.sqrt, [4, -1, 9])

    assert next(results) == 2
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        next(results)


def test_map_gives_up_after_its_timeout(executor):
    results = executor.map(time.sleep, [30], timeout=0.2)

    with pytest.raises(TimeoutError):
        next(results)


def test_map_refuses_chunks_of_nothing(executor):
    with pytest.raises(ValueError, match="chunksize must be a whole number of 1 or more, got 0"):
        executor.map(scale, [1], chunksize=0)


def test_a_running_call_can_be_cancelled(executor, tmp_path):
    trace = tmp_path / "trace"
    future = executor.submit(touch_and_sleep, str(trace), 60)
    wait_until(trace.exists, 30, "the call")

    assert future.cancel()

    assert future.cancelled()
    assert concurrent.futures.wait([future], 30).done == {future}
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


@pytest.mark.slow
def test_without_a_master_it_has_a_cluster_of_its_own():
    with ClusterExecutor(2) as executor:
        assert list(executor.map(scale, range(3))) == [0, 2, 4]


@pytest.mark.slow
def test_shutdown_waits_for_what_was_submitted():
    executor = ClusterExecutor(1)
    future = executor.submit(time.sleep, 0.3)

    executor.shutdown()

    assert future.done()
    assert future.exception() is None


@pytest.mark.slow
def test_shutdown_without_waiting_lets_the_calls_end():
    executor = ClusterExecutor(1)
    future = executor.submit(time.sleep, 0.3)

    executor.shutdown(wait=False)

    assert not future.done()
    assert future.result(30) is None


def test_shutdown_can_cancel_what_has_not_started(tmp_path):
    trace = tmp_path / "trace"
    executor = ClusterExecutor(1)
    futures = [executor.submit(touch_and_sleep, str(trace), 0.3) for _ in range(20)]

    executor.shutdown(cancel_futures=True)

    ran = [future for future in futures if not future.cancelled()]
    assert ran[0] is futures[0]
    assert [future.exception(0) for future in ran] == [None] * len(ran)
    assert len(trace.read_text()) == len(ran) < 20


def test_shutdown_lets_running_calls_of_a_shared_cluster_end(shared_cluster, tmp_path):
    executor = shared_cluster.executor()
    running = [executor.submit(wait_in, str(tmp_path), str(number)) for number in range(2)]
    for number in range(2):
        wait_until((tmp_path / str(number)).exists, 30, "a call")
    waiting = [executor.submit(scale, 1) for _ in range(5)]

    executor.shutdown(wait=False, cancel_futures=True)
    wait_until(lambda: all(future.cancelled() for future in waiting), 30, "the end of what had not started")
    (tmp_path / "gate").touch()

    assert [future.result(30) for future in running] == ["0", "1"]


def test_a_stream_is_taken_as_its_results_are(executor):
    taken = 0

    def stream():
        nonlocal taken
        for number in range(100_000):
            taken += 1
            yield number

    total = 0
    for place, result in enumerate(executor.imap(scale, stream(), chunksize=100, buffersize=10)):
        total += result
        assert taken <= place + 1100

    assert total == sum(number * 2 for number in range(100_000))


def test_results_of_a_stream_come_as_their_calls_end(executor, tmp_path):
    results = executor.imap(wait_for_gate_or_not, [str(tmp_path), "", ""])

    first = [next(results), next(results)]
    (tmp_path / "gate").touch()

    assert [*first, *results] == ["", "", str(tmp_path)]


def test_a_stream_that_is_closed_cancels_what_is_open(executor, tmp_path):
    trace = tmp_path / "trace"
    results = executor.imap(touch_and_sleep, [str(trace)] * 3, [0, 600, 600])

    next(results)
    results.close()

    assert executor.submit(scale, 1).result(30) == 2


def test_an_error_ends_a_stream(executor):
    results = executor.imap(math.sqrt, (-1 for _ in range(1000)), buffersize=5)

    with pytest.raises(ValueError, match=r"math domain error|nonnegative") as raised:
        next(results)

    assert isinstance(raised.value.__cause__, RemoteTraceback)
    assert list(results) == []


def test_map_with_a_buffer_keeps_the_order_of_an_endless_stream(executor):
    results = executor.map(scale, itertools.count(), buffersize=8)

    assert list(itertools.islice(results, 1000)) == [number * 2 for number in range(1000)]
    results.close()


def test_futures_of_a_stream_are_yielded_as_they_end(executor):
    futures = as_completed((executor.submit(scale, number) for number in range(2000)), buffersize=16)

    assert sorted(future.result() for future in futures) == [number * 2 for number in range(2000)]


def test_a_call_iterates_over_calls_of_its_own(executor):
    assert executor.submit(sum_of_calls, 20).result(30) == 380


def test_a_call_after_shutdown_is_refused():
    executor = ClusterExecutor(1)
    executor.shutdown()
    executor.shutdown()

    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(scale, 1)


def test_an_initializer_runs_before_the_first_call_in_each_worker():
    with ClusterExecutor(2, initializer=configure, initargs=("model",)) as executor:
        answers = [executor.submit(configured) for _ in range(10)]
        results = {answer.result(30) for answer in answers}

    assert {value for _, value in results} == {"model"}


def test_an_initializer_runs_once_in_a_worker(tmp_path):
    trace = tmp_path / "trace"

    with ClusterExecutor(1, initializer=touch_and_sleep, initargs=(str(trace), 0)) as executor:
        for future in [executor.submit(scale, 1) for _ in range(20)]:
            future.result(30)

    assert trace.read_text() == "x"


def test_a_failing_initializer_breaks_every_call():
    with ClusterExecutor(1, initializer=fail_to_configure) as executor:
        errors = [executor.submit(scale, 1).exception(30) for _ in range(2)]

    assert all(isinstance(error, BrokenExecutor) for error in errors)
    assert all("no such model" in str(error) for error in errors)


SCRIPT = """
from concurro import ClusterExecutor

factor = 2
cache = {}

def scale(number):
    return number * factor

def load(value):
    cache["value"] = value

def cached():
    return cache["value"]

if __name__ == "__main__":
    with ClusterExecutor(1, initializer=load, initargs=("model",)) as executor:
        print(executor.submit(scale, 5).result())
        factor = 10
        print(executor.submit(scale, 5).result())
        print(executor.submit(cached).result())
        print(executor.submit(lambda: cache["value"]).result())
"""


@pytest.mark.slow
def test_a_script_of_its_own_sees_its_globals_as_they_are(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)

    run = run_program(sys.executable, tmp_path / "script.py", cwd=tmp_path)

    assert run.stdout.split() == ["10", "50", "model", "model"]


@pytest.mark.slow
def test_a_result_that_nobody_keeps_is_not_kept():
    class Result:
        pass

    with ClusterExecutor(1) as executor:
        future = executor.submit(scale, 1)
        future.result(30)
        reference = weakref.ref(future)
        del future
        wait_until(lambda: reference() is None, 30, "the future to go")


def test_a_shared_executor_leaves_the_cluster_running():
    with LocalCluster(1) as cluster:
        with cluster.executor() as executor:
            first = executor.submit(scale, 1).result(30)
        second = cluster.executor().submit(scale, 2).result(30)

    assert (first, second) == (2, 4)


def test_an_inline_cluster_calls_at_once():
    with LocalCluster(inline=True) as cluster, cluster.executor() as executor:
        assert executor.submit(os.getpid).result(0) == os.getpid()
        assert list(executor.map(scale, [1, 2])) == [2, 4]


@pytest.mark.slow
def test_a_running_master_serves_executors(tmp_path, runtime_folder):
    with (
        running_master(tmp_path, f"ipc://{runtime_folder}/master") as (_, url),
        running_slave(tmp_path, url) as slave,
    ):
        with ClusterExecutor(master=url) as executor:
            result = executor.submit(pow, 2, 5).result(30) + executor.submit(lambda: 10).result(30)
        still_there = slave.process.poll() is None

    assert result == 42
    assert still_there


@pytest.mark.parametrize("workers", [0, -1])
def test_too_few_workers_are_refused(workers):
    with pytest.raises(
        ValueError, match=f"max_workers must be greater than 0, a whole number of 1 or more, got {workers}"
    ):
        ClusterExecutor(workers)


def test_workers_of_a_running_master_cannot_be_chosen():
    with pytest.raises(ValueError, match="max_workers is for a cluster of its own"):
        ClusterExecutor(2, master="ipc:///nowhere")


def test_an_initializer_must_be_callable():
    with pytest.raises(TypeError, match="initializer must be callable, got 3"):
        ClusterExecutor(1, initializer=3)
