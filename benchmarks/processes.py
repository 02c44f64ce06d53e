"""Start nodes for a measurement, and end them."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

END_WITHIN = 20.0


@contextmanager
def running_nodes(workers: int) -> Iterator[str]:
    """Run a master and one slave over TCP; give the master's address."""
    url = f"tcp://127.0.0.1:{_free_port()}"
    nodes = [
        subprocess.Popen([_script("concurrent-master"), "--listen", url], stdout=subprocess.DEVNULL),
        subprocess.Popen(
            [_script("concurrent-slave"), "--master", url, "--workers", str(workers)], stdout=subprocess.DEVNULL
        ),
    ]
    try:
        yield url
    finally:
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            try:
                node.wait(END_WITHIN)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
