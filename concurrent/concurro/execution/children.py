"""Child processes that are waited for without looking again and again."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from typing import Protocol

_LOOK_AGAIN = 0.01


class Child(Protocol):
    """What is used of a `subprocess.Popen`."""

    pid: int
    returncode: int | None

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended, as `returncode` says it."""

    def kill(self) -> None:
        """End it now."""


class ForkedChild:
    """A child that was forked and not executed. One thread only.

    Args:
        pid: Its process id.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its exit code, or minus the signal.

        Raises:
            TimeoutExpired: It did not end in `timeout` [s].
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, 0 if deadline is None else os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif deadline is not None and time.monotonic() >= deadline:
                message = f"process {self.pid}"
                raise subprocess.TimeoutExpired(message, timeout or 0.0)
            else:
                time.sleep(_LOOK_AGAIN)
        return self.returncode

    def kill(self) -> None:
        """End it now."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


def wait_for_end(child: Child, timeout: float) -> int:
    """Wait for the end of a child; return its exit code, or minus the signal.

    Raises:
        TimeoutExpired: It did not end in `timeout` [s].
    """
    try:
        fd = os.pidfd_open(child.pid)
    except (AttributeError, OSError):
        return child.wait(timeout)  # an older kernel, or macOS; or it was waited for already
    poller = select.poll()
    try:
        poller.register(fd, select.POLLIN)
        poller.poll(timeout * 1000)
    finally:
        os.close(fd)
    return child.wait(0.0)
