"""No process, descriptor, thread or folder outlives its owner, however that ends."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from concurro.execution.launching import Launcher
from concurro.transport.loop import Loop
from tests.support.waiting import wait_until
from tests.system.execution import tasks

PROGRAM = """
import sys, time
from concurro.execution.process_pool import ProcessPool
from concurro.execution.launching import Launcher
from concurro.transport.loop import Loop
from concurro.task import Task

class Sleep(Task):
    def __call__(self):
        import subprocess
        subprocess.Popen(["sleep", "1000"])
        time.sleep(1000)

loop = Loop()
launcher = Launcher(loop, cleanup_folder=sys.argv[1])
launcher.start()
pool = ProcessPool()
pool.update_pool(2)
pool.start()
for _ in range(2):
    pool.push_task(Sleep("sleep"))
while len(pool.worker_pids()) < 2:
    time.sleep(0.01)
print("ready", flush=True)
time.sleep(1000)
"""


def open_descriptors():
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


@pytest.mark.slow
def test_stopping_a_pool_gives_every_descriptor_and_thread_back(two):
    two.run(tasks.square, 3)
    two.manager.stop()
    before, threads = open_descriptors(), threading.active_count()

    for _ in range(3):
        two.manager.start()
        two.run(tasks.square, 3)
        two.run(tasks.change_the_process)
        two.manager.stop()

    assert open_descriptors() == before
    assert threading.active_count() == threads


def test_stopping_ends_busy_workers_at_once(two, tmp_path):
    for number in range(2):
        two.push(tasks.wait_for, str(tmp_path / f"go-{number}"))
    for number in range(2):
        wait_until((tmp_path / f"go-{number}.started").exists, 30, "the tasks to start")
    workers = two.manager.worker_pids()

    two.manager.stop()

    assert not any(psutil.pid_exists(pid) for pid in workers)


@pytest.mark.slow
def test_a_killed_owner_leaves_nothing(tmp_path):
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "socket").touch()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, program, folder], stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"ready\n"
        wait_until(
            lambda: len(psutil.Process(owner.pid).children(recursive=True)) >= 6, 30, "launchers, workers, children"
        )
        family = psutil.Process(owner.pid).children(recursive=True)

        owner.kill()

    wait_until(lambda: not any(each.is_running() for each in family), 30, "every process to end")
    wait_until(lambda: not folder.exists(), 30, "the folder to go")


@pytest.mark.slow
def test_a_killed_launcher_takes_its_children_along(tmp_path):
    loop, ended, lost = Loop(), [], []
    launcher = Launcher(loop)
    launcher.on_ended = lambda child_id, pid, status, peak: ended.append(child_id)
    launcher.on_lost = lost.append
    launcher.start()
    launcher.execute_host(1, ["sleep", "1000"])
    wait_until(lambda: loop.turn(0.05) or launcher.pids, 30, "the child to start")
    child = launcher.pids[1]

    os.kill(launcher.pid, signal.SIGKILL)
    wait_until(lambda: loop.turn(0.05) or lost, 30, "the news")

    wait_until(lambda: not psutil.pid_exists(child), 30, "the child to end")
    assert lost == ["the launcher ended: killed by SIGKILL"]
    launcher.stop()
    loop.close()


def test_a_host_gets_its_descriptors_and_a_fixed_hash_seed(tmp_path):
    loop, ended = Loop(), []
    launcher = Launcher(loop)
    launcher.on_ended = lambda child_id, pid, status, peak: ended.append((child_id, status))
    launcher.start()
    read, write = os.pipe()
    script = 'import os; os.write(3, (os.environ["PYTHONHASHSEED"] + os.environ["EXTRA"]).encode())'

    launcher.execute_host(5, [sys.executable, "-c", script], [write], {"EXTRA": "!"})
    wait_until(lambda: loop.turn(0.05) or ended, 30, "the host to end")

    assert os.read(read, 100) == b"0!"
    assert ended == [(5, 0)]
    os.close(read)
    launcher.stop()
    loop.close()


def test_a_program_that_is_not_there_ends_with_127():
    loop, ended = Loop(), []
    launcher = Launcher(loop)
    launcher.on_ended = lambda child_id, pid, status, peak: ended.append(os.waitstatus_to_exitcode(status))
    launcher.start()

    launcher.execute_host(1, ["/no/such/program"])
    wait_until(lambda: loop.turn(0.05) or ended, 30, "the host to end")

    assert ended == [127]
    launcher.stop()
    loop.close()


def test_a_pool_works_with_256_descriptors(two):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    two.manager.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        two.manager.update_pool(6)
        two.manager.start()

        result = two.run(tasks.square, 3)
        two.manager.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert result == (9, None)


def test_the_launcher_is_small():
    loop = Loop()
    launcher = Launcher(loop)
    launcher.start()
    launcher.execute_host(1, ["sleep", "1000"])
    wait_until(lambda: loop.turn(0.05) or launcher.pids, 30, "the child to start")

    maps = Path(f"/proc/{launcher.pid}/maps").read_text()
    threads = len(list(Path(f"/proc/{launcher.pid}/task").iterdir()))

    launcher.stop()
    loop.close()
    assert "zmq" not in maps
    assert threads == 1
