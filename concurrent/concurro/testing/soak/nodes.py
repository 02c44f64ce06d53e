"""The cluster that a soak fires at: processes, each behind a network.

    slave 1..3 --> FaultProxy ---> master, with a journal
    application -> FaultProxy -----^

A node that a fault ended is started again at once, on the same port and folder. One that
ends although nobody touched it is a defect.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from concurro.testing.fault_proxy import FaultProxy
from concurro.transport.keys_folder import KeyFolder

if TYPE_CHECKING:
    from pathlib import Path

    from concurro.testing.soak.account import Account

SLAVES = 3
END_LIMIT = 30.0
"""How long a node may take to end that was told to [s]."""

LOOK_PERIOD = 0.05
EXIT_CODES = {int(signal.SIGKILL): -signal.SIGKILL, int(signal.SIGTERM): 0}
"""With what a node ends after a signal."""

START_LIMIT = 10.0
"""So long after its start SIGTERM may meet a program that has not come to where it takes it [s]."""


class NodeProcess:
    """A node, started again whenever a fault ends it. Thread-safe.

    Args:
        name: For people, e.g. `slave 2`.
        kind: `master` or `slave`.
        config: Its configuration.
        account: Takes what is wrong.

    Attributes:
        name: For people.
        starts: How often it was started.
    """

    def __init__(self, name: str, kind: str, config: dict[str, Any], account: Account) -> None:
        self.name = name
        self.starts = 0
        self._kind = kind
        self._config = config
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self._ordered: tuple[int, float] | None = None
        self._ending = False
        self._started = 0.0
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Its process; None when it is between two."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    @property
    def may_be_touched(self) -> bool:
        """Whether it runs and has nothing to do but its work."""
        return self.pid is not None and self._ordered is None

    def start(self) -> None:
        """Start it; its log goes on in a file of its own."""
        self.starts += 1
        self._started = time.monotonic()
        path = self._account.folder / "logs" / f"{self.name.replace(' ', '-')}-{self.starts}.log"
        command = [sys.executable, "-P", "-m", "concurro.testing.soak.node", self._kind, json.dumps(self._config)]
        with path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def strike(self, number: int) -> bool:
        """Send it a signal that ends it; return whether it was there to be ended."""
        with self._lock:
            if not self.may_be_touched or self._process is None:
                return False
            self._ordered = number, time.monotonic()
            self._process.send_signal(number)
            return True

    def look(self) -> None:
        """Start it again when it has ended; complain when nobody told it to."""
        with self._lock:
            process, ordered = self._process, self._ordered
            if process is None or self._ending:
                return
            if process.poll() is None:
                self._hurry(process, ordered)
                return
            number = ordered[0] if ordered is not None else 0
            young = ordered is not None and ordered[1] - self._started < START_LIMIT
            died = number == signal.SIGTERM and process.returncode == -signal.SIGTERM
            if process.returncode != EXIT_CODES.get(number) and not (died and young):
                told = f"after {signal.Signals(number).name}" if number else "although nothing was done to it"
                self._account.blame(f"{self.name} ended with {process.returncode} {told}; see {self._log()}")
            self._ordered = None
            self.start()

    def _hurry(self, process: subprocess.Popen[bytes], ordered: tuple[int, float] | None) -> None:
        if ordered is not None and time.monotonic() - ordered[1] > END_LIMIT:
            self._account.blame(f"{self.name} does not end {END_LIMIT:g} s after a signal; see {self._log()}")
            process.send_signal(signal.SIGCONT)
            process.kill()
            self._ordered = int(signal.SIGKILL), time.monotonic()

    def tell_stacks(self) -> None:
        """Let it write the stacks of its threads to its log."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGUSR1)

    def end(self) -> None:
        """End it for good; complain when it does not go, or goes with an error."""
        with self._lock:
            self._ending = True
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        try:
            code = process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)
            time.sleep(1.0)
            process.kill()
            process.wait()
            self._account.blame(f"{self.name} did not end within {END_LIMIT:g} s of SIGTERM; see {self._log()}")
            return
        if code != 0:
            self._account.blame(f"{self.name} ended with {code}; see {self._log()}")

    def kill(self) -> None:
        """End it without a word, after a failure."""
        with self._lock:
            self._ending = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _log(self) -> str:
        return f"logs/{self.name.replace(' ', '-')}-{self.starts}.log"


class Nodes:
    """A journalled master, slaves, and a network before who dials it.

    Args:
        account: Takes what is wrong; everything is kept in its folder.
        workers: Of each slave.

    Attributes:
        url: Where the master listens.
        master: It.
        slaves: They.
        nets: The networks by the name of who is behind it.
        security: Settings of who dials.
    """

    def __init__(self, account: Account, workers: int) -> None:
        folder = account.folder
        self.security = _make_keys(folder)
        self.url = f"tcp://127.0.0.1:{_free_port()}"
        journal = str(folder / "journal")
        master = {"master": {"listen": self.url, "journal": journal}, "security": self.security}
        self.master = NodeProcess("master", "master", master, account)
        self.nets: dict[str, FaultProxy] = {}
        self.slaves = []
        for number in range(1, SLAVES + 1):
            name = f"slave {number}"
            net = self.nets[name] = FaultProxy(self.url)
            settings: dict[str, Any] = {"master": net.url, "workers": workers, "connect_timeout": 0.0}
            settings |= {"resources": {"tool": 1} if number > 1 else {}, "drain_timeout": 5.0}
            self.slaves.append(NodeProcess(name, "slave", {"slave": settings, "security": self.security}, account))
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="soak-nodes", daemon=True)

    def add_net(self, name: str) -> FaultProxy:
        """Put a network before somebody else."""
        net = self.nets[name] = FaultProxy(self.url)
        return net

    def everybody(self) -> list[NodeProcess]:
        """Return the master and the slaves."""
        return [self.master, *self.slaves]

    def start(self) -> None:
        """Start them, and from now on whoever ends."""
        for node in self.everybody():
            node.start()
        self._watcher.start()

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_PERIOD):
            for node in self.everybody():
                node.look()

    def end(self) -> None:
        """End the slaves, then the master; complain about who does not go."""
        self._stopping.set()
        self._watcher.join()
        for node in [*self.slaves, self.master]:
            node.end()
        self.close()
        if _answers(self.url):
            self.master._account.blame(f"something still listens on {self.url}")  # noqa: SLF001 - the one of them all

    def close(self) -> None:
        """Let go of everything, whatever state it is in."""
        self._stopping.set()
        for node in self.everybody():
            node.kill()
        for net in self.nets.values():
            net.close()


def _make_keys(folder: Path) -> dict[str, Any]:
    keys = KeyFolder(folder / "keys")
    keys.create()
    keys.add("slave", "soak-slave")
    keys.add("application", "soak-application")
    return {"keys": str(folder / "keys")}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1).close()
    except OSError:
        return False
    return True


def environment(marker: str, folder: Path) -> dict[str, str]:
    """Return what everybody's environment gets.

    A marker by which what is left is found, and a folder for all files.
    """
    names = ("TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    path = os.pathsep.join(filter(None, sys.path))
    return {MARKER: marker, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"} | dict.fromkeys(names, str(folder))


MARKER = "CONCURRO_SOAK"
"""Environment variable that every process of a soak inherits."""
