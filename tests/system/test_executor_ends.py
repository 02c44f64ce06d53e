"""An executor that nobody shuts down ends after the last of its calls, as those of the standard library."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import pytest

from concurro import ClusterExecutor
from tests.support.programs import run_program
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

HEAD = """
import atexit, os, sys, time
from concurro import ClusterExecutor

def write(name, seconds=0.5):
    time.sleep(seconds)
    with open(name, "w") as file:
        file.write("written")

"""


def run(folder: Path, program: str) -> str:
    """Run a program; return what it printed."""
    (folder / "program.py").write_text(HEAD + program)
    return run_program(sys.executable, folder / "program.py", cwd=folder).stdout


def write(name):
    with open(name, "w") as file:  # noqa: PTH123 - a worker needs no more
        file.write("written")


def test_a_program_waits_for_its_calls_at_its_end(tmp_path):
    run(tmp_path, "if __name__ == '__main__':\n    executor = ClusterExecutor(1)\n    executor.submit(write, 'late')\n")

    assert (tmp_path / "late").read_text() == "written"


def test_a_program_that_does_not_wait_in_shutdown_waits_at_its_end(tmp_path):
    program = """
if __name__ == "__main__":
    executor = ClusterExecutor(1)
    executor.submit(write, "late")
    executor.shutdown(wait=False)
"""
    run(tmp_path, program)

    assert (tmp_path / "late").read_text() == "written"


def test_a_call_after_the_end_of_the_program_is_refused(tmp_path):
    program = """
@atexit.register
def run_last():
    try:
        executor.submit(id, None)
    except RuntimeError as error:
        print(error)

if __name__ == "__main__":
    executor = ClusterExecutor(1)
    print(executor.submit(abs, -42).result())
"""
    printed = run(tmp_path, program)

    assert printed.splitlines() == ["42", "cannot schedule new futures after shutdown"]


def test_a_forked_process_ends_without_waiting_for_the_calls_of_its_parent(tmp_path):
    program = """
if __name__ == "__main__":
    executor = ClusterExecutor(1)
    future = executor.submit(write, "late", 3.0)
    if os.fork() == 0:
        sys.exit(7)
    _, status = os.wait()
    print(os.waitstatus_to_exitcode(status), future.done(), future.result(30), executor.submit(abs, -1).result(30))
"""
    printed = run(tmp_path, program)

    assert printed.split() == ["7", "False", "None", "1"]


def test_a_forgotten_executor_ends_after_its_calls(tmp_path):
    executor = ClusterExecutor(1)
    future = executor.submit(write, str(tmp_path / "late"))

    del executor
    gc.collect()

    assert future.result(30) is None
    wait_until((tmp_path / "late").exists, 30, "the call")
