"""Slave processes of jobs, started by a test as a user would."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from textwrap import dedent
from typing import TYPE_CHECKING

from tests.support.commands import Running, running
from tests.support.waiting import LOSS_LIMIT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 30.0
"""Deadline of a wait [s]; a test that passes takes a fraction of it."""

SLAVE = """
import os
import sys
import time
from pathlib import Path

from concurro_tagqueue import SlaveProcess

folder, period, *host = sys.argv[1:]


class Worker(SlaveProcess):
    def terminationTest(self):
        Path(folder, f"idle.{os.getpid()}").touch()
        return False

    def do_wait(self, number):
        Path(folder, f"{number}.{os.getpid()}").touch()
        while not Path(folder, "gate").exists():
            time.sleep(0.01)
        return number

    def do_double(self, number):
        return 2 * number


Worker("job", *host, watchdog_period=float(period)).start()
"""


@contextmanager
def slave_process(folder: Path, *host: str, period: float = 60.0) -> Iterator[Running]:
    """Run a slave of the job called "job" during the block."""
    script = write_script(folder, "slave", SLAVE)
    with running(folder, sys.executable, script, folder, period, *host) as slave:
        yield slave


def write_script(folder: Path, name: str, text: str) -> Path:
    """Write a script; return its file."""
    script = folder / f"{name}.py"
    script.write_text(dedent(text))
    return script


def starts(folder: Path, number: int) -> set[int]:
    """Return the process ids of the slaves that began a waiting task."""
    return {int(file.name.partition(".")[2]) for file in folder.glob(f"{number}.[0-9]*")}


def wait_for_start(folder: Path, number: int, by: Running | None = None) -> int:
    """Wait until a slave has begun a waiting task; return its process id."""

    def begun() -> set[int]:
        found = starts(folder, number)
        return found if by is None else found & {by.process.pid}

    return min(wait_until(begun, LIMIT if by is None else LOSS_LIMIT, f"the start of task {number}"))


def wait_until_idle(folder: Path, slave: Running) -> None:
    """Wait until a slave is about to take its first task."""
    idle = folder / f"idle.{slave.process.pid}"
    wait_until(idle.exists, LIMIT, "a slave without a task")


def open_gate(folder: Path) -> None:
    """Let the waiting tasks end."""
    (folder / "gate").touch()
