"""Who may connect to a master, with real processes: keys that are given, and keys that are made."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import pytest
import zmq

from concurro import ApplicationNode, AuthenticationError, MasterNode, MasterUnreachable, RefusedError
from concurro.transport.keys import read_master, read_peer
from concurro.transport.keys_automatic import AutomaticKeys, find_automatic
from concurro.transport.keys_folder import KeyFolder
from concurro.wire.messages import Kind, pack_message
from tests.support.jobs import SHIPPED, Mixture, Square, Waiting, read_trace
from tests.support.keys import dealer_with
from tests.support.leftovers import watch_leftovers
from tests.support.messages import hello_body
from tests.support.nodes import node_process
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOPBACK = "tcp://127.0.0.1:0"


class Shared(NamedTuple):
    """A master with keys, a slave, and keys for others; tests leave it as it was."""

    pid: int
    url: str
    folder: KeyFolder
    mine: Path


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Shared]:
    """Give one that listens on every interface; its slave has its key from a folder with several."""
    place = tmp_path_factory.mktemp("shared")
    folder = KeyFolder(place / "keys")
    folder.create()
    mine = given_out(folder, place / "mine")
    with watch_leftovers(), keyed_master(folder, "tcp://0.0.0.0:0") as (master, url), slave(url, mine):
        with application(url, mine) as node:
            wait_for_slaves(node, 1)
        yield Shared(master.pid, url, folder, mine)


def given_out(folder: KeyFolder, mine: Path) -> Path:
    """Make a key of each role, and take it to where it is used."""
    mine.mkdir(mode=0o700)
    for role in ("slave", "application", "admin"):
        folder.add(role, f"the-{role}").rename(mine / f"the-{role}.key")
    return mine


@pytest.fixture
def folder(tmp_path, runtime_folder) -> KeyFolder:
    """Give a folder that lets in a key of each role."""
    folder = KeyFolder(tmp_path / "keys")
    folder.create()
    return folder


@pytest.fixture
def mine(folder, tmp_path) -> Path:
    """Give a folder with these keys, taken to where they are used."""
    return given_out(folder, tmp_path / "mine")


@contextmanager
def tcp_master(listen: str = LOOPBACK, **config: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with node_process("MasterNode", {"master": {"listen": listen}, **config}) as process:
        words = process.stdout.readline().split()
        assert words[:1] == ["ready"], process.stderr.read()
        yield process, words[1]


@contextmanager
def keyed_master(folder: KeyFolder, listen: str = LOOPBACK) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with tcp_master(listen, security={"keys": str(folder.path)}) as (process, url):
        yield process, url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - replaced


@contextmanager
def slave(url: str, keys: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    security = {} if keys is None else {"security": {"keys": str(keys)}}
    with node_process("SlaveNode", {"slave": {"master": url, "workers": 1}, **security}) as process:
        yield process


def application(url: str, keys: Path | None = None) -> ApplicationNode:
    config: dict[str, Any] = {**SHIPPED, "application.connect_timeout": 10.0}
    return ApplicationNode(url, config=config if keys is None else {**config, "security.keys": str(keys)})


def wait_for_slaves(node: ApplicationNode, count: int) -> None:
    wait_until(lambda: len(node.status()["slaves"]) == count, 30, f"{count} slaves")


def automatic_files(runtime_folder: Path) -> list[Path]:
    return list(runtime_folder.rglob("local.key"))


# Keys that a master makes


@pytest.mark.slow
def test_programs_of_one_user_need_no_keys_on_loopback(runtime_folder):
    with tcp_master() as (_, url), slave(url), application(url) as node:
        while_it_runs = automatic_files(runtime_folder)
        square = node.push_task(Square(7)).result(30)
    wait_until(lambda: not automatic_files(runtime_folder), 30, "the key file to go")

    assert square == 49
    assert len(while_it_runs) == 1


def test_a_killed_master_leaves_no_key(runtime_folder):
    with tcp_master() as (master, _):
        assert automatic_files(runtime_folder)

        master.kill()

        wait_until(lambda: not automatic_files(runtime_folder), 30, "the key file to go")


@pytest.mark.slow
def test_a_slave_goes_on_with_the_successor_of_its_master_and_its_new_keys(runtime_folder):
    with tcp_master() as (master, url), slave(url):
        with application(url) as node:
            wait_for_slaves(node, 1)
            first = find_automatic("127.0.0.1", int(url.rpartition(":")[2]))
        master.kill()
        master.wait()
        with tcp_master(url), application(url) as node:
            wait_for_slaves(node, 1)
            second = find_automatic("127.0.0.1", int(url.rpartition(":")[2]))
            square = node.push_task(Square(3)).result(30)

    assert square == 9
    assert first.pair != second.pair


def test_without_anybody_there_a_stale_key_does_not_matter(runtime_folder):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        stale = AutomaticKeys()
        stale.publish(*unused.getsockname())

        with pytest.raises(MasterUnreachable, match="start one with"):
            ApplicationNode(
                f"tcp://127.0.0.1:{unused.getsockname()[1]}", config={"application.connect_timeout": 0.3}
            ).connect()
        stale.remove()


AS_NOBODY = """
import encodings.idna, os, sys
import concurro.transport.tcp
from concurro.errors import AuthenticationError
from concurro.transport.addresses import connect
from concurro.transport.loop import Loop
os.setgid(65534)
os.setuid(65534)
try:
    connect(Loop(), sys.argv[1])
