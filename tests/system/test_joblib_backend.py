"""joblib's `Parallel` on a cluster."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

pytest.importorskip("joblib")


import joblib

import concurro_joblib
from concurro import MasterUnreachable, NotPicklableError, WorkerLost
from concurro_joblib.calls import Call
from concurro_joblib.clusters import LocalClusters
from tests.support.programs import run_program

APPLIES = "concurrent or Concurrent"
NOT_OURS = {
    "test_nested_loop[loky-concurrent]": "in loky's processes only joblib's own backends have a name",
    "test_nested_loop[back_compat_backend-concurrent]": "it is loky's",
}
"""Tests of joblib for every backend that do not apply, and why."""


def square(number):
    return number * number


def sum_of_squares(count):
    return sum(joblib.Parallel(n_jobs=2, backend="concurrent")(joblib.delayed(square)(each) for each in range(count)))


def refuse(number):
    if number == 3:
        message = "three"
        raise KeyError(message)
    time.sleep(60 if number > 3 else 0)


def process_and_limit(_):
    time.sleep(0.01)
    return os.getpid(), os.environ.get("OMP_NUM_THREADS")


class Interrupt:
    """Who pickles it is interrupted, as by Ctrl-C."""

    def __reduce__(self):
        raise KeyboardInterrupt


def die_in_the_middle(number):
    if number == 5:
        os.abort()
    return number


@pytest.fixture(autouse=True)
def registered():
    """Let joblib know the backend, and leave it as it was."""
    before = dict(joblib.parallel.BACKENDS)
    concurro_joblib.register()
    yield
    concurro_joblib.ConcurrentBackend.clusters.close()
    joblib.parallel.BACKENDS.clear()
    joblib.parallel.BACKENDS.update(before)


def test_parallel_runs_on_a_cluster_that_is_shared(shared_cluster):
    with joblib.parallel_config("concurrent", cluster=shared_cluster):
        results = joblib.Parallel()(joblib.delayed(square)(number) for number in range(100))
        pids = {pid for pid, _ in joblib.Parallel()(joblib.delayed(process_and_limit)(None) for _ in range(20))}

    workers = {pid for slave in shared_cluster.slaves for pid in slave.workers}
    assert results == [number * number for number in range(100)]
    assert pids <= workers


def test_negative_n_jobs_counts_from_all_workers_of_the_cluster(shared_cluster):
    backend = concurro_joblib.ConcurrentBackend(cluster=shared_cluster)

    assert [backend.effective_n_jobs(wanted) for wanted in (-1, -2, -9, 1, 7, None)] == [2, 1, 1, 1, 7, 1]
    with pytest.raises(ValueError, match="n_jobs == 0 in Parallel has no meaning"):
        backend.effective_n_jobs(0)


def test_the_first_error_ends_a_call_and_what_runs(shared_cluster):
    with joblib.parallel_config("concurrent", cluster=shared_cluster):
        with pytest.raises(KeyError, match="three"):
            joblib.Parallel(batch_size=1, pre_dispatch="all")(joblib.delayed(refuse)(number) for number in range(8))

        assert joblib.Parallel()(joblib.delayed(square)(number) for number in range(4)) == [0, 1, 4, 9]


@pytest.mark.parametrize(
    ("obstacle", "error"), [(threading.Lock(), NotPicklableError), (Interrupt(), KeyboardInterrupt)]
)
def test_what_a_failed_call_has_read_ahead_is_no_part_of_the_next(shared_cluster, obstacle, error):
    with joblib.parallel_config("concurrent", cluster=shared_cluster, n_jobs=2), joblib.Parallel() as parallel:
        with pytest.raises(error):
            parallel(joblib.delayed(square)(number) for number in [obstacle, 100, 200, 300])

        assert parallel(joblib.delayed(square)(number) for number in range(4)) == [0, 1, 4, 9]


@pytest.mark.timeout(60)
def test_an_argument_that_cannot_be_pickled_fails_the_call_wherever_it_stands(shared_cluster):
    arguments = [*range(30), threading.Lock(), *range(5)]

    with (
        joblib.parallel_config("concurrent", cluster=shared_cluster),
        pytest.raises(NotPicklableError, match=r"^a call of square cannot travel: args\[0\] is a _thread.lock"),
    ):
        joblib.Parallel(batch_size=1)(joblib.delayed(square)(argument) for argument in arguments)


def test_a_named_argument_that_cannot_be_pickled_is_named(shared_cluster):
    call = joblib.delayed(square)(number={"of": [threading.Lock()]})

    with (
        joblib.parallel_config("concurrent", cluster=shared_cluster),
        pytest.raises(
            NotPicklableError, match=r"square cannot travel: kwargs\['number'\]\['of'\]\[0\] is a _thread.lock"
        ),
    ):
        joblib.Parallel()([call, call])


@pytest.mark.timeout(60)
def test_two_calls_under_one_configuration_may_run_at_once(shared_cluster):
    with joblib.parallel_config("concurrent", cluster=shared_cluster):
        first = joblib.Parallel(return_as="generator")(joblib.delayed(square)(n) for n in range(30))
        second = joblib.Parallel(return_as="generator")(joblib.delayed(square)(n) for n in range(200))

        assert list(first) == [number * number for number in range(30)]
        assert list(second) == [number * number for number in range(200)]


def test_a_result_that_waits_when_its_call_ends_is_not_delivered():
    lock, delivered = threading.RLock(), []
    call = Call(lock)

    with lock:
        call.deliver(lambda: delivered.append("late"))
        call.end()
    call.thread.join(30)

    assert not call.thread.is_alive()
    assert delivered == []


def test_results_come_as_a_generator(shared_cluster):
    with joblib.parallel_config("concurrent", cluster=shared_cluster):
        results = joblib.Parallel(return_as="generator_unordered")(joblib.delayed(square)(n) for n in range(50))

        assert sorted(results) == [number * number for number in range(50)]


def test_a_worker_that_dies_every_time_fails_its_call(shared_cluster):
    with (
        joblib.parallel_config("concurrent", cluster=shared_cluster),
        pytest.raises(WorkerLost, match="SIGABRT"),
    ):
        joblib.Parallel(batch_size=1)(joblib.delayed(die_in_the_middle)(number) for number in range(10))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"cluster": None, "master": "tcp://127.0.0.1:1", "inner_max_num_threads": 1}, "workers run already"),
        ({"cluster": object(), "master": "tcp://127.0.0.1:1"}, "not both"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        concurro_joblib.ConcurrentBackend(**settings)


@pytest.mark.slow
def test_a_local_cluster_is_kept_for_the_next_call_and_divides_the_processors():
    with joblib.parallel_config("concurrent", n_jobs=2, inner_max_num_threads=3):
        calls = [joblib.delayed(process_and_limit)(None)] * 20
        first, second = joblib.Parallel()(calls), joblib.Parallel()(calls)

    assert len({pid for pid, _ in first + second}) == 2
    assert {threads for _, threads in first} == {"3"}
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.slow
def test_one_job_is_done_without_a_cluster():
    with joblib.parallel_config("concurrent", n_jobs=1):
        assert joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(3)) == [os.getpid()] * 3


def test_a_call_after_the_loss_of_the_local_cluster_has_another():
    before = set(psutil.Process().children())
    call = joblib.delayed(square)
    joblib.Parallel(n_jobs=2, backend="concurrent")(call(number) for number in range(4))
    for process in set(psutil.Process().children()) - before:
        process.kill()
        process.wait(30)

    with contextlib.suppress(MasterUnreachable):
        joblib.Parallel(n_jobs=2, backend="concurrent")(call(number) for number in range(4))

    assert joblib.Parallel(n_jobs=2, backend="concurrent")(call(number) for number in range(4)) == [0, 1, 4, 9]


@pytest.mark.slow
def test_a_cluster_that_is_in_use_outlives_one_of_another_size():
    clusters = LocalClusters()
    first = clusters.borrow(1, {})

    second = clusters.borrow(2, {})

    assert first.executor.submit(square, 2).result(30) == 4
    clusters.give_back(first)
    with pytest.raises(RuntimeError, match="after shutdown"):
        first.executor.submit(square, 2)
    assert second.executor.submit(square, 3).result(30) == 9
    clusters.give_back(second)
    assert clusters.borrow(2, {}) is second
    clusters.close()


@pytest.mark.slow
def test_a_search_of_scikit_learn_finds_what_it_finds_alone(tmp_path):
    pytest.importorskip("sklearn", exc_type=ImportError)
    program = tmp_path / "search.py"
    program.write_text(SEARCH)

    run = run_program(sys.executable, program, cwd=tmp_path, timeout=120)

    assert run.stdout.split() == ["True", "True", "True"]


SEARCH = """
import numpy, joblib
import concurro_joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

