"""The examples of jobs whose workers are the user's own processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.programs import EXAMPLES, run_program

LIMIT = 60.0


@pytest.mark.slow
@pytest.mark.usefixtures("runtime_folder")
def test_a_double_well_is_explored_by_a_master_and_two_slaves_in_scripts_of_their_own():
    folder = EXAMPLES / "double_well"
    slaves = [subprocess.Popen([sys.executable, folder / "slave.py"]) for _ in range(2)]

    run = run_program(sys.executable, folder / "master.py", timeout=LIMIT)

    assert run.stdout.splitlines() == [
        "a minimum at (-1.0000, 0.0000)",
        "a minimum at (1.0000, 0.0000)",
        "the barrier is 1.0000",
    ]
    assert [slave.wait(LIMIT) for slave in slaves] == [0, 0]
