"""`concurrent run` with real processes."""

from __future__ import annotations

import json
import os
import platform
import pty
import signal

import psutil
import pytest

from concurro import ApplicationNode
from tests.support.commands import running, running_master, running_slave
from tests.support.programs import EXAMPLES, command, run_program
from tests.support.waiting import wait_until

CONCURRENT = command("concurrent")


@pytest.mark.slow
def test_a_job_prints_its_result_and_counts_its_tasks():
    run = run_program(CONCURRENT, "run", EXAMPLES / "reverse_md5.py", "--workers", 2)

    assert run.stdout == "1763965\n"
    summary = run.stderr.splitlines()[-1].split()
    done, cancelled = int(summary[2]), int(summary[4])
    assert done + cancelled == 128
    assert cancelled > 0
    assert summary[:2] == ["128", "tasks:"]


@pytest.mark.slow
def test_json_goes_to_stdout_alone():
    run = run_program(CONCURRENT, "run", EXAMPLES / "nqueens.py", "-p", "n=6", "--workers", 1, "--json")

    record = json.loads(run.stdout)
    assert (record["version"], record["state"], record["result"]) == (1, "complete", 4)
    assert record["counts"]["done"] == 1 + 6 + 20


@pytest.mark.slow
def test_a_job_runs_from_another_folder_with_its_neighbours(jobs, runtime_folder):
    run = run_program(CONCURRENT, "run", jobs / "failing.py", "--workers", 1, cwd=runtime_folder, expect=1)

    assert run.stdout == ""
    assert "dividing.py" in run.stderr
    assert "ZeroDivisionError: division by zero" in run.stderr
    assert "1 task: 0 done, 0 cancelled, 1 failed in" in run.stderr
    assert "concurro/nodes" not in run.stderr
    assert "concurro/execution" not in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "expected"),
    [("callback", "RuntimeError: the callback failed"), ("result", "LookupError: nothing was found")],
)
def test_a_failed_job_ends_with_1_and_says_why(jobs, where, expected):
    run = run_program(CONCURRENT, "run", "failing.py", "-p", f"where={where}", "--workers", 1, cwd=jobs, expect=1)

    assert run.stdout == ""
    assert expected in run.stderr
    assert "concurro/nodes" not in run.stderr


@pytest.mark.slow
def test_a_failed_job_tells_so_in_json(jobs):
    run = run_program(
        CONCURRENT, "run", "failing.py", "-p", "where=result", "--workers", 1, "--json", cwd=jobs, expect=1
    )

    record = json.loads(run.stdout)
    assert record["state"] == "failed"
    assert record["error"]["type"] == "LookupError"


@pytest.mark.slow
def test_a_job_that_takes_too_long_is_cancelled(jobs, runtime_folder):
    run = run_program(
        CONCURRENT, "run", "sleeping.py", "-p", f"started={jobs}/started", "--workers", 1, "--timeout", 1, cwd=jobs,
        expect=1,
    )  # fmt: skip

    assert "the job did not end within 1 s and was cancelled" in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_job_and_prints_what_was_gathered(jobs, number):
    started = jobs / "started"
    options = ["-p", f"started={started}", "--workers", 1]

    with running(jobs, CONCURRENT, "run", "sleeping.py", *options, cwd=jobs) as program:
        wait_until(started.exists, 30, "the second task")
        code = program.end(number)

    assert code == 130
    assert program.stdout == "1 slept\n"
    assert "interrupted: cancelling the job" in program.stderr
    assert "5 tasks: 1 done, 4 cancelled, 0 failed in" in program.stderr


@pytest.mark.slow
def test_a_second_signal_kills(jobs):
    (jobs / "stubborn.py").write_text(STUBBORN)
    started = jobs / "started"

    with running(jobs, CONCURRENT, "run", "stubborn.py", "-p", f"started={started}", "--workers", 1, cwd=jobs) as run:
        wait_until(started.exists, 30, "the callback")
        run.process.send_signal(signal.SIGINT)
        run.wait_for("interrupted")
        code = run.end(signal.SIGINT)

    assert code == 130
    assert "killed" in run.stderr
    assert run.stdout == ""


