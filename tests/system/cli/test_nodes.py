"""`concurrent-master` and `concurrent-slave` with real processes."""

from __future__ import annotations

import signal
import socket

import psutil
import pytest

from concurro.transport.addresses import is_ours
from tests.support.commands import running, running_master, running_slave
from tests.support.programs import EXAMPLES, command, run_program
from tests.support.waiting import wait_until

MASTER = command("concurrent-master")
SLAVE = command("concurrent-slave")


def test_a_master_says_how_to_join_it(tmp_path):
    with running_master(tmp_path) as (master, url):
        said = master.stderr

    port = url.rsplit(":", 1)[1]
    assert int(port) > 0
    assert f"concurrent-slave --master {url}" in said
    assert f"concurrent run FILE --master {url}" in said
    assert master.stdout == ""


def test_a_master_of_ours_is_told_from_others_and_from_nobody(tmp_path, runtime_folder, monkeypatch):
    with running_master(tmp_path) as (master, url):
        found = is_ours(url)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        without_its_key = is_ours(url)
        monkeypatch.undo()
        master.end()

        assert (found, without_its_key, is_ours(url)) == (True, False, False)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_master_and_slave_cleanly(number, tmp_path, runtime_folder):
    with running_master(tmp_path, f"ipc://{runtime_folder}/master") as (master, url):
        with running_slave(tmp_path, url) as slave:
            children = psutil.Process(slave.process.pid).children(recursive=True)
            slave_code = slave.end(number)
        master_code = master.end(number)

    assert children
    assert (slave_code, master_code) == (0, 0)
    assert "Traceback" not in slave.stderr + master.stderr


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_a_taken_address_is_refused(scheme, tmp_path, runtime_folder):
    listen = "tcp://127.0.0.1:0" if scheme == "tcp" else f"ipc://{runtime_folder}/master"

    with running_master(tmp_path, listen) as (_, url):
        run = run_program(MASTER, "--listen", url, expect=2)

    assert url.removeprefix("tcp://").removeprefix("ipc://") in run.stderr
    assert "Traceback" not in run.stderr


def test_a_master_refuses_to_listen_where_strangers_are():
    run = run_program(MASTER, "--listen", "tcp://0.0.0.0:0", expect=2)

    assert "without keys" in run.stderr
    assert "Traceback" not in run.stderr


def test_an_unknown_strategy_is_refused_at_the_start(tmp_path, runtime_folder):
    (tmp_path / "concurrent.toml").write_text(
        f'[master]\nlisten = "ipc://{runtime_folder}/m"\nstrategy = "least-loadet"\n'
    )

    run = run_program(MASTER, cwd=tmp_path, expect=2)

    assert "concurrent.toml:3" in run.stderr
    assert "did you mean 'least-loaded'?" in run.stderr


@pytest.mark.slow
def test_a_slave_without_a_master_gives_up_with_3(tmp_path, runtime_folder):
    url = f"ipc://{runtime_folder}/nobody"
    (tmp_path / "concurrent.toml").write_text('[slave]\nconnect_timeout = "1 s"\n')

    run = run_program(SLAVE, "--master", url, "--workers", 1, cwd=tmp_path, expect=3)

    assert f"no master at {url}: tried" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.slow
def test_another_service_on_the_address_is_told_apart_from_a_master(tmp_path):
    (tmp_path / "concurrent.toml").write_text('[slave]\nconnect_timeout = "1 s"\n')
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        run = run_program(SLAVE, "--master", url, "--workers", 1, cwd=tmp_path, expect=3)

    assert "does not answer as a Concurrent master would" in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ("import concurro.nodes.dialer as p; p.python_version = lambda: '3.99'", "3.99"),
        ("import concurro.nodes.dialer as p; p.PROTOCOL = 99", "protocol 99"),
    ],
)
def test_a_slave_of_another_version_is_refused_with_both_versions(patch, expected, tmp_path, runtime_folder):
    import sys

    version = f"{sys.version_info.major}.{sys.version_info.minor}" if "3.99" in patch else "protocol 1"
    with running_master(tmp_path, f"ipc://{runtime_folder}/master") as (_, url):
        code = f"{patch}; import sys; sys.argv = ['concurrent-slave', '--master', {url!r}, '--workers', '1']"
        run = run_program(sys.executable, "-c", f"{code}; import concurro.cli; concurro.cli.slave_main()", expect=3)

    assert expected in run.stderr
    assert version in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.slow
def test_an_application_that_comes_first_waits_for_the_master(tmp_path, runtime_folder):
    url = f"ipc://{runtime_folder}/master"
    arguments = ["run", EXAMPLES / "nqueens.py", "-p", "n=6", "--master", url]

    with running(tmp_path, command("concurrent"), *arguments) as program:
        wait_until(lambda: psutil.Process(program.process.pid).num_threads() > 1, 30, "the application to dial")
        with running_master(tmp_path, url), running_slave(tmp_path, url):
            code = program.wait(30)

    assert code == 0
    assert program.stdout == "4\n"


@pytest.mark.slow
def test_a_master_survives_what_a_stranger_says(tmp_path):
    with running_master(tmp_path) as (master, url):
        host, port = url.removeprefix("tcp://").rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=5) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        run = run_program(command("concurrent"), "status", "--master", url)

    assert "no slaves" in run.stdout
    assert "Traceback" not in master.stderr