concurro_joblib.register()

if __name__ == "__main__":
    X, y = load_digits(return_X_y=True)
    grid = {"C": [1, 10], "gamma": [0.001]}
    alone = GridSearchCV(SVC(), grid, cv=2).fit(X, y)
    with joblib.parallel_config("concurrent", n_jobs=2):
        spread = GridSearchCV(SVC(), grid, cv=2).fit(X, y)
    for name in ("mean_test_score", "rank_test_score"):
        print(numpy.array_equal(alone.cv_results_[name], spread.cv_results_[name]))
    print(alone.best_params_ == spread.best_params_)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_tests_that_joblib_has_for_every_backend_pass(tmp_path):
    (tmp_path / "register_concurrent.py").write_text("import concurro_joblib\n\nconcurro_joblib.register()\n")
    which = f"({APPLIES}) and not {' and not '.join(NOT_OURS)}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "register_concurrent", "-p", "no:cacheprovider"]
    command += ["-W", "ignore", "--rootdir=.", "--pyargs", "joblib.test.test_parallel", "-k", which]
    environment = {
        **os.environ,
        "JOBLIB_TEMP_FOLDER": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
    }

    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def test_a_parallel_call_inside_a_call_is_done_there(shared_cluster):
    with joblib.parallel_config("concurrent", cluster=shared_cluster):
        results = joblib.Parallel()(joblib.delayed(sum_of_squares)(number) for number in range(4))

    assert results == [sum(each * each for each in range(number)) for number in range(4)]
