"""Jobs whose workers are the user's own processes: scripts, deaths, signals, the end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys

import psutil
import pytest

from concurro import ConfigError, LocalCluster
from concurro_tagqueue import LabelInUseError, MasterProcess, TaskManager, TaskRaisedException
from tests.support.commands import running
from tests.support.nodes import master_process
from tests.support.programs import command, run_program
from tests.support.tagged_jobs import (
    LIMIT,
    SLAVE,
    open_gate,
    slave_process,
    starts,
    wait_for_start,
    wait_until_idle,
    write_script,
)
from tests.support.waiting import LOSS_LIMIT, has_ended, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("runtime_folder")]

ONE_SCRIPT = """
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from concurro_tagqueue import MasterProcess, SlaveProcess, TaskRaisedException, runJob
from neighbour import half


@dataclass
class Point:
    x: float


class Master(MasterProcess):
    def run(self):
        for number in range(4):
            self.requestTask("halve", Point(number))
        self.requestTask("fail")
        points = [self.retrieveResult("halve")[2] for _ in range(4)]
        assert all(isinstance(point, Point) for point in points)
        print(sorted(point.x for point in points), sys.argv[1:])
        try:
            self.retrieveResult("fail")
        except TaskRaisedException as error:
            print(type(error.exception).__name__, "in do_fail" in error.traceback)


class Slave(SlaveProcess):
    def do_halve(self, point):
        assert isinstance(point, Point)
        return Point(half(point.x))

    def do_fail(self):
        raise ZeroDivisionError(sys.argv[1:])


if __name__ == "__main__":
    runJob("job", Master, Slave, launch_slaves=2)
    print("done")
"""

LAUNCHING = """
import os
import sys
import time
from pathlib import Path

from concurro_tagqueue import MasterProcess, SlaveProcess, run_job


class Master(MasterProcess):
    def run(self):
        for _ in range(2):
            self.request_task("wait")
        self.retrieve_result()


class Slave(SlaveProcess):
    def do_wait(self):
        (Path(sys.argv[1]) / f"started-{os.getpid()}").touch()
        while not (Path(sys.argv[1]) / "gate").exists():
            time.sleep(0.01)


