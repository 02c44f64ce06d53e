"""Masters, slaves and applications that are killed, refused or alone: lines 37 to 82 of the failure matrix."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections import Counter

import psutil
import pytest

from concurro import (
    AddressError,
    ApplicationNode,
    LocalCluster,
    MasterNode,
    MasterUnreachable,
    RefusedError,
    SlaveNode,
)
from tests.support.jobs import SHIPPED, Mixture, Square, Traced, Waiting, open_gate, read_trace
from tests.support.nodes import master_process, slave_process
from tests.support.programs import run_program
from tests.support.waiting import has_ended, wait_until


def application(url, **settings):
    return ApplicationNode(url, config={"application": {**SHIPPED["application"], **settings}})


def connected_slaves(node, count):
    return wait_until(lambda: len(slaves := node.status()["slaves"]) == count and slaves, 30, f"{count} slaves")


class Slow(Traced):
    """Takes a moment."""

    def __call__(self):
        super().__call__()
        time.sleep(0.02)
        return self.slave_id


@pytest.mark.slow
def test_f37_a_killed_slave_takes_its_workers_along_and_its_tasks_run_elsewhere(tmp_path):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        stayed = cluster.slaves[0].id
        added = cluster.add_slave(2)
        slave = next(slave for slave in cluster.slaves if slave.id == added)
        handle = cluster.submit(Mixture(*(OnlyStuckOn(n, tmp_path, added) for n in range(30))))
        wait_until(
            lambda: len([line for line in read_trace(tmp_path) if line[3] == added]) >= 2, 30, "tasks on the slave"
        )

        began = time.monotonic()
        os.kill(slave.pid, signal.SIGKILL)
        wait_until(lambda: all(has_ended(pid) for pid in slave.workers), 30, "the end of its workers")
        wait_until(lambda: len(cluster.slaves) == 1, 30, "the slave to be gone")
        elapsed = time.monotonic() - began
        report = handle.result(30)

    assert elapsed < 9  # before it is missed by its silence
    assert report.errors == []
    assert set(report.slaves.values()) == {stayed}
    assert max(Counter(report.finished).values()) == 1
    tried_twice = {name for name, attempt in report.attempts.items() if attempt > 1}
    traced = Counter(line[0] for line in read_trace(tmp_path))
    assert {name for name, count in traced.items() if count > 1} <= tried_twice


class OnlyStuckOn(Traced):
    """Waits for ever on one slave."""

    def __init__(self, n, folder, slave_id):
        super().__init__(f"task-{n}", folder)
        self.stuck_on = slave_id

    def __call__(self):
        super().__call__()
        if self.slave_id == self.stuck_on:
            time.sleep(60)
        return self.slave_id


class KillsItsSlave(Traced):
    """Kills the agent of its slave on the first four attempts: more often than workers may be lost."""

    def __call__(self):
        super().__call__()
        agent = os.getppid()
        if self.attempt <= 4:
            os.kill(psutil.Process(agent).ppid(), signal.SIGKILL)
            time.sleep(60)
        return self.attempt


@pytest.mark.slow
def test_f37_the_loss_of_slaves_is_not_charged_to_the_crash_budget(tmp_path, runtime_folder):
    with master_process(runtime_folder) as (_, url), application(url) as node:
        future = node.push_task(KillsItsSlave("killer", tmp_path))
        for _ in range(5):
            with slave_process(url) as slave:
                wait_until(lambda: slave.poll() is not None or future.done(), 30, "the next attempt")

        attempt = future.result(30)

    assert attempt == 5
    assert len(read_trace(tmp_path)) == 5


@pytest.mark.slow
def test_f42_two_slaves_of_one_host_have_different_ids(runtime_folder):
    with (
        master_process(runtime_folder) as (_, url),
        slave_process(url),
        slave_process(url),
        application(url) as node,
    ):
        slaves = connected_slaves(node, 2)
        report = node.run(Mixture(*(Slow(f"task-{n}", runtime_folder) for n in range(20))), timeout=20)
        (runtime_folder / "trace").unlink()

    assert len({slave["id"] for slave in slaves}) == 2
    assert len({slave["host"] for slave in slaves}) == 1
    assert set(report.slaves.values()) == {slave["id"] for slave in slaves}


OTHER_PYTHON = "import concurro.nodes.dialer as dialer; dialer.python_version = lambda: '3.4'"
OTHER_PROTOCOL = "import concurro.nodes.dialer as dialer; dialer.PROTOCOL = 77"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prelude", "words"),
    [
        (OTHER_PYTHON, ["Python 3.4", "Python 3.", "slave"]),
        (OTHER_PROTOCOL, ["protocol 77", "protocol 1"]),
    ],
)
def test_f43_a_slave_of_another_version_is_refused_with_both_versions(runtime_folder, prelude, words):
    with master_process(runtime_folder) as (_, url):
        with slave_process(url, prelude=prelude) as slave:
            slave.wait(30)
            complaint = slave.stderr.read()
        with slave_process(url), application(url) as node:
            connected_slaves(node, 1)
            square = node.push_task(Square(6)).result(30)

    assert slave.returncode != 0
    assert all(word in complaint for word in words), complaint
    assert square == 36


@pytest.mark.slow
def test_f43_the_command_of_a_refused_slave_ends_with_3(runtime_folder):
    program = f"{OTHER_PYTHON}; from concurro.cli import slave_main; slave_main()"
    with master_process(runtime_folder) as (_, url):
        run = run_program(sys.executable, "-P", "-c", program, "--master", url, "--workers", 1, expect=3)

    assert "Python 3.4" in run.stderr
    assert "Traceback" not in run.stderr


def test_f82_an_application_of_another_python_is_refused_with_both_versions(runtime_folder, monkeypatch):
    with master_process(runtime_folder) as (_, url):
        monkeypatch.setattr("concurro.nodes.dialer.python_version", lambda: "3.4")

        with pytest.raises(
            RefusedError, match=r"Python 3\.4 of the application .* Python 3\.\d+ of the master"
        ) as caught:
            application(url).connect()
        monkeypatch.undo()
        with application(url) as node:
            status = node.status()

    assert caught.value.code == "python"
    assert status["slaves"] == []


@pytest.mark.slow
def test_f44_a_terminated_slave_finishes_what_runs_and_hands_back_the_rest(tmp_path, runtime_folder):
    with master_process(runtime_folder) as (_, url), slave_process(url) as first, application(url) as node:
        [slave] = connected_slaves(node, 1)
        handle = node.submit(Mixture(*(Waiting(f"task-{n}", tmp_path) for n in range(12))))
        wait_until(lambda: read_trace(tmp_path), 30, "the first task")

        first.send_signal(signal.SIGTERM)
        wait_until(lambda: node.status()["slaves"][0]["draining"], 30, "the master to know")
        with slave_process(url):
            connected_slaves(node, 2)
            open_gate(tmp_path)
            first.wait(30)
            report = handle.result(30)

    assert first.returncode == 0
    assert report.errors == []
    assert set(report.attempts.values()) == {1}
    assert len(read_trace(tmp_path)) == 12
    assert [name for name, where in report.slaves.items() if where == slave["id"]] == ["task-0"]


@pytest.mark.slow
def test_f44_a_second_signal_ends_a_slave_at_once(tmp_path, runtime_folder):
    with master_process(runtime_folder) as (_, url), slave_process(url) as slave, application(url) as node:
        node.push_task(Waiting("stuck", tmp_path))
        [line] = wait_until(lambda: read_trace(tmp_path), 30, "the task")

        slave.send_signal(signal.SIGTERM)
        wait_until(lambda: node.status()["slaves"][0]["draining"], 30, "the master to know")
        slave.send_signal(signal.SIGTERM)

        slave.wait(30)
    assert has_ended(int(line[1]))


@pytest.fixture
def strange_service():
    """Give the port of a service that is no master: it says what it is told, and nothing more."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken = []
    greeting = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            taken.append(connection)
            for words in greeting:
                connection.sendall(words)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], greeting
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in taken:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_f57_another_service_on_the_address_is_a_clear_error(strange_service, greeting):
    port, said = strange_service
    said.append(greeting)

    with pytest.raises(MasterUnreachable, match=f"no master at tcp://127.0.0.1:{port}: tried .* times") as caught:
        application(f"tcp://127.0.0.1:{port}", connect_timeout=1.0).connect()

    assert "answer" in str(caught.value) or "Concurrent" in str(caught.value)


