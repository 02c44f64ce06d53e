"""Slave processes that a master process launches, and ends.

MasterProcess --execute--> slave_program: runs the job's script as a slave
              ==stdin====> its end is the end of the slave, whatever that does
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurro_tagqueue.assignment import Assignment

log = logging.getLogger(__name__)

TERM_PATIENCE = 5.0
"""How long a slave process may take to end after SIGTERM [s]."""

# What the parent can import, the slave can too.
_PROGRAM = (
    "import sys; sys.path.extend(path for path in {paths!r} if path not in sys.path); "
    "from concurro_tagqueue.slave_program import main; main()"
)


def slave_command(assignment: Assignment, *, watched: bool) -> list[str]:
    """Return the command line of a slave process.

    Args:
        assignment: What it is for.
        watched: Whether it ends with its standard input.
    """
    program = _PROGRAM.format(paths=[path for path in sys.path if path])
    return [sys.executable, "-P", "-c", program, json.dumps(assignment), "watched" if watched else ""]


class LaunchedSlaves:
    """The slave processes of a job that were launched here."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def launch(self, assignment: Assignment) -> None:
        """Execute one more, in a session of its own: Ctrl-C is ours alone."""
        self._processes.append(
            subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                slave_command(assignment, watched=True), stdin=subprocess.PIPE, start_new_session=True
            )
        )

    @property
    def running(self) -> list[int]:
        """Process ids of those that run."""
        return [process.pid for process in self._processes if process.poll() is None]

    def report_ended(self) -> None:
        """Log which ended by themselves, and forget them."""
        for process in [process for process in self._processes if process.poll() is not None]:
            self._processes.remove(process)
            _close(process)
            log.warning("slave process %d %s", process.pid, describe_end(process.returncode))

    def stop(self, patience: float) -> None:
        """Wait for their end; end those that go on.

        Args:
            patience: How long they may go on by themselves [s].
        """
        deadline = time.monotonic() + patience
        for signal_them in (None, subprocess.Popen.terminate, subprocess.Popen.kill):
            if signal_them is not None:
                for process in self._processes:
                    signal_them(process)
                deadline = time.monotonic() + TERM_PATIENCE
            self._wait_until(deadline)
        for process in self._processes:
            process.wait()
            _close(process)
        self._processes.clear()

    def _wait_until(self, deadline: float) -> None:
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue


def describe_end(code: int) -> str:
    """Say how a process ended.

    Args:
        code: Its exit code; negative for a signal.
    """
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # one without a name
        return f"was killed by signal {-code}"


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