@pytest.mark.slow
def test_a_terminal_sees_a_bar_that_leaves_no_trace(jobs):
    leader, follower = pty.openpty()
    options = ["-p", f"started={jobs}/started", "-p", "n=2", "-p", "seconds=0.4", "--workers", "1"]

    with running_on(follower, CONCURRENT, "run", "sleeping.py", *options, cwd=jobs) as process:
        os.close(follower)
        drawn = read_all(leader)
        code = process.wait(20)

    assert code == 0
    assert "\x1b[2K[" in drawn
    assert "sleeping" in drawn
    last = drawn.rsplit("\x1b[2K", 1)[1]
    assert last.startswith("3 tasks: 3 done, 0 cancelled, 0 failed in")


@pytest.mark.slow
def test_a_master_and_slaves_run_the_same_file(runtime_folder, tmp_path):
    with (
        running_master(tmp_path) as (_, url),
        running_slave(tmp_path, url, cwd=runtime_folder),
        running_slave(tmp_path, url, cwd=runtime_folder),
    ):
        run = run_program(CONCURRENT, "run", EXAMPLES / "nqueens.py", "-p", "n=10", "--master", url)
        status = json.loads(run_program(CONCURRENT, "status", "--json", "--master", url).stdout)
        shown = run_program(CONCURRENT, "status", "--master", url).stdout
        slaves = json.loads(run_program(CONCURRENT, "slaves", "--json", "--master", url).stdout)["slaves"]

    assert run.stdout == "724\n"
    assert [slave["surroundings"]["host"] for slave in slaves] == [platform.node()] * 2
    assert all(abs(slave["surroundings"]["ahead"]) <= 30 for slave in slaves)
    assert status["version"] == 1
    assert len(status["slaves"]) == 2
    assert len({slave["id"] for slave in status["slaves"]}) == 2
    assert all(slave["id"] in shown for slave in status["slaves"])


@pytest.mark.slow
def test_a_job_is_reported_at_its_end_and_later(runtime_folder, tmp_path):
    page, trace, later = (tmp_path / name for name in ("page.html", "trace.json", "later.html"))
    with (
        running_master(tmp_path, f"ipc://{runtime_folder}/master") as (_, url),
        running_slave(tmp_path, url),
    ):
        options = ["--json", "--report", page, "--trace", trace, "--master", url]
        run = run_program(CONCURRENT, "run", EXAMPLES / "nqueens.py", "-p", "n=6", *options)
        system_id = json.loads(run.stdout)["system_id"]
        told = run_program(CONCURRENT, "report", system_id[:8], "-o", later, "--json", "--master", url)
        unknown = run_program(CONCURRENT, "report", "nowhere", "--master", url, expect=2)

    figures = json.loads(told.stdout)
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    assert "NQueens: complete" in page.read_text(encoding="utf-8")
    assert system_id in later.read_text(encoding="utf-8")
    assert (figures["state"], figures["counts"]["done"]) == ("complete", 27)
    assert sum(slave["attempts"] for slave in figures["slaves"]) == 27
    assert sum(event["ph"] == "X" for event in events) == 27
    assert "no course of a system nowhere" in unknown.stderr


@pytest.mark.slow
def test_a_detached_job_goes_on_and_can_be_explained_and_attached(jobs, tmp_path, runtime_folder):
    with (
        running_master(tmp_path, f"ipc://{runtime_folder}/master") as (_, url),
        running_slave(tmp_path, url),
    ):
        options = ["-p", f"started={jobs}/started", "-p", "n=1", "-p", "seconds=0.5"]
        run = run_program(CONCURRENT, "run", "sleeping.py", *options, "--detach", "--master", url, cwd=jobs)
        system_id = run.stdout.strip()
        explained = run_program(CONCURRENT, "explain", system_id, "--master", url).stdout
        with ApplicationNode(url) as application:
            result = application.attach(system_id).result(30)

    assert result == "2 slept"
    assert system_id in explained
    assert f"concurrent cancel {system_id} --master {url}" in run.stderr


@pytest.mark.slow
def test_a_submitted_job_can_be_cancelled(jobs, tmp_path, runtime_folder):
    started = jobs / "started"
    with (
        running_master(tmp_path, f"ipc://{runtime_folder}/master") as (_, url),
        running_slave(tmp_path, url) as slave,
    ):
        submitted = run_program(
            CONCURRENT, "submit", "sleeping.py", "-p", f"started={started}", "--master", url, cwd=jobs
        )
        system_id = submitted.stdout.strip()
        wait_until(started.exists, 30, "the second task")
        run_program(CONCURRENT, "cancel", system_id, "--master", url)
        with ApplicationNode(url) as application:
            handle = application.attach(system_id)
            wait_until(handle.done, 30, "the end of the job")
        workers = psutil.Process(slave.process.pid).children(recursive=True)

    assert handle.cancelled()
    assert workers


