"""The commands, without any node."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import concurro.cli.commands
from concurro import Component, Environment, ICommandGroup, implementer
from concurro.cli.commands import concurrent_group
from concurro.cli.nodes import master_command, slave_command
from concurro.cli.questions import status_lines

STATUS = {
    "version": 1,
    "url": "tcp://127.0.0.1:8081",
    "pid": 11,
    "uptime": 12.3,
    "slaves": [],
    "systems": [],
}


@implementer(ICommandGroup)
class Greetings(Component):
    """Commands of a plugin."""

    name = "greet"

    def command(self):
        @click.command()
        def greet():
            """Say hello."""
            click.echo("hello from a plugin")

        return greet


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return lambda *arguments: CliRunner().invoke(concurrent_group, arguments, prog_name="concurrent")


@pytest.fixture
def greeting(monkeypatch):
    environment = Environment({})
    environment.declare(Greetings)
    monkeypatch.setattr(concurro.cli.commands, "_environment", lambda: environment)


def test_the_help_lists_every_command(invoke):
    run = invoke("--help")

    assert run.exit_code == 0
    for name in ("run", "submit", "status", "explain", "cancel", "plugins", "config"):
        assert f"\n  {name} " in run.stdout


def test_an_unknown_command_is_answered_with_the_closest(invoke):
    run = invoke("rnu")

    assert run.exit_code == 2
    assert "no command 'rnu'; did you mean 'run'?" in run.stderr


def test_a_plugin_adds_a_command(invoke, greeting):
    run = invoke("greet")

    assert (run.exit_code, run.stdout) == (0, "hello from a plugin\n")
    assert "greet" in invoke("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], "Missing argument 'FILE[:CLASS]|NAME'"),
        (["run", "job.py", "--workers", "-1"], "-1 is not in the range"),
        (["run", "job.py", "--workers", "two"], "'two' is not a valid integer"),
        (["run", "job.py", "--timeout", "0"], "0.0 is not in the range"),
        (["run", "job.py"], "there is no file job.py"),
        (["run", "no-such-system"], "no ITaskSystem is called 'no-such-system'"),
        (["run", "job.py", "--master", "tcp:/x"], "address 'tcp:/x'"),
        (["run", "job.py", "--detach"], "--detach needs a master"),
        (["run", "job.py", "--inline", "--master", "ipc:///m"], "cannot be combined with --master"),
        (["run", "job.py", "--workers", "2", "--master", "ipc:///m"], "--workers is for the embedded cluster"),
        (["run", "job.py", "--inline", "--report", "page.html"], "--inline has no master"),
        (["run", "job.py", "--detach", "--master", "ipc:///m", "--trace", "t.json"], "concurrent report SYSTEM_ID"),
        (["run", "job.py", "--report", "-"], "standard output belongs to the result"),
        (["run", "job.py", "--report", "nowhere/page.html"], "there is no folder nowhere"),
        (["report", "3f9c", "-o", "nowhere/page.html"], "there is no folder nowhere"),
        (["run", "job.py", "--config", "missing.toml"], "missing.toml"),
        (["run", "job.py", "--nonsense"], "No such option"),
        (["status", "--master", "udp://x:1"], "scheme 'udp' is not known"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(invoke, arguments, expected):
    run = invoke(*arguments)

    assert run.exit_code == 2
    assert expected in run.stderr
    assert run.stdout == ""
    assert "Traceback" not in run.stderr


def test_a_wrong_option_of_the_file_is_reported_with_its_place(invoke, tmp_path):
    (tmp_path / "concurrent.toml").write_text("[master]\nlisten_on = 1\n")

    run = invoke("run", "job.py")

    assert run.exit_code == 2
    assert "concurrent.toml:2" in run.stderr
    assert "did you mean 'listen'?" in run.stderr


def test_a_job_runs_inline_and_prints_json(invoke, tmp_path):
    (tmp_path / "inline_job.py").write_text(INLINE_JOB)

    run = invoke("run", "inline_job.py", "-p", "n=4", "--inline", "--json")

    record = json.loads(run.stdout)
    assert run.exit_code == 0
    assert (record["version"], record["state"], record["result"]) == (1, "complete", 6)
    assert record["counts"]["done"] == 4
    assert "4 tasks: 4 done, 0 cancelled, 0 failed in" in run.stderr


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        (master_command, ["--listen", "8081"], "it has no scheme"),
        (master_command, ["--listen", "tcp://127.0.0.1:99999"], "port 99999 is above 65535"),
        (slave_command, ["--workers", "-1"], "-1 is not in the range"),
        (slave_command, ["--master", "ipc://"], "the path is missing"),
    ],
)
def test_nodes_refuse_wrong_usage(command, arguments, expected):
    run = CliRunner().invoke(command, arguments)

    assert run.exit_code == 2
    assert expected in run.stderr


def test_the_status_names_what_is_missing():
    lines = status_lines(STATUS)

    assert lines[0] == "master tcp://127.0.0.1:8081  pid 11  up 12 s"
    assert "no slaves; start one with: concurrent-slave --master tcp://127.0.0.1:8081" in lines
    assert "no systems" in lines


def test_the_status_lists_slaves_and_systems():
    slave = {"id": "host-1", "workers": 2, "running": 1, "queued": 3, "finished": 4, "sick": "", "draining": False}
    slave["lent"] = 0
    lending = {**slave, "workers": 5, "lent": 3}
    halting = {**slave, "stopped": [71, 72]}
    system = {"system_id": "s", "name": "Job", "state": "running", "open": 5, "done": 6, "failed": 0, "elapsed": 1.5}

    lines = status_lines(
        {**STATUS, "slaves": [slave, {**slave, "sick": "no disk"}, lending, halting], "systems": [system]}
    )

    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "host-1 2 1 3 4 ok" in text
    assert "host-1 2 1 3 4 sick: no disk" in text
    assert "host-1 2 1 3 4 ok, 3 lent by tasks that wait" in text
    assert "host-1 2 1 3 4 ok, workers stopped: process 71, 72" in text
    assert "s Job running 5 6 0 1.5 s" in text


def test_the_status_says_which_tasks_nobody_can_run():
    system = {"system_id": "s", "name": "Job", "state": "running", "open": 5, "done": 6, "failed": 0, "elapsed": 1.5}

    lines = status_lines({**STATUS, "systems": [system, {**system, "stuck": "no slave can run task s:1: no gpu"}]})

    assert lines[-2:] == ["", "s: no slave can run task s:1: no gpu"]


SHADOW = {"strategy": "throughput", "failure": "", "decisions": 40, "different": 9, "waits": 2, "expected": 80.0}


@pytest.mark.parametrize(
    ("shadow", "expected"),
    [
        (
            {"regret": 12.5},
            "40 decisions, 9 different, 2 to wait; its choices are expected 12.5 s sooner in sum, of 80 s",
        ),
        ({"regret": -3.0}, "its choices are expected 3 s later in sum, of 80 s"),
        (
            {"regret": 0.0, "failure": "Odd.rate raised ValueError: no"},
            "is switched off: Odd.rate raised ValueError: no",
        ),
    ],
)
def test_the_status_tells_how_a_shadow_compares(shadow, expected):
    lines = status_lines({**STATUS, "shadow": {**SHADOW, **shadow}})

    assert lines[-1].startswith("shadow throughput")
    assert expected in lines[-1]


def test_a_command_imports_only_what_it_needs():
    code = "import sys, concurro.cli; concurro.cli.main.__call__; print(*sorted(sys.modules))"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(run.stdout.split())
    assert loaded.isdisjoint({"click", "rich", "zmq", "concurro.nodes.master", "concurro.cli.run"})


INLINE_JOB = """
from concurro import Task, TaskSystem

class Give(Task):
    def __init__(self, n):
        super().__init__(f"give-{n}")
        self.n = n

    def __call__(self):
        return self.n

class Add(TaskSystem):
    def __init__(self, n: int = 3):
        super().__init__()
        self.n = n
        self.done = self.total = 0

    def generate_tasks(self, master):
        return (Give(i) for i in range(self.n))

    def task_finished(self, master, task, result, error):
        self.total += result
        self.done += 1

    def is_complete(self, master):
        return self.done == self.n

    def gather_result(self, master):
        return self.total, None
"""