run_job("job", Master, Slave, launch_slaves=int(sys.argv[2]))
"""


class JobIsOverError(Exception):
    """Ends a job without waiting for what its slaves do."""


@pytest.fixture
def master():
    """Give the master process of a job, with a master of its own."""
    with contextlib.suppress(JobIsOverError), MasterProcess("job") as master:
        yield master
        raise JobIsOverError


def test_a_job_in_one_script_launches_its_slaves_and_ends_them(tmp_path):
    write_script(tmp_path, "neighbour", "def half(number):\n    return number / 2\n")
    script = write_script(tmp_path, "job", ONE_SCRIPT)

    run = run_program(sys.executable, script, "an", "argument")

    assert run.stdout.splitlines() == [
        "[0.0, 0.5, 1.0, 1.5] ['an', 'argument']",
        "ZeroDivisionError True",
        "done",
    ]
    assert run.stderr == ""


def test_a_slave_in_a_script_of_its_own_works_for_a_master_that_is_named(tmp_path, runtime_folder):
    with master_process(runtime_folder) as (_, url), MasterProcess("job", url) as master:
        master.request_task("double", 4)
        with slave_process(tmp_path, url) as slave:
            assert master.retrieve_result(timeout=LIMIT)[1:] == ("double", 8)
            master.shutdown()

            assert slave.wait(LIMIT) == 0


def test_a_script_of_their_own_is_launched_for_a_job_on_a_cluster(tmp_path):
    script = write_script(tmp_path, "slave", SLAVE)
    with LocalCluster(workers=1) as cluster, MasterProcess("job", cluster) as master:
        with pytest.raises(ConfigError, match="name one by set_slave_script"):
            master.launch_slave_jobs()
        master.set_slave_script(script, str(tmp_path), "60")
        master.launch_slave_jobs(2)
        master.request_task("double", 21)

        assert master.retrieve_result(timeout=LIMIT)[2] == 42


def test_a_slave_finds_the_job_that_begins_after_it(tmp_path):
    with slave_process(tmp_path) as slave:
        slave.wait_for("no job 'job' runs here yet")
        with MasterProcess("job") as master:
            master.request_task("double", 4)

            assert master.retrieve_result(timeout=LIMIT)[2] == 8
        assert slave.wait(LIMIT) == 0


def test_a_task_of_a_slave_that_is_killed_runs_again_elsewhere(tmp_path, master):
    with slave_process(tmp_path) as first:
        task_id = master.request_task("wait", 1)
        wait_for_start(tmp_path, 1)
        with slave_process(tmp_path) as second:
            first.process.kill()
            wait_for_start(tmp_path, 1, second)
            open_gate(tmp_path)

            assert master.retrieve_result("wait", LIMIT) == (task_id, "wait", 1)
            master.shutdown()
            assert second.wait(LIMIT) == 0
    assert len(starts(tmp_path, 1)) == 2


def test_a_task_of_a_slave_that_is_stopped_runs_elsewhere_after_its_watchdog(tmp_path, master):
    with slave_process(tmp_path, period=0.5) as first:
        task_id = master.request_task("wait", 1)
        wait_for_start(tmp_path, 1)
        first.process.send_signal(signal.SIGSTOP)
        with slave_process(tmp_path) as second:
            wait_for_start(tmp_path, 1, second)
            open_gate(tmp_path)
            assert master.retrieve_result("wait", LIMIT) == (task_id, "wait", 1)

            first.process.send_signal(signal.SIGCONT)
            wait_until(lambda: master.task_manager.number_of_active_processes() == 3, LIMIT, "the stopped slave")
            with pytest.raises(TimeoutError):
                master.retrieve_result(timeout=0)
            second.end(signal.SIGKILL)
            master.request_task("double", 3)
            assert master.retrieve_result("double", LIMIT)[2] == 6
            master.shutdown()
            assert first.wait(LIMIT) == 0
    assert "was taken for dead" in first.stderr


def test_ctrl_c_in_a_slave_hands_its_task_back_to_the_front(tmp_path, master):
    with slave_process(tmp_path) as first:
        master.request_task("wait", 1)
        wait_for_start(tmp_path, 1)
        master.request_task("wait", 2)
        assert first.end(signal.SIGINT) == -signal.SIGINT
        open_gate(tmp_path)
        with slave_process(tmp_path):
            results = [master.retrieve_result("wait", LIMIT)[2] for _ in range(2)]
            master.shutdown()

    assert results == [1, 2]
    assert "was handed back" in first.stderr
    assert len(starts(tmp_path, 1)) == 2


def test_a_task_without_handler_in_one_slave_goes_to_one_that_has_it(tmp_path, master):
    other = write_script(
        tmp_path,
        "other",
        """
        from concurro_tagqueue import SlaveProcess

        def do_half(number):
            return number / 2

        SlaveProcess("job").start(globals())
        """,
    )
    with slave_process(tmp_path):
        master.request_task("half", 3)
        master.request_task("double", 3)
        assert master.retrieve_result(timeout=LIMIT)[1:] == ("double", 6)
        with running(tmp_path, sys.executable, other) as capable:
            assert master.retrieve_result(timeout=LIMIT)[1:] == ("half", 1.5)
            master.shutdown()
            assert capable.wait(LIMIT) == 0


def test_slaves_that_were_launched_end_with_a_master_process_that_is_killed(tmp_path):
    script = write_script(tmp_path, "launching", LAUNCHING)
    with running(tmp_path, sys.executable, script, tmp_path, 2) as job:
        wait_until(lambda: len(list(tmp_path.glob("started-*"))) == 2, LIMIT, "two tasks that run")
        everybody = psutil.Process(job.process.pid).children(recursive=True)

        job.end(signal.SIGKILL)

        for process in everybody:
            wait_until(lambda pid=process.pid: has_ended(pid), LOSS_LIMIT, f"the end of {process}")
    assert len(everybody) >= 3


def test_other_slaves_end_with_the_master_process_too(tmp_path):
    script = write_script(tmp_path, "launching", LAUNCHING)
    with running(tmp_path, sys.executable, script, tmp_path, 1) as job:
        wait_until(lambda: len(list(tmp_path.glob("started-*"))) == 1, LIMIT, "a task that runs")
        with slave_process(tmp_path, period=1.0) as slave:
            wait_until_idle(tmp_path, slave)

            job.end(signal.SIGKILL)

            assert slave.wait(LIMIT) == 0


def test_a_job_on_a_running_master_ends_with_its_master_process(tmp_path, runtime_folder, monkeypatch):
    script = write_script(
        tmp_path,
        "doomed",
        """
        import sys
        from concurro_tagqueue import MasterProcess

        master = MasterProcess("job", sys.argv[1])
        master.request_task("double", 1)
        master.retrieve_result()
        master.request_task("unknown", 1)
        master.retrieve_result()
        """,
    )
    monkeypatch.setenv("CONCURRENT_TAGQUEUE_GRACE", "1")
    with master_process(runtime_folder) as (_, url), running(tmp_path, sys.executable, script, url) as doomed:
        with slave_process(tmp_path, url) as slave:
            manager = TaskManager.connect(url, "job")
            wait_until(lambda: manager.number_of_tasks()[0] == {"unknown": 1}, LIMIT, "the second task")
            with pytest.raises(LabelInUseError, match="process"):
                MasterProcess("job", url)
            manager.close()

            doomed.end(signal.SIGKILL)

            assert slave.wait(LOSS_LIMIT) == 0
        with MasterProcess("job", url) as again, slave_process(tmp_path, url):
            again.request_task("double", 2)
            assert again.retrieve_result(timeout=LIMIT)[2] == 4


def test_the_label_of_a_job_that_runs_is_refused(master):
    with pytest.raises(LabelInUseError, match="job 'job' runs already, in process"):
        MasterProcess("job")


def test_a_job_that_fails_does_not_wait_for_what_its_slaves_do(tmp_path):
    failing = LAUNCHING.replace("self.retrieve_result()", "self.await_start()").replace(
        "class Slave",
        """    def await_start(self):
        while not list(Path(sys.argv[1]).glob("started-*")):
            time.sleep(0.01)
        raise SystemExit(7)