@pytest.mark.slow
@pytest.mark.parametrize("question", ["explain", "cancel"])
def test_an_unknown_system_is_refused(question, tmp_path, runtime_folder):
    with running_master(tmp_path, f"ipc://{runtime_folder}/master") as (_, url):
        run = run_program(CONCURRENT, question, "no-such-id", "--master", url, expect=2)

    assert "no-such-id" in run.stderr
    assert "Traceback" not in run.stderr


def test_no_master_ends_with_3_and_says_what_was_tried(tmp_path, runtime_folder):
    url = f"ipc://{runtime_folder}/nobody"
    (tmp_path / "concurrent.toml").write_text('[application]\nconnect_timeout = "0.3 s"\n')

    run = run_program(CONCURRENT, "status", "--master", url, cwd=tmp_path, expect=3)

    assert f"no master at {url}" in run.stderr
    assert f"concurrent-master --listen {url}" in run.stderr


STUBBORN = """
import time
from pathlib import Path
from concurro import TaskSystem

class Stubborn(TaskSystem):
    def __init__(self, started: Path):
        super().__init__()
        self.started = started

    def generate_tasks(self, master):
        Path(self.started).touch()
        time.sleep(60)
        return ()

    def task_finished(self, master, task, result, error): pass
    def is_complete(self, master): return True
    def gather_result(self, master): return None, None
"""


def running_on(terminal: int, *arguments: object, cwd):
    """Start a program on a terminal."""
    import subprocess

    return subprocess.Popen(
        [str(argument) for argument in arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )


def read_all(leader: int) -> str:
    """Return everything that is written to a terminal until nobody holds it."""
    pieces = []
    try:
        while piece := os.read(leader, 65536):
            pieces.append(piece)
    except OSError:  # how Linux tells the end
        pass
    os.close(leader)
    return b"".join(pieces).decode()


PRIMES = """
from concurro import Task, TaskSystem

class IsPrime(Task):
    def __init__(self, n):
        super().__init__(f"prime-{n}")
        self.n = n

    def __call__(self):
        return self.n > 1 and all(self.n % d for d in range(2, self.n))

class CountPrimes(TaskSystem):
    '''Count the primes up to `limit`.'''

    name = "count-primes"

    def __init__(self, limit: int, least: int = 0):
        super().__init__()
        self.limit, self.least = limit, least
        self.done = self.found = 0

    def generate_tasks(self, master):
        return (IsPrime(n) for n in range(self.least, self.limit + 1))

    def task_finished(self, master, task, result, error):
        self.done += 1
        self.found += result

    def is_complete(self, master):
        return self.done == self.limit + 1 - self.least

    def gather_result(self, master):
        return self.found, None
"""


@pytest.mark.slow
def test_a_system_of_a_plugin_runs_by_its_name_with_defaults_of_the_file(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "primes.py").write_text(PRIMES)
    (tmp_path / "concurrent.toml").write_text("[count-primes]\nlimit = 30\n")

    by_table = run_program(CONCURRENT, "run", "count-primes", "--workers", 1, cwd=tmp_path)
    by_option = run_program(CONCURRENT, "run", "count-primes", "-p", "limit=10", "--workers", 1, cwd=tmp_path)

    assert by_table.stdout == "10\n"
    assert by_option.stdout == "4\n"


@pytest.mark.slow
def test_a_system_of_a_named_file_of_plugins_runs_by_its_name(tmp_path, runtime_folder):
    (tmp_path / "primes.py").write_text(PRIMES)
    options = ["--plugins", tmp_path / "primes.py", "--strict-plugins"]

    missing = run_program(CONCURRENT, "run", "count-primes", *options, cwd=runtime_folder, expect=2)
    run = run_program(CONCURRENT, "run", "count-primes", *options, "-p", "limit=10", cwd=runtime_folder)

    assert "CountPrimes needs a value for:\n  -p limit=...   (int)" in missing.stderr
    assert run.stdout == "4\n"