except AuthenticationError as error:
    print(error.code)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_of_the_machine_finds_no_key(runtime_folder):
    runtime_folder.chmod(0o755)

    with tcp_master() as (_, url):
        run = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, url], capture_output=True, text=True, timeout=30, check=False
        )

    assert run.stdout == "missing\n", run.stderr


@pytest.mark.slow
def test_a_master_that_can_ask_nobody_who_he_is_ends_and_says_so(caplog):
    master = MasterNode({"master": {"listen": LOOPBACK}})
    master.start()
    authenticator = master._door._listener._listener._authenticator
    master.loop.post(lambda: authenticator._socket.close(0))

    ended = master.wait(30)

    assert ended
    assert "the authenticator failed (its socket was closed), and nobody can be let in" in caplog.text


# Keys that are given


@pytest.mark.slow
@pytest.mark.parametrize("key", ["the-application.key", "the-admin.key", "."])
def test_jobs_run_with_the_key_of_an_application_or_an_admin_or_a_folder_with_both(shared, key):
    with application(shared.url, shared.mine / key) as node:
        report = node.submit(Mixture(*map(Square, range(5)))).result(30)

    assert sorted(report.results.values()) == [0, 1, 4, 9, 16]


def test_what_belongs_to_everybody_is_changed_by_admins_only(shared):
    with (
        application(shared.url, shared.mine / "the-application.key") as node,
        application(shared.url, shared.mine / "the-admin.key") as admin,
    ):
        with pytest.raises(LookupError, match="the key the-application is none of an admin"):
            node.request("remove_slave", ["nobody"]).result(30)
        removed = admin.request("remove_slave", ["nobody"]).result(30)

    assert removed is False


def test_a_slaves_key_is_no_applications_key(shared):
    with pytest.raises(RefusedError, match="the key the-slave lets no application in"):
        application(shared.url, shared.mine / "the-slave.key").connect()


@pytest.mark.parametrize("role", ["application", "admin"])
def test_who_is_no_slave_gets_no_tasks(shared, role):
    with slave(shared.url, shared.mine / f"the-{role}.key") as process:
        _, said = process.communicate(timeout=20)

    assert process.returncode == 1
    assert f"the key the-{role} lets no slave in" in said


def test_without_a_key_nobody_is_let_in_and_is_told_where_to_get_one(shared):
    with pytest.raises(AuthenticationError, match="concurrent keys add") as caught:
        application(shared.url).connect()

    assert caught.value.code == "missing"


@pytest.mark.slow
def test_the_key_of_another_master_is_told_so_in_bounded_time(shared, tmp_path):
    other = KeyFolder(tmp_path / "other")
    other.create()
    key = other.add("application", "me")

    with pytest.raises(AuthenticationError, match=r"me\.key names") as caught:
        application(shared.url, key).connect()

    assert caught.value.code == "master"


@pytest.mark.slow
def test_a_stale_key_is_told_from_a_master_that_is_not_there(shared):
    stale = AutomaticKeys()
    stale.publish("127.0.0.1", int(shared.url.rpartition(":")[2]))

    with pytest.raises(AuthenticationError, match=r"local\.key names: the file is another master's, or stale"):
        application(shared.url).connect()
    stale.remove()