def test_f61_a_terminated_master_ends_everything_with_a_clear_error(tmp_path, runtime_folder):
    with (
        master_process(runtime_folder, master={"standalone": True}, slave={"workers": 1}) as (master, url),
        application(url) as node,
    ):
        handle = node.submit(Mixture(Waiting("stuck", tmp_path)))
        [line] = wait_until(lambda: read_trace(tmp_path), 30, "the task")
        future = node.push_task(Square(3))
        tree = psutil.Process(master.pid).children(recursive=True)

        began = time.monotonic()
        master.terminate()
        master.wait(30)
        with pytest.raises(MasterUnreachable, match="was stopped"):
            handle.result(30)
        with pytest.raises(MasterUnreachable, match="was stopped"):
            future.result(30)
        with pytest.raises(MasterUnreachable, match="was stopped"):
            node.push_task(Square(4))
        elapsed = time.monotonic() - began

    assert master.returncode == 0
    assert elapsed < 25  # nothing waits for a limit
    assert len(tree) >= 3
    assert all(has_ended(process.pid) for process in tree)
    assert has_ended(int(line[1]))


@pytest.mark.slow
def test_a_killed_master_leaves_no_process_and_its_successor_gets_the_slaves(tmp_path, runtime_folder):
    with slave_process(f"ipc://{runtime_folder}/master") as slave:
        with master_process(runtime_folder) as (master, url), application(url, connect_timeout=1.0) as node:
            connected_slaves(node, 1)
            node.submit(Mixture(Waiting("stuck", tmp_path)))
            wait_until(lambda: read_trace(tmp_path), 30, "the task")
            tree = psutil.Process(master.pid).children(recursive=True)
            master.kill()
            master.wait()
            wait_until(lambda: all(has_ended(process.pid) for process in tree), 30, "the end of its children")
        with master_process(runtime_folder) as (_, url), application(url) as node:
            connected_slaves(node, 1)
            square = node.push_task(Square(8)).result(30)
            assert slave.poll() is None

    assert square == 64