class Slave""",
    )
    script = write_script(tmp_path, "failing", failing)

    run = run_program(sys.executable, script, tmp_path, 1, expect=7)

    assert "Traceback" not in run.stderr


def test_what_handlers_raise_keeps_its_type_and_traceback(tmp_path, master):
    with slave_process(tmp_path):
        task_id = master.request_task("double", None)
        with pytest.raises(TaskRaisedException) as caught:
            master.retrieve_result(timeout=LIMIT)

        assert (caught.value.task_id, caught.value.tag) == (task_id, "double")
        assert isinstance(caught.value.exception, TypeError)
        assert "return 2 * number" in caught.value.traceback
        master.shutdown()


def test_the_command_shows_jobs_and_starts_slaves(tmp_path):
    script = write_script(tmp_path, "launching", LAUNCHING)
    concurrent = command("concurrent")
    with running(tmp_path, sys.executable, script, tmp_path, 0) as job:

        def shown():
            run = subprocess.run([concurrent, "tags", "show", "job"], capture_output=True, text=True, check=False)
            return run.stdout if "wait" in run.stdout else ""

        assert wait_until(shown, LIMIT, "the job").split()[-4:] == ["wait", "2", "0", "0"]
        with running(tmp_path, concurrent, "tags", "slave", "job") as slave:
            wait_until(lambda: list(tmp_path.glob("started-*")), LIMIT, "a task that runs")

            listed = run_program(concurrent, "tags", "list").stdout.splitlines()
            verbose = run_program(concurrent, "tags", "show", "job", "-v").stdout
            open_gate(tmp_path)
            assert (slave.wait(LIMIT), job.wait(LIMIT)) == (0, 0)

    assert listed[1].split()[:5] == ["job", "2", "1", "1", "0"]
    assert f"process {slave.process.pid}" in verbose
    assert verbose.split()[-4:] == ["wait", "1", "1", "0"]
