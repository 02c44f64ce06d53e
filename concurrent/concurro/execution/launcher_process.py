"""The process of a launcher, seen from the node that started it.

It imports little, so that a command can execute a launcher first and import meanwhile.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
from typing import NamedTuple

import msgpack

from concurro.execution.children import Child, ForkedChild, wait_for_end
from concurro.execution.program import execute

log = logging.getLogger(__name__)

STOP_LIMIT = 8.0
"""Seconds after which a launcher that does not end is killed."""


class LauncherProcess(NamedTuple):
    """A launcher that runs.

    Attributes:
        child: Its process, a child of this one.
        control: Our end of its control socket.
    """

    child: Child
    control: socket.socket

    @classmethod
    def fork(cls, folder: str, close: int) -> LauncherProcess:
        """Fork it from a process that was executed fresh and has one thread.

        Args:
            folder: What it removes at its end; empty for none.
            close: A descriptor of this process that is not for it.
        """
        from concurro.execution.launcher import fork_launcher  # noqa: PLC0415 - who executes it needs none of it

        pid, control = fork_launcher(folder, close)
        return cls(ForkedChild(pid), control)

    @classmethod
    def execute(cls, folder: str) -> LauncherProcess:
        """Execute it.

        Raises:
            NodeStartError: The interpreter cannot be executed.
        """
        command = ("concurro.execution.launcher", str(os.getpid()), folder)
        return cls(*execute("launcher", *command, kind=socket.SOCK_SEQPACKET))

    def prepare(self, modules: list[str]) -> None:
        """Let it import modules before anything else.

        All that is forked from it has them.
        """
        for module in modules:
            self.control.send(msgpack.packb(("import", module)))

    def end(self) -> None:
        """End it and every child of it, and wait for that. Bounded, idempotent."""
        self.control.close()
        try:
            wait_for_end(self.child, STOP_LIMIT)
        except subprocess.TimeoutExpired:
            log.warning("launcher %d did not end in %.0f s and is killed", self.child.pid, STOP_LIMIT)
            self.child.kill()
            self.child.wait()