@pytest.mark.slow
def test_a_revoked_slave_is_dropped_ends_and_its_task_runs_elsewhere(folder, mine, tmp_path):
    folder.add("slave", "other")
    with keyed_master(folder) as (_, url), application(url, mine / "the-application.key") as node:
        with slave(url, mine / "the-slave.key") as revoked:
            wait_for_slaves(node, 1)
            handle = node.submit(Mixture(Waiting("task", tmp_path)))
            wait_until(lambda: read_trace(tmp_path), 30, "the task")

            folder.revoke("the-slave")
            _, said = revoked.communicate(timeout=20)
        with slave(url, folder.path / "other.key"):
            wait_until(lambda: len(read_trace(tmp_path)) == 2, 30, "the task, once more")
            handle.cancel()

    assert revoked.returncode == 1
    assert "the key the-slave (slave)" in said
    assert "it was revoked" in said


@pytest.mark.slow
def test_an_application_whose_key_is_revoked_is_told(folder, mine):
    with keyed_master(folder) as (_, url), application(url, mine / "the-application.key") as node:
        future = node.push_task(Square(3))

        folder.revoke("the-application")

        with pytest.raises(ConnectionError):
            future.result(30)
        with pytest.raises(AuthenticationError, match="it was revoked"):
            wait_until(lambda: node.push_task(Square(4)).exception(30) is None, 30, "a word about the key")


def test_an_added_key_works_without_a_restart(folder):
    with keyed_master(folder) as (_, url):
        key = folder.add("application", "late")

        with application(url, key) as node:
            status = node.status()

    assert status["slaves"] == []


@pytest.mark.slow
def test_no_secret_is_in_arguments_environments_or_logs(folder, mine, runtime_folder):
    secrets = [read_master(folder.path / "master.key").secret]
    secrets += [read_peer(file).pair.secret for file in mine.glob("the-*.key")]
    with keyed_master(folder) as (master, url), slave(url, mine / "the-slave.key") as worker:
        with application(url, mine / "the-application.key") as node:
            node.push_task(Square(7)).result(30)
        with pytest.raises(RefusedError):
            application(url, mine / "the-slave.key").connect()
        seen = ""
        for node_process_ in (psutil.Process(master.pid), psutil.Process(worker.pid)):
            for process in [node_process_, *node_process_.children(recursive=True)]:
                seen += f"{process.cmdline()} {json.dumps(process.environ())}"
        worker.send_signal(signal.SIGTERM)
        seen += "".join(worker.communicate(timeout=20))
        master.send_signal(signal.SIGTERM)
        seen += "".join(master.communicate(timeout=20))

    assert "the-slave" in seen  # it was looked at
    assert not any(secret in seen for secret in secrets)


@pytest.mark.slow
@pytest.mark.parametrize(
    "frames",
    [
        [b"\xff garbage \0"],
        [pack_message(Kind.HELLO, hello_body("king"))],
        [pack_message(Kind.RESULTS, [[1, 0, b"", None, 5]], 1)],
        [b"", b"", b""],
        [bytes(64)] * 64,
    ],
    ids=["bytes", "no role", "no hello", "nothing", "many"],
)
def test_f55_who_has_a_key_and_sends_garbage_is_hung_up_on_and_disturbs_nobody(shared, frames):
    with application(shared.url, shared.mine / "the-application.key") as node:
        with dealer_with(read_peer(shared.mine / "the-slave.key"), int(shared.url.rpartition(":")[2])) as vandal:
            events = vandal.get_monitor_socket(zmq.Event.DISCONNECTED)
            vandal.send_multipart(frames)
            hung_up = events.poll(10_000)
            vandal.disable_monitor()
            events.close(0)

        assert hung_up
        assert node.status()["pid"] == shared.pid


@pytest.mark.slow
def test_f56_connections_that_say_nothing_keep_nobody_out(folder, mine):
    count = min(2000, psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[0] // 2)
    with keyed_master(folder) as (master, url), application(url, mine / "the-application.key") as early:
        host, port = url.removeprefix("tcp://").rsplit(":", 1)
        silent = [socket.create_connection((host, int(port)), timeout=10) for _ in range(count)]

        with application(url, mine / "the-admin.key") as late:
            pids = early.status()["pid"], late.status()["pid"]
        wait_until(lambda: psutil.Process(master.pid).num_fds() < count, 30, "the oldest to be hung up on")
        for stranger in silent:
            stranger.close()

    assert pids == (master.pid, master.pid)
