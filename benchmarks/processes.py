"""Start nodes for a measurement, and end them."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

START_WITHIN = 20.0
END_WITHIN = 20.0


@contextmanager
def running_nodes(workers: int, *, unix: bool = False) -> Iterator[str]:
    """Run a master and one slave; give the master's address.

    Args:
        workers: Of the slave; without any there is no slave.
        unix: Whether they speak over AF_UNIX, instead of TCP with sessions and keys.
    """
    with TemporaryDirectory(prefix="cq-") as folder:
        yield from _running_nodes(f"ipc://{folder}/master" if unix else f"tcp://127.0.0.1:{_free_port()}", workers)


def _running_nodes(url: str, workers: int) -> Iterator[str]:
    with TemporaryFile("w+") as words:
        nodes = [_start(words, "concurrent-master", "--listen", url)]
        if workers:
            nodes.append(_start(words, "concurrent-slave", "--master", url, "--workers", str(workers)))
        try:
            _wait_for(url)
            yield url
        except BaseException:
            words.seek(0)
            sys.stderr.write(words.read())
            raise
        finally:
            for node in reversed(nodes):
                node.terminate()
            for node in nodes:
                try:
                    node.wait(END_WITHIN)
                except subprocess.TimeoutExpired:
                    node.kill()
                    node.wait()


def _wait_for(url: str) -> None:
    """Wait until somebody listens there."""
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            _connect(url).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _connect(url: str) -> socket.socket:
    scheme, _, place = url.partition("://")
    if scheme == "tcp":
        host, _, port = place.rpartition(":")
        return socket.create_connection((host, int(port)))
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.connect(place)
    except OSError:
        stream.close()
        raise
    return stream


def _start(words: IO[str], name: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([_script(name), *arguments], stdout=words, stderr=words)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
