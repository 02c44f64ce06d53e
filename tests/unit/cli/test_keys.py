"""`concurrent keys`, without any node."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import concurro.cli.run
from concurro.cli.commands import concurrent_group
from concurro.cli.nodes import _say_how_to_join
from concurro.cli.outcomes import CommandFailure
from concurro.transport.keys import read_peer
from concurro.transport.keys_folder import KeyFolder


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return lambda *arguments: CliRunner().invoke(concurrent_group, ["keys", *arguments], prog_name="concurrent")


@pytest.fixture
def folder(invoke, tmp_path) -> KeyFolder:
    run = invoke("init", "keys")
    assert run.exit_code == 0, run.stderr
    return KeyFolder(tmp_path / "keys")


def test_init_makes_a_folder_and_says_what_comes_next(invoke, tmp_path):
    run = invoke("init", "keys")

    assert run.exit_code == 0
    assert "concurrent keys add slave NAME keys" in run.stderr
    assert "concurrent-master --keys keys" in run.stderr
    assert KeyFolder(tmp_path / "keys").pair().secret not in run.output


def test_add_prints_the_file_and_how_to_take_it_where_it_is_used(invoke, folder):
    run = invoke("add", "slave", "node7", "keys", "--master", "tcp://head:8081")

    key = read_peer(folder.path / "node7.key")
    assert run.stdout == "keys/node7.key\n"
    assert "concurrent-slave --master tcp://head:8081 --keys node7.key" in run.stderr
    assert "scp -p keys/node7.key MACHINE:" in run.stderr
    assert key.addresses == ("tcp://head:8081",)
    assert key.pair.secret not in run.output


def test_list_shows_who_is_let_in_and_no_secret(invoke, folder):
    for role, name in (("slave", "node7"), ("admin", "boss")):
        invoke("add", role, name, "keys")
    secrets = [read_peer(path).pair.secret for path in (folder.path / "node7.key", folder.path / "boss.key")]
    (folder.path / "boss.key").unlink()

    run, listed = invoke("list", "keys"), json.loads(invoke("list", "keys", "--json").stdout)

    assert [line.split()[:2] for line in run.stdout.splitlines()[1:]] == [["boss", "admin"], ["node7", "slave"]]
    assert "to be taken away" in run.stdout.splitlines()[2]
    assert listed["version"] == 1
    assert [(key["name"], key["role"], key["secret_is_here"]) for key in listed["keys"]] == [
        ("boss", "admin", False),
        ("node7", "slave", True),
    ]
    assert not any(secret in run.output for secret in secrets)


def test_a_list_without_keys_says_how_to_make_one(invoke, folder):
    assert "concurrent keys add ROLE NAME keys" in invoke("list", "keys").stdout


def test_list_tells_of_files_that_are_not_let_in(invoke, folder):
    (folder.peers_path / "node7.pub").write_text("torn")

    run = invoke("list", "keys")

    assert run.exit_code == 0
    assert "not let in: keys/peers/node7.pub" in run.stderr


def test_revoke_removes_the_key(invoke, folder):
    invoke("add", "slave", "node7", "keys")

    run = invoke("revoke", "node7", "keys")

    assert run.exit_code == 0
    assert folder.peers() == ([], [])


def test_the_folder_of_the_configuration_is_used(invoke, folder, tmp_path):
    (tmp_path / "concurrent.toml").write_text('[security]\nkeys = "keys"\n')

    run = invoke("add", "slave", "node7")

    assert run.exit_code == 0
    assert [peer.name for peer in folder.peers()[0]] == ["node7"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "slave", "node7"], "give DIR, or set [security] keys"),
        (["add", "king", "node7", "keys"], "'king' is not one of 'slave', 'application', 'admin'"),
        (["add", "slave", "../x", "keys"], "cannot name a key"),
        (["add", "slave", "node7", "nowhere"], "cannot be read"),
        (["add", "slave", "node7", "keys", "--master", "head"], "it has no scheme"),
        (["revoke", "node7", "keys"], "there is no key 'node7'; there are: none"),
        (["init", "keys"], "not overwritten"),
        (["list", "nowhere"], "cannot be read"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_says_why(invoke, folder, arguments, said):
    run = invoke(*arguments)

    assert run.exit_code == 2
    assert said in " ".join(run.stderr.split())
    assert "Traceback" not in run.output


def test_a_master_prints_the_lines_to_paste_on_other_machines(folder, capsys, monkeypatch):
    monkeypatch.setattr("concurro.cli.nodes.socket.gethostname", lambda: "head")
    folder.add("slave", "node7")
    folder.add("slave", "node8").unlink()

    _say_how_to_join("tcp://*:8081", folder.path)

    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert f"take its key there:  scp -p {folder.path}/node7.key MACHINE:" in lines
    assert "concurrent-slave --master tcp://head:8081 --keys node7.key" in lines
    assert "concurrent-slave --master tcp://head:8081 --keys node8.key" in lines
    assert f"first here:  concurrent keys add application NAME {folder.path}" in lines
    assert "concurrent run FILE --master tcp://head:8081 --keys NAME.key" in lines


def test_a_master_without_keys_says_who_may_join(capsys):
    _say_how_to_join("tcp://127.0.0.1:8081", None)

    said = capsys.readouterr().err
    assert "concurrent-slave --master tcp://127.0.0.1:8081\n" in said
    assert "for programs of this user on this machine; others need keys: concurrent keys init DIR" in said


@pytest.fixture
def job(folder):
    """Give the file of a job."""
    place = folder.path.parent / "job.py"
    place.write_text("""
from concurro import TaskSystem

class Job(TaskSystem):
    def generate_tasks(self, master): return None
    def task_finished(self, master, task, result, error): pass
    def is_complete(self, master): return True
    def gather_result(self, master): return None, None
""")
    return place


@pytest.fixture
def run_job(job, monkeypatch):
    """Return what runs the job: its output, and who would be dialled."""

    def run_it(*options):
        dialled = []

        def note(request, *others):
            dialled.append(request.master)
            raise CommandFailure(request.master)

        monkeypatch.setattr(concurro.cli.run, "_opened", note)
        run = CliRunner().invoke(concurrent_group, ["run", str(job), *options], prog_name="concurrent")
        return run, dialled

    return run_it


def test_a_job_with_a_key_goes_to_the_master_that_is_noted_in_it(folder, run_job):
    key = folder.add("application", "ada", ["tcp://head:8081"])

    by_file, by_folder = run_job("--keys", str(key)), run_job("--keys", str(folder.path))

    assert by_file[1] == by_folder[1] == ["tcp://head:8081"]


def test_a_master_that_is_named_comes_before_the_one_that_is_noted(folder, run_job):
    key = folder.add("application", "ada", ["tcp://head:8081"])

    _, dialled = run_job("--keys", str(key), "--master", "tcp://other:8081")

    assert dialled == ["tcp://other:8081"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "ada.key is for a master, and none is named: give --master URL"),
        (["--inline"], "--inline does everything here; it cannot be combined with --keys"),
    ],
)
def test_a_key_that_would_be_of_no_use_is_refused(folder, run_job, options, said):
    key = folder.add("application", "ada")

    run, dialled = run_job("--keys", str(key), *options)

    assert (run.exit_code, dialled) == (2, [])
    assert said in " ".join(run.stderr.split())
