"""Nodes that were executed and are not configured yet.

What a cluster does first, with few imports: the new processes import while the caller does.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from concurro.execution.program import execute
from concurro.wire.importing import refuse_while_importing

if TYPE_CHECKING:
    import socket
    import subprocess

FOLDER_PREFIX = "concurro-"

SHARED_MODULES = ("numpy",)
"""What takes long to import. If the caller has it, so have hosts and workers from the start: as if forked from it."""


class ExecutedNode(NamedTuple):
    """A node whose process runs.

    Attributes:
        role: `master` or `slave`.
        process: Its process.
        stream: The way to it; its end when it is closed.
    """

    role: str
    process: subprocess.Popen[bytes]
    stream: socket.socket

    @classmethod
    def execute(cls, role: str, folder: str = "") -> ExecutedNode:
        """Execute it; it imports what it needs and waits for its settings.

        Args:
            role: `master` or `slave`.
            folder: Removed when it ends, however it ends.

        Raises:
            NodeStartError: The interpreter cannot be executed.
        """
        modules = [module for module in SHARED_MODULES if module in sys.modules]
        return cls(role, *execute(role, "concurro.nodes.boot", role, folder, *modules))


class ExecutedCluster(NamedTuple):
    """A master, and slaves if there are several, that run.

    Attributes:
        folder: A private one (0700) for the socket; whoever ends last removes it.
        master: The master.
        slaves: The slaves, empty when a single one runs inside the master.
    """

    folder: str
    master: ExecutedNode
    slaves: list[ExecutedNode]

    @classmethod
    def execute(cls, slaves: int) -> ExecutedCluster:
        """Execute the processes of a cluster.

        Args:
            slaves: How many; a single one runs inside the master's process.

        Raises:
            NodeStartError: Code of a job is imported, or one of them cannot be executed; nothing is
                left then.
        """
        refuse_while_importing("a local cluster")
        folder = make_private_folder()
        nodes: list[ExecutedNode] = []
        try:
            nodes.append(ExecutedNode.execute("master", folder))
            if slaves > 1:
                nodes.extend(ExecutedNode.execute("slave") for _ in range(slaves))
        except BaseException:
            for node in nodes:
                node.stream.close()
            for node in nodes:
                node.process.wait()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(folder, nodes[0], nodes[1:])


def make_private_folder() -> str:
    """Return a new folder of ours alone, with a path short enough for sockets."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and len(runtime) < 60 and os.access(runtime, os.W_OK | os.X_OK):  # noqa: PLR2004 - room for the rest
        return tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=runtime)
    chosen = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
    if len(chosen) > 80:  # noqa: PLR2004 - room for the name of a socket
        shutil.rmtree(chosen, ignore_errors=True)
        return tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir="/tmp")
    return chosen
