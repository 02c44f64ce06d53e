"""Start masters and slaves as a user does: by their commands."""

from __future__ import annotations

import re
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.programs import ROOT, command
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

END_LIMIT = 30.0


class Running:
    """A program that runs; what it prints is collected in files.

    Attributes:
        process: It.
    """

    def __init__(self, folder: Path, *arguments: object, cwd: Path = ROOT) -> None:
        number = len(list(folder.glob("*.out")))
        self._out = folder / f"{number}.out"
        self._err = folder / f"{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(argument) for argument in arguments], cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def stdout(self) -> str:
        """What it printed so far."""
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        """What it said so far."""
        return self._err.read_text()

    def wait_for(self, pattern: str, timeout: float = 30.0) -> re.Match[str]:
        """Return the first match in what it says on standard error."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.stderr)
            assert match or self.process.poll() is None, f"ended with {self.process.returncode}: {self.stderr}"
            return match

        return wait_until(found, timeout, f"{pattern!r} in what {self.process.args} says")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, timeout: float = END_LIMIT) -> int:
        """Return the exit code."""
        return self.process.wait(timeout)


@contextmanager
def running(folder: Path, *arguments: object, cwd: Path = ROOT) -> Iterator[Running]:
    """Run a program during the block; kill it if the block does not end it."""
    program = Running(folder, *arguments, cwd=cwd)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()


@contextmanager
def running_master(folder: Path, listen: str = "tcp://127.0.0.1:0") -> Iterator[tuple[Running, str]]:
    """Run a master during the block; give it and its address."""
    with running(folder, command("concurrent-master"), "--listen", listen) as master:
        url = master.wait_for(r"master listens on (\S+)").group(1)
        yield master, url
        if master.process.poll() is None:
            assert master.end() == 0, master.stderr


@contextmanager
def running_slave(folder: Path, url: str, *options: object, cwd: Path = ROOT) -> Iterator[Running]:
    """Run a slave of one worker during the block, from when it joined."""
    with running(folder, command("concurrent-slave"), "--master", url, "--workers", 1, *options, cwd=cwd) as slave:
        slave.wait_for("joined the master")
        yield slave
        if slave.process.poll() is None:
            assert slave.end() == 0, slave.stderr
