"""Applications: as they are and subclassed, that leave, come back, or are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import psutil
import pytest

from concurro import (
    ApplicationNode,
    ClosedError,
    LocalCluster,
    MasterNode,
    SlaveNode,
    TaskSystem,
    UnknownSystemError,
)
from tests.support.jobs import SHIPPED, Mixture, Square, Traced, Waiting, open_gate, read_trace
from tests.support.nodes import master_process
from tests.support.programs import ROOT
from tests.support.waiting import has_ended, wait_until


class SumOfSquares(TaskSystem):
    """Adds the first n squares."""

    def __init__(self, n):
        super().__init__()
        self.n = n
        self.done = self.total = 0

    def generate_tasks(self, master):
        return (Square(i) for i in range(self.n))

    def task_finished(self, master, task, result, error):
        self.total += result
        self.done += 1

    def is_complete(self, master):
        return self.done == self.n

    def gather_result(self, master):
        return self.total, None


class SystemApplication(ApplicationNode):
    """Runs one system."""

    def get_task_system(self):
        self.system = SumOfSquares(100)
        return self.system

    def work_finished(self, result, system_id):
        self.outcome = (result, system_id, threading.current_thread().name)


class FailingApplication(SystemApplication):
    """Runs a system that raises."""

    def get_task_system(self):
        self.system = SumOfSquares("not a number")
        return self.system


class PushingApplication(ApplicationNode):
    """Pushes tasks, and one more for each of the first; a failing one too."""

    def start_processing(self):
        self.seen = {}
        for n in range(10):
            self.push_task(Square(n))
        self.push_task(Square("x"))

    def task_finished(self, task, result, error):
        self.seen[task.name] = (result, error and error.type_name, task.client_id == self.client_id)
        if isinstance(task.n, int) and task.n < 10:
            self.push_task(Square(task.n + 10))
        if len(self.seen) == 21:
            self.shutdown()


def test_a_subclassed_application_runs_its_system(shared_cluster):
    application = SystemApplication(shared_cluster.master_url, config=SHIPPED)

    application.main()

    assert application.outcome == ((328350, None), application.system.system_id, threading.current_thread().name)


def test_a_subclassed_application_hears_of_an_error(shared_cluster):
    application = FailingApplication(shared_cluster.master_url, config=SHIPPED)

    application.main()

    (result, error), system_id, _ = application.outcome
    assert result is None
    assert isinstance(error, TypeError)
    assert system_id == application.system.system_id


def test_a_subclassed_application_pushes_tasks_until_it_shuts_down(shared_cluster):
    application = PushingApplication(shared_cluster.master_url, config=SHIPPED)

    application.main()

    good = {name: seen for name, seen in application.seen.items() if name != "square-x"}
    assert good == {f"square-{n}": (n * n, None, True) for n in range(20)}
    assert application.seen["square-x"] == (None, "TypeError", True)


def test_shutdown_from_another_thread_ends_main(shared_cluster):
    application = ApplicationNode(shared_cluster.master_url, config=SHIPPED)
    main = threading.Thread(target=application.main)

    main.start()
    application.shutdown()
    main.join(30)

    assert not main.is_alive()


@pytest.mark.slow
def test_an_application_without_a_master_embeds_a_cluster_and_ends_it():
    children = psutil.Process().children()
    with ApplicationNode(config=SHIPPED) as application:
        total = application.run(SumOfSquares(50), timeout=20)
        master = application.status()["pid"]

    assert total == 40425
    assert has_ended(master)
    assert psutil.Process().children() == children


def test_two_applications_run_at_once_and_do_not_see_each_other(shared_cluster):
    with (
        ApplicationNode(shared_cluster.master_url, config=SHIPPED) as first,
        ApplicationNode(shared_cluster.master_url, config=SHIPPED) as second,
    ):
        handles = [node.submit(SumOfSquares(n)) for n, node in ((500, first), (600, second), (700, first))]
        futures = [node.push_task(Square(n)) for n, node in ((5, first), (6, second))]
        totals = [handle.result(30) for handle in handles]
        squares = [future.result(30) for future in futures]

    assert totals == [sum(i * i for i in range(n)) for n in (500, 600, 700)]
    assert squares == [25, 36]
    assert first.client_id != second.client_id


@pytest.mark.parametrize("carrier", ["ipc", "tcp"])
def test_master_and_slave_live_in_one_process(runtime_folder, carrier):
    listen = f"ipc://{runtime_folder}/master" if carrier == "ipc" else "tcp://127.0.0.1:0"
    with (
        MasterNode({"master": {"listen": listen}}) as master,
        SlaveNode({"slave": {"master": master.url, "workers": 1}}),
        ApplicationNode(master.url, config=SHIPPED) as application,
    ):
        total = application.run(SumOfSquares(300), timeout=20)
        status = application.status()

    assert total == sum(i * i for i in range(300))
    assert status["pid"] == os.getpid()
    assert [slave["workers"] for slave in status["slaves"]] == [1]


def test_a_master_over_tcp_listens_on_one_port_of_this_machine_only():
    with MasterNode({"master": {"listen": "tcp://127.0.0.1:0"}}) as master:
        listening = [
            connection.laddr
            for connection in psutil.Process().net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]

    assert [f"tcp://{ip}:{port}" for ip, port in listening] == [master.url]


def test_submitting_twice_is_one_system(shared_cluster, tmp_path):
    system = Mixture(Waiting("gate", tmp_path), *(Traced(f"task-{n}", tmp_path) for n in range(10)))

    with ApplicationNode(shared_cluster.master_url, config=SHIPPED) as other:
        handles = [shared_cluster.submit(system), shared_cluster.submit(system), other.submit(system)]
        open_gate(tmp_path)
        reports = [handle.result(30) for handle in handles]

    assert reports[0].results == reports[1].results == reports[2].results
    assert {handle.system_id for handle in handles} == {system.system_id}
    assert len(read_trace(tmp_path)) == 11


class Publishing(Mixture):
    """Publishes what each of its tasks gave."""

    def task_finished(self, master, task, result, error):
        super().task_finished(master, task, result, error)
        master.publish(result)


def test_every_handle_on_a_system_gets_every_partial_result_once(shared_cluster, tmp_path):
    system = Publishing(Waiting("gate", tmp_path), *(Square(n) for n in range(20)))

    first, second = shared_cluster.submit(system), shared_cluster.attach(system.system_id)
    open_gate(tmp_path)
    published = [sorted(handle.partial_results()) for handle in (first, second)]

    report = first.result(30)
    expected = sorted(report.results.values())
    assert published == [expected, expected]
    assert second.result(30).results == report.results


class Refusing:
    """Pickles, and does not unpickle."""

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    if "concurro.nodes.host" in " ".join(sys.orig_argv):
        return Refusing()
    message = "not in the application"
    raise RuntimeError(message)


@pytest.mark.slow
def test_a_partial_result_that_does_not_load_is_left_out_and_nothing_hangs(shared_cluster, caplog):
    handle = shared_cluster.submit(PublishingAnything(Refusing, lambda: "good"))

    published = list(handle.partial_results())

    assert published == ["good"]
    assert handle.result(30).errors == []
    assert "partial result" in caplog.text


class PublishingAnything(Mixture):
    """Publishes what some functions give, and ends at once."""

    def __init__(self, *makers):
        super().__init__(Square(1))
        self.makers = makers

    def task_finished(self, master, task, result, error):
        super().task_finished(master, task, result, error)
        for make in self.makers:
            master.publish(make())


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
def test_partial_results_of_any_size_arrive_in_order_before_the_end(shared_cluster, size):
    makers = (lambda: "first", lambda: b"x" * size, lambda: "last")

    handle = shared_cluster.submit(PublishingAnything(*makers))
    published = list(handle.partial_results())

    assert [len(value) for value in published] == [5, size, 4]


def test_a_system_is_cancelled_while_it_runs(shared_cluster, tmp_path):
    handle = shared_cluster.submit(Mixture(Waiting("stuck", tmp_path)))
    [line] = wait_until(lambda: read_trace(tmp_path), 30, "the task")

    asked = handle.cancel()

    with pytest.raises(CancelledError):
        handle.result(30)
    assert asked
    assert handle.cancelled()
    assert handle.state == "cancelled"
    wait_until(lambda: has_ended(int(line[1])), 30, "the end of the task's worker")


def test_run_cancels_what_takes_too_long(shared_cluster, tmp_path):
    system = Mixture(Waiting("stuck", tmp_path))

    with pytest.raises(TimeoutError, match=r"did not end within 0\.5 s"):
        shared_cluster.run(system, timeout=0.5)

    states = {one["system_id"]: one["state"] for one in shared_cluster.status()["systems"]}
    assert states.get(system.system_id, "cancelled") == "cancelled"


def test_result_gives_up_waiting_and_the_system_goes_on(shared_cluster, tmp_path):
    handle = shared_cluster.submit(Mixture(Waiting("waiting", tmp_path)))

    with pytest.raises(TimeoutError):
        handle.result(0.2)
    open_gate(tmp_path)

    assert handle.result(30).errors == []


def test_a_pushed_task_is_cancelled_while_it_runs(shared_cluster, tmp_path):
    future = shared_cluster.push_task(Waiting("stuck", tmp_path))
    [line] = wait_until(lambda: read_trace(tmp_path), 30, "the task")

    future.cancel()

    with pytest.raises(CancelledError):
        future.result(30)
    wait_until(lambda: has_ended(int(line[1])), 30, "the end of the task's worker")


def test_attach_follows_a_running_system_and_fetches_a_kept_result(shared_cluster, tmp_path):
    system = Mixture(Waiting("waiting", tmp_path))
    shared_cluster.submit(system, detach=True)
    with ApplicationNode(shared_cluster.master_url, config=SHIPPED) as other:
        following = other.attach(system.system_id)
        running = following.done()
        open_gate(tmp_path)
        report = following.result(30)

    assert not running
    assert report.finished == ["waiting"]


def test_an_unknown_system_cannot_be_attached(shared_cluster):
    with pytest.raises(UnknownSystemError, match="11111111-0000"):
        shared_cluster.attach("11111111-0000-0000-0000-000000000000")


SUBMITS_AND_WAITS = """
import sys, time
from concurro import ApplicationNode
sys.path.insert(0, {root!r})
from tests.support.jobs import SHIPPED, Mixture, Waiting
application = ApplicationNode({url!r}, config=SHIPPED)
handle = application.submit(Mixture(Waiting("waiting", {folder!r})), detach={detach})
print(handle.system_id, flush=True)
time.sleep(60)
"""


def submit_and_be_killed(url, folder, *, detach):
    code = SUBMITS_AND_WAITS.format(root=str(ROOT), url=url, folder=str(folder), detach=detach)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        system_id = process.stdout.readline().strip()
        process.kill()
    return system_id


def test_f78_a_detached_system_goes_on_without_its_application(shared_cluster, tmp_path):
    system_id = submit_and_be_killed(shared_cluster.master_url, tmp_path, detach=True)
    wait_until(lambda: read_trace(tmp_path), 30, "the task")
    open_gate(tmp_path)
    with ApplicationNode(shared_cluster.master_url, config=SHIPPED) as other:
        report = other.attach(system_id).result(30)

    assert report.finished == ["waiting"]
    assert report.attempts == {"waiting": 1}


@pytest.mark.slow
def test_f78_a_system_that_is_not_detached_ends_some_time_after_its_application(tmp_path, runtime_folder):
    with (
        master_process(runtime_folder, master={"standalone": True, "grace": 0.5}, slave={"workers": 1}) as (_, url),
        ApplicationNode(url, config=SHIPPED) as other,
    ):
        system_id = submit_and_be_killed(url, tmp_path, detach=False)
        [line] = wait_until(lambda: read_trace(tmp_path), 30, "the task")
        with pytest.raises(CancelledError):
            other.attach(system_id).result(30)
        wait_until(lambda: has_ended(int(line[1])), 30, "the end of the task")
        square = other.push_task(Square(9)).result(30)

    assert square == 81


@pytest.mark.slow
def test_after_the_end_everything_says_that_it_is_closed(tmp_path):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        handle = cluster.submit(Mixture(Waiting("stuck", tmp_path)))
        future = cluster.push_task(Waiting("stuck-too", tmp_path))
    began = time.monotonic()

    with pytest.raises(ClosedError):
        handle.result(30)
    with pytest.raises(ClosedError):
        future.result(30)
    with pytest.raises(ClosedError):
        cluster.run(Mixture(Square(1)))
    with pytest.raises(ClosedError):
        cluster.push_task(Square(1))
    with pytest.raises(ClosedError):
        cluster.status()
    with pytest.raises(ClosedError):
        cluster.add_slave()

    assert time.monotonic() - began < 20  # nothing waits for a limit


@pytest.mark.slow
def test_an_application_is_told_that_its_plain_tasks_cannot_run_or_were_cancelled(runtime_folder, caplog):
    config = {"master": {"listen": f"ipc://{runtime_folder}/master"}}
    with MasterNode(config) as master, ApplicationNode(master.url) as application:
        future = application.push_task(Square(3))

        wait_until(lambda: "1 task waits: no slave is connected" in caplog.text, what="a warning")
        (system,) = application.status()["systems"]
        assert system["application"] == application.client_id
        assert application.request("cancel", [system["system_id"]]).result(30)

        with pytest.raises(CancelledError, match="cancelled by an operator"):
            future.result(30)