def test_f63_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(AddressError, match=rf"127\.0\.0\.1.*{port}"):
            MasterNode({"master": {"listen": f"tcp://127.0.0.1:{port}"}}).start()


def test_f63_a_path_on_which_a_master_listens_is_taken(runtime_folder):
    listen = {"master": {"listen": f"ipc://{runtime_folder}/door"}}
    with MasterNode(listen) as master:
        with pytest.raises(AddressError, match="door"):
            MasterNode(listen).start()
        with application(master.url) as node:
            status = node.status()

    assert status["url"] == master.url


@pytest.mark.parametrize("listen", ["tcp://0.0.0.0:0", "tcp://192.0.2.1:8081"])
def test_without_keys_a_master_listens_on_this_machine_only(listen):
    with pytest.raises(AddressError, match="without keys"):
        MasterNode({"master": {"listen": listen}}).start()


def test_f81_an_application_waits_for_a_master_that_comes_later(runtime_folder):
    node = application(f"ipc://{runtime_folder}/master", connect_timeout=20.0)
    waiting = threading.Thread(target=node.connect)
    waiting.start()
    with master_process(runtime_folder):
        waiting.join(30)
        status = node.status()
        node.close()

    assert not waiting.is_alive()
    assert status["slaves"] == []


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_f81_an_application_gives_up_and_says_what_it_tried(runtime_folder, scheme):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ipc://{runtime_folder}/nobody" if scheme == "ipc" else f"tcp://127.0.0.1:{unused.getsockname()[1]}"

        with pytest.raises(MasterUnreachable) as caught:
            application(url, connect_timeout=0.3).connect()

    text = str(caught.value)
    assert url in text
    assert "tried" in text
    assert "concurrent-master --listen" in text


def test_a_slave_gives_up_and_says_what_it_tried(runtime_folder):
    slave = SlaveNode({"slave": {"master": f"ipc://{runtime_folder}/nobody", "workers": 1, "connect_timeout": 0.3}})

    with pytest.raises(MasterUnreachable, match="tried"):
        slave.run()
