"""What tasks and callbacks do with the application that they are inside of."""

from __future__ import annotations

import concurrent.futures
import functools
import os
import signal
import threading
import time

import numpy as np
import pytest

from concurro import (
    ApplicationNode,
    LocalCluster,
    NoApplicationError,
    SlotsLentError,
    Task,
    TaskSystem,
    WorkerLost,
    current_application,
)
from concurro.execution.lending import LENT_PER_WORKER, REFUSE_AFTER
from concurro.wire.segments import MAP_THRESHOLD
from tests.support.jobs import SHIPPED, Mixture, Square, Traced, Waiting, leave_trace, open_gate, read_trace
from tests.support.nodes import master_process, slave_process
from tests.support.waiting import wait_until

LIMIT = 30.0


class Squares(Task):
    """Lets other tasks square, and adds their results."""

    name = "squares"

    def __init__(self, n):
        self.n = n

    def __call__(self):
        futures = current_application().push_tasks([Square(i) for i in range(self.n)])
        return sum(future.result() for future in futures)


class Fibonacci(Task):
    """Waits for two tasks of its own kind."""

    name = "fibonacci"

    def __init__(self, n):
        self.n = n

    def __call__(self):
        if self.n < 2:
            return self.n
        push = current_application().push_task
        first, second = push(Fibonacci(self.n - 1)), push(Fibonacci(self.n - 2))
        return first.result() + second.result()


class Chain(Task):
    """Waits for one task of its own kind, as deep as it is told."""

    name = "chain"

    def __init__(self, n, pause=0.0):
        self.n = n
        self.pause = pause  # of the last one [s]

    def __call__(self):
        if self.n == 0:
            time.sleep(self.pause)
            return 0
        return 1 + current_application().push_task(Chain(self.n - 1, self.pause)).result()


class Leaving(Task):
    """Calls a function with the application, and says so."""

    name = "leaving"

    def __init__(self, call, folder):
        self.call = call
        self.folder = str(folder)

    def __call__(self):
        result = self.call(current_application(), self.folder)
        leave_trace(self.folder, "called", os.getpid())
        return result


