"""The commands that read, and a cluster that runs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from concurro import Task, TaskSystem
from concurro.cli.commands import concurrent_group
from tests.support.jobs import Square
from tests.support.programs import command, run_program


class Say(Task):
    """Prints its name."""

    def __call__(self):
        """Do it."""
        print(f"said by {self.name}")


class Talk(TaskSystem):
    """Has two tasks that print, and prints itself."""

    def __init__(self):
        super().__init__()
        self.done = 0

    def generate_tasks(self, master):
        """Yield both."""
        return (Say(f"say-{number}") for number in range(2))

    def task_finished(self, master, task, result, error):
        """Count."""
        self.done += 1

    def is_complete(self, master):
        """Say whether both are there."""
        return self.done == 2

    def gather_result(self, master):
        """Print the end."""
        print("all was said")
        return self.done, None


@pytest.fixture
def ask(shared_cluster):
    """Give what calls a command about a cluster that has finished three tasks."""
    assert [future.result(30) for future in shared_cluster.push_tasks(map(Square, range(3)))] == [0, 1, 4]

    def call(*arguments, expect=0):
        run = CliRunner().invoke(concurrent_group, [*arguments, "--master", shared_cluster.master_url])
        assert run.exit_code == expect, run.output
        return run.stdout

    return call


def test_slaves_tell_where_they_run(ask, shared_cluster):
    record = json.loads(ask("slaves", "--json"))
    shown = ask("slaves")

    (slave,) = record["slaves"]
    assert record["version"] == 1
    assert slave["id"] == shared_cluster.slaves[0].id
    assert slave["connected"] > 0
    assert slave["surroundings"]["versions"]["python"] == platform.python_version()
    assert slave["id"] in shown
    assert platform.python_version() in shown


def test_slaves_are_chosen_by_state_and_host(ask):
    assert json.loads(ask("slaves", "--json", "--state", "sick"))["slaves"] == []
    assert ask("slaves", "--host", "no such host") == "no slave matches (1 in all)\n"
    assert ask("slaves", "--state", "ok", "--host", platform.node()).count("\n") == 2


def test_systems_name_their_owner_and_count_their_tasks(ask):
    (system,) = json.loads(ask("systems", "--json", "--mine"))["systems"]

    assert system["done"] >= 3
    assert system["owner"]["host"] == platform.node()
    assert f"{platform.node()}:{system['owner']['pid']}" in ask("systems", "--mine")


def test_systems_are_chosen_by_state_and_name(ask):
    assert json.loads(ask("systems", "--json", "--state", "failed"))["systems"] == []
    assert ask("systems", "--name", "no such name") == "no system matches (1 in all)\n"


def test_one_picture_shows_slaves_and_systems(ask, shared_cluster):
    shown = ask("top", "--once")

    assert shown.startswith(f"master {shared_cluster.master_url}")
    assert shared_cluster.slaves[0].id in shown
    assert "\x1b" not in shown


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_what_was_typed(tmp_path):
    folder = Path(command("concurrent")).parent
    (tmp_path / "completion.bash").write_text(CliRunner().invoke(concurrent_group, ["completion", "bash"]).stdout)
    typed = "COMP_WORDS=(concurrent sys); COMP_CWORD=1; _concurrent_completion concurrent; echo ${COMPREPLY[@]}"

    run = subprocess.run(
        ["bash", "--norc", "-c", f"source {tmp_path}/completion.bash; {typed}"],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert run.stdout == "systems\n", run.stderr


def test_the_doctor_knows_master_and_slaves(ask, shared_cluster):
    record = json.loads(ask("doctor", "--json"))

    found = {(each["where"], each["topic"]): each["verdict"] for each in record["findings"]}
    assert found["master", "address"] == "ok"
    assert found["master", "slaves"] == "ok"
    assert record["master"]["versions"]["cloudpickle"] == record["here"]["versions"]["cloudpickle"]
    assert set(record["slaves"]) == {shared_cluster.slaves[0].id}


def test_the_logs_of_a_system_have_what_its_tasks_and_callbacks_printed(ask, shared_cluster):
    handle = shared_cluster.submit(Talk())
    # In a process of its own: what the cluster prints goes to our standard output.
    arguments = ["logs", handle.system_id, "--follow", "--master", shared_cluster.master_url]
    following = run_program(command("concurrent"), *arguments).stdout.splitlines()
    assert handle.result(30) == 2

    record = json.loads(ask("logs", handle.system_id, "--json"))

    assert following[-1] == "[Talk] all was said"
    assert sorted(following[:-1]) == ["[say-0] said by say-0", "[say-1] said by say-1"]
    assert record["system_id"] == handle.system_id
    assert sorted(line["text"] for line in record["lines"]) == ["all was said", "said by say-0", "said by say-1"]
    assert ask("logs", f"{handle.system_id}:1") == "[say-1] said by say-1\n"
    assert ask("logs", handle.system_id, "--lines", "1") == "[Talk] all was said\n"


def test_the_logs_of_nothing_are_refused(ask):
    assert ask("logs", "nobody", expect=2) == ""