class Asking(TaskSystem):
    """Runs another system in a callback."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.answers = []

    def generate_tasks(self, master):
        return iter([Square(3), Square(4)])

    def task_finished(self, master, task, result, error):
        report = current_application().run(Mixture(Square(result)))
        self.answers.append(report.results[f"square-{result}"])

    def is_complete(self, master):
        return len(self.answers) == 2

    def gather_result(self, master):
        return sorted(self.answers), None


class LeavingSystem(Asking):
    """Submits a system in a callback, and ends without it."""

    def task_finished(self, master, task, result, error):
        current_application().submit(Mixture(Waiting("left", self.folder)))
        self.answers = [1, 2]

    def gather_result(self, master):
        return "left", None


class Forever(TaskSystem):
    """Waits for its own end."""

    def generate_tasks(self, master):
        return iter([Square(1)])

    def task_finished(self, master, task, result, error):
        current_application().attach(self.system_id).result()


def states(cluster):
    """Return the state of each system by its name."""
    return {system["name"]: system["state"] for system in cluster.status()["systems"]}


def lent(cluster):
    return sum(slave["lent"] for slave in cluster.status()["slaves"])


def test_a_task_pushes_tasks_and_waits_for_them(shared_cluster):
    assert shared_cluster.push_task(Squares(10)).result(LIMIT) == 285


def test_what_a_task_returns_stays_until_it_is_sent_although_its_application_ends_before(shared_cluster, tmp_path):
    def return_large(app, _):
        return app.push_task(Square(3)).result() * np.ones(MAP_THRESHOLD // 8)

    result = shared_cluster.push_task(Leaving(return_large, tmp_path)).result(LIMIT)

    assert (result.nbytes, result[0], result[-1]) == (MAP_THRESHOLD, 9.0, 9.0)


@pytest.mark.slow
def test_f29_every_worker_may_wait_for_tasks_of_tasks(shared_cluster):
    results = [future.result(LIMIT) for future in shared_cluster.push_tasks([Fibonacci(4), Fibonacci(3), Fibonacci(1)])]

    assert results == [3, 2, 1]
    wait_until(lambda: lent(shared_cluster) == 0, LIMIT, "every slot to be back")


@pytest.mark.slow
def test_f29_many_tasks_may_wait_for_tasks_of_their_own(shared_cluster):
    futures = shared_cluster.push_tasks([Squares(3) for _ in range(60)])

    assert [future.result(LIMIT) for future in futures] == [5] * 60


@pytest.mark.slow
def test_f29_what_tasks_wait_for_runs_before_more_tasks_that_would_wait(shared_cluster):
    futures = shared_cluster.push_tasks([Squares(3) for _ in range(100)])

    most_lent = 0
    while not all(future.done() for future in futures):
        most_lent = max(most_lent, lent(shared_cluster))

    assert [future.result(0) for future in futures] == [5] * 100
    assert 0 < most_lent <= 4  # as many as workers, and some that are about to go on; eight may be


@pytest.mark.slow
def test_f29_a_slave_refuses_no_wait_for_what_runs_on_another_slave():
    with LocalCluster(workers=1, slaves=2, config=SHIPPED) as cluster:
        depth = 2 * LENT_PER_WORKER + 1  # one slave has lent all, another wait, and nothing runs there

        assert cluster.push_task(Chain(depth, 2 * REFUSE_AFTER)).result(2 * LIMIT) == depth


@pytest.mark.slow
def test_f29_a_slave_lends_four_slots_for_each_worker_and_no_more():
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        assert cluster.push_task(Chain(4)).result(LIMIT) == 4

        refused = cluster.push_task(Chain(5)).exception(LIMIT)

        assert isinstance(refused, SlotsLentError)
        assert "waits for task" in str(refused)
        assert "4 slots of its slave are lent" in str(refused)
        assert "wait for fewer at once" in str(refused)
        wait_until(lambda: lent(cluster) == 0, LIMIT, "every slot to be back")
        assert cluster.push_task(Square(5)).result(LIMIT) == 25


@pytest.mark.slow
def test_a_task_that_may_not_wait_can_go_on(shared_cluster, tmp_path):
    def go_on(app, folder):
        try:
            return app.push_task(Leaving(go_on, folder)).result()
        except SlotsLentError as error:
            return error.waits_for

    assert shared_cluster.push_task(Leaving(go_on, tmp_path)).result(LIMIT).startswith("task ")


@pytest.mark.slow
def test_a_thread_that_outlives_its_task_goes_on_although_nothing_could_be_lent(tmp_path):
    def wait(future, folder):
        leave_trace(folder, type(future.exception()).__name__)

    def nest(app, folder, depth=4):
        if depth:
            inner = Leaving(functools.partial(nest, depth=depth - 1), folder)
            return app.push_task(inner).result()
        waiting = app.push_task(Square(1))
        threading.Thread(target=wait, args=(waiting, folder), daemon=True).start()
        return wait_until(app._loan._asking.locked, LIMIT, "the thread to ask for what was lent")

    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        cluster.push_task(Leaving(nest, tmp_path)).result(LIMIT)

        wait_until(lambda: ["ClosedError"] in read_trace(tmp_path), LIMIT, "the end of the thread")


@pytest.mark.slow
def test_slots_are_lent_between_several_slaves():
    with LocalCluster(workers=1, slaves=2, config=SHIPPED) as cluster:
        assert cluster.push_task(Fibonacci(4)).result(LIMIT) == 3
        assert cluster.push_task(Squares(10)).result(LIMIT) == 285


@pytest.mark.slow
def test_a_task_reaches_its_master_over_tcp(tmp_path, runtime_folder):
    listen = {"listen": "tcp://127.0.0.1:0"}
    with master_process(runtime_folder, master=listen) as (_, url), slave_process(url, 1), application(url) as node:
        assert node.push_task(Fibonacci(3)).result(LIMIT) == 2
        system = node.push_task(Leaving(lambda app, _: app.run(Mixture(Square(7))).results, tmp_path))
        assert system.result(LIMIT) == {"square-7": 49}


def test_a_callback_runs_a_system_and_waits_for_it(shared_cluster, tmp_path):
    assert shared_cluster.run(Asking(str(tmp_path)), timeout=LIMIT) == [81, 256]


def test_a_callback_that_waits_for_its_own_system_is_told_so(shared_cluster):
    with pytest.raises(RuntimeError, match="would wait for the end of its own system"):
        shared_cluster.run(Forever(), timeout=LIMIT)


@pytest.mark.slow
def test_executors_and_waits_of_the_standard_library_work_inside_a_task(shared_cluster, tmp_path):
    def squares(app, _):
        with app.executor() as executor:
            mapped = list(executor.map(pow, range(5), [2] * 5))
            waited = {executor.submit(pow, n, 3) for n in range(5)}
            done, _ = concurrent.futures.wait(waited)
            completed = concurrent.futures.as_completed([executor.submit(pow, n, 2) for n in range(3)])
            return mapped, sorted(future.result() for future in done), sorted(future.result() for future in completed)

    result = shared_cluster.push_task(Leaving(squares, tmp_path)).result(LIMIT)

    assert result == ([0, 1, 4, 9, 16], [0, 1, 8, 27, 64], [0, 1, 4])


@pytest.mark.slow
def test_waits_of_the_standard_library_lend_the_slot(tmp_path):
    def wait(app, folder):
        futures = app.push_tasks([Traced(f"traced-{n}", folder) for n in range(3)])
        done, _ = concurrent.futures.wait(futures)
        return len(done)

    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        assert cluster.push_task(Leaving(wait, tmp_path)).result(LIMIT) == 3


@pytest.mark.slow
def test_threads_of_a_task_share_its_application(shared_cluster, tmp_path):
    def squares(_, __):
        found = []
        threads = [
            threading.Thread(target=lambda n=n: found.append(current_application().push_task(Square(n)).result()))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(found)

    assert shared_cluster.push_task(Leaving(squares, tmp_path)).result(LIMIT) == [0, 1, 4, 9]


def test_what_a_task_submits_and_leaves_is_cancelled_with_it(shared_cluster, tmp_path):
    def leave(app, folder):
        app.submit(Mixture(Waiting("of-a-system", folder)))
        app.push_task(Waiting("pushed", folder))
        return "left"

    assert shared_cluster.push_task(Leaving(leave, tmp_path)).result(LIMIT) == "left"
    wait_until(lambda: states(shared_cluster).get("Mixture") == "cancelled", LIMIT, "the end of the system")
    wait_until(lambda: shared_cluster.status()["slaves"][0]["running"] == 0, LIMIT, "the end of the tasks")


def test_what_a_task_detaches_goes_on(shared_cluster, tmp_path):
    def detach(app, folder):
        return app.submit(Mixture(Waiting("detached", folder)), detach=True).system_id

    system_id = shared_cluster.push_task(Leaving(detach, tmp_path)).result(LIMIT)
    open_gate(tmp_path)

    assert shared_cluster.attach(system_id).result(LIMIT).finished == ["detached"]


@pytest.mark.slow
def test_a_killed_worker_gives_its_lent_slot_back_and_takes_what_it_submitted_along(tmp_path):
    def wait(app, folder):
        leave_trace(folder, "parent", os.getpid())
        handle = app.submit(Mixture(Waiting("child", folder)))
        handle.result()

    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        task = Leaving(wait, tmp_path)
        task.max_retries = 0
        future = cluster.push_task(task)
        wait_until(lambda: len(read_trace(tmp_path)) == 2, LIMIT, "the child to run")
        assert lent(cluster) == 1

        os.kill(int(read_trace(tmp_path)[0][1]), signal.SIGKILL)

        assert isinstance(future.exception(LIMIT), WorkerLost)
        wait_until(lambda: states(cluster).get("Mixture") == "cancelled", LIMIT, "the end of the nested system")
        wait_until(lambda: lent(cluster) == 0, LIMIT, "the slot to be back")
        assert cluster.push_task(Square(5)).result(LIMIT) == 25


def test_an_attempt_that_is_tried_again_submits_again(shared_cluster, tmp_path):
    def die_once(app, folder):
        future = app.push_task(Traced("child", folder))
        future.result()
        if len(read_trace(folder)) == 1:
            app.push_task(Waiting("left", folder))
            while len(read_trace(folder)) < 2:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        return future.result() > 0

    assert shared_cluster.push_task(Leaving(die_once, tmp_path)).result(LIMIT)

    names = [line[0] for line in read_trace(tmp_path)]
    assert names == ["child", "left", "child", "called"]
    wait_until(lambda: shared_cluster.status()["slaves"][0]["running"] == 0, LIMIT, "the end of what was left")


def test_what_a_callback_leaves_behind_ends_with_its_system(shared_cluster, tmp_path):
    assert shared_cluster.run(LeavingSystem(str(tmp_path)), timeout=LIMIT) == "left"

    wait_until(lambda: states(shared_cluster).get("Mixture") == "cancelled", LIMIT, "the end of the nested system")


@pytest.mark.slow
def test_a_killed_slave_takes_what_its_tasks_submitted_along(tmp_path):
    def wait_on_another_slave(app, folder):
        handle = app.submit(Mixture(Traced("child", folder)))
        handle.result()
        leave_trace(folder, "waits", os.getppid())
        if len([line for line in read_trace(folder) if line[0] == "waits"]) == 1:
            app.push_task(Waiting("left", folder)).result()
        return "done"

    with LocalCluster(workers=1, slaves=2, config=SHIPPED) as cluster:
        future = cluster.push_task(Leaving(wait_on_another_slave, tmp_path))
        wait_until(lambda: any(line[0] == "left" for line in read_trace(tmp_path)), LIMIT, "the child to run")
        busy = next(slave for slave in cluster.status()["slaves"] if slave["lent"])

        os.kill(busy["pid"], signal.SIGKILL)

        assert future.result(LIMIT) == "done"
        wait_until(lambda: not any(slave["running"] for slave in cluster.status()["slaves"]), LIMIT, "idle slaves")


def test_explain_says_for_what_a_task_waits(tmp_path):
    def wait(app, folder):
        return app.push_task(Waiting("child", folder)).result()

    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        future = cluster.push_task(Leaving(wait, tmp_path))
        wait_until(lambda: len(read_trace(tmp_path)) == 1, LIMIT, "the child to run")

        sentence = cluster.application.request("explain", [future.task_id]).result(LIMIT)

        assert "it waits for task " in sentence
        assert "its slot is lent" in sentence
        open_gate(tmp_path)
        future.result(LIMIT)


def test_a_forked_copy_of_a_task_has_no_application(shared_cluster, tmp_path):
    def fork(_, folder):
        pid = os.fork()
        if pid == 0:
            try:
                current_application()
            except NoApplicationError as error:
                leave_trace(folder, str(error))
            os._exit(0)
        os.waitpid(pid, 0)

    shared_cluster.push_task(Leaving(fork, tmp_path)).result(LIMIT)

    assert "a process that a task forked" in " ".join(read_trace(tmp_path)[0])


def test_outside_of_a_job_there_is_no_application():
    with pytest.raises(NoApplicationError, match="use LocalCluster"):
        current_application()


def application(url):
    return ApplicationNode(url, config=SHIPPED)
