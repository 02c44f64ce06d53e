"""Node processes of one local cluster.

A master and slaves, started and ended here.

    this process == stream == master (standalone or not) -- slaves

A private folder (0700) holds the socket; whoever ends last removes it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack

from concurro.config import Config
from concurro.errors import ClosedError, ConcurroError, MasterUnreachable, NodeStartError, RemoteTraceback
from concurro.execution.children import wait_for_end
from concurro.execution.program import python_command, python_environment
from concurro.nodes.agents import NATIVE
from concurro.transport.stream import Channel
from concurro.wire.importing import refuse_while_importing

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

START_LIMIT = 60.0
STOP_LIMIT = 15.0
FOLDER_PREFIX = "concurro-"


class NodeProcess:
    """One node in a process of its own, ended by closing its channel."""

    def __init__(self, role: str, folder: str = "") -> None:
        """Execute it; it imports what it needs until it is configured.

        Args:
            role: `master` or `slave`.
            folder: Removed when it ends, however it ends.

        Raises:
            NodeStartError: The interpreter cannot be executed.
        """
        ours, theirs = socket.socketpair()
        command = python_command("concurro.nodes.boot", str(theirs.fileno()), role, folder)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=_standard_error(),
                env=python_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            message = f"the {role} did not start: {sys.executable}: {error.strerror}"
            raise NodeStartError(message) from error
        finally:
            theirs.close()
        self._role = role
        self._fault: Exception | None = None
        self._channel = Channel(ours)
        self._stream = ours

    def configure(self, config: Config, plugins: Sequence[str]) -> None:
        """Let it start its work; `wait_ready` waits for that."""
        with contextlib.suppress(OSError):  # it ended already, which `wait_ready` tells
            self._channel.send([msgpack.packb([pickle.dumps(config), list(plugins)])])

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def wait_ready(self) -> str:
        """Wait until it works; return its url (master) or id (slave).

        Raises:
            ConcurroError: What kept it from starting.
        """
        self._stream.settimeout(START_LIMIT)
        try:
            frames = self._channel.receive()
        except TimeoutError:
            frames = None
        finally:
            self._stream.settimeout(None)
        if frames is None:
            self.stop()
            message = f"the {self._role} ended at its start with exit code {self._process.returncode}"
            raise NodeStartError(message)
        news, *facts = msgpack.unpackb(frames[0])
        if news == "ready":
            return str(facts[0])
        self.stop()
        error = _loaded(facts[0])
        if isinstance(error, ConcurroError):
            raise error
        message = f"the {self._role} did not start: {facts[1]}"
        raise NodeStartError(message) from error

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def fault(self, patience: float) -> Exception | None:
        """Return why it ended by itself, once it worked; None when it runs.

        Args:
            patience: How long it may take to end [s].
        """
        if self._fault is not None:
            return self._fault
        try:
            status = wait_for_end(self._process, patience)
        except subprocess.TimeoutExpired:
            return None
        self._fault = self._why_it_ended(status)
        return self._fault

    def _why_it_ended(self, status: int) -> Exception:
        """Return what it said at its end, or how that was."""
        frames = None
        with contextlib.suppress(OSError):
            self._stream.settimeout(0)
            frames = self._channel.receive()
        if frames is not None:
            _, pickled, text = msgpack.unpackb(frames[0])
            error = _loaded(pickled)
            if isinstance(error, ConcurroError):
                return error
            fault = MasterUnreachable(f"the {self._role} (process {self.pid}) failed: {text}")
            fault.__cause__ = error
            return fault
        how = f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with exit code {status}"
        return MasterUnreachable(f"the {self._role} (process {self.pid}) {how}")

    def stop(self) -> None:
        """Close the channel and wait for the end; kill what does not end.

        Idempotent.
        """
        self._channel.close()
        try:
            wait_for_end(self._process, STOP_LIMIT)
        except subprocess.TimeoutExpired:
            log.warning("the %s (process %d) did not end in %.0f s and is killed", self._role, self.pid, STOP_LIMIT)
            self._process.kill()
            self._process.wait()


class EmbeddedCluster:
    """A master with slaves on this machine. Thread-safe.

    Its processes start to import at once, while the caller does what it takes to configure them.

    Args:
        slaves: How many; a single one runs inside the master's process.

    Attributes:
        url: The address of the master.
    """

    def __init__(self, slaves: int = 1) -> None:
        """Execute the processes.

        Raises:
            NodeStartError: One of them cannot be executed; nothing is left then.
        """
        refuse_while_importing("a local cluster")
        self._count = slaves
        self._config: Config | None = None
        self._plugins: list[str] = []
        self._slaves: list[NodeProcess] = []
        self._lock = threading.Lock()
        self._folder = make_private_folder()
        self.url = f"ipc://{self._folder}/master"
        self._master: NodeProcess | None = None
        try:
            self._master = NodeProcess("master", self._folder)
            if slaves > 1:
                self._slaves.extend(NodeProcess("slave") for _ in range(slaves))
        except BaseException:
            self.stop()
            raise

    @property
    def master_pid(self) -> int | None:
        """Process id of the master."""
        return self._master.pid if self._master is not None else None

    def configure(self, config: Config, *, workers: int | None = None, plugins: Sequence[str] = ()) -> None:
        """Let every node start its work; `wait_ready` waits for that. Called once.

        Args:
            config: Settings of all its nodes.
            workers: Workers per slave; None for the settings'.
            plugins: Files and folders with components.
        """
        assert self._master is not None  # noqa: S101 - it was not stopped yet
        self._config = config
        self._plugins = [str(Path(plugin).absolute()) for plugin in plugins]
        inside = self._count == 1 and str(config["slave.task_manager"]) == NATIVE
        if not inside and not self._slaves:
            self._slaves.append(NodeProcess("slave"))
        own: dict[str, object] = {"master.listen": self.url, "master.standalone": inside}
        if workers is not None:
            own["slave.workers"] = workers
        self._master.configure(Config.load(config, overrides=own), self._plugins)
        self._workers = workers

    def wait_ready(self) -> None:
        """Return once every node works.

        Raises:
            ConcurroError: What kept a node from starting; nothing is left then.
        """
        assert self._master is not None  # noqa: S101 - it was not stopped yet
        try:
            self.url = self._master.wait_ready()
            for process in self._slaves:
                self._configure_slave(process, self._workers)
            for process in self._slaves:
                process.wait_ready()
        except BaseException:
            self.stop()
            raise

    def add_slave(self, workers: int) -> str:
        """Start one more slave; return its id once it joined.

        Raises:
            ClosedError: The cluster was ended, perhaps meanwhile.
        """
        self._check_open()
        process = NodeProcess("slave")
        self._configure_slave(process, workers)
        slave_id = process.wait_ready()
        with self._lock:
            if self._master is not None:
                self._slaves.append(process)
                return slave_id
        process.stop()
        self._check_open()
        return slave_id

    def take_slave(self, pid: int) -> NodeProcess | None:
        """Return the process of a slave and forget it; None when it is not ours."""
        with self._lock:
            for process in self._slaves:
                if process.pid == pid:
                    self._slaves.remove(process)
                    return process
        return None

    def fault(self, patience: float = 0.0) -> Exception | None:
        """Return why the master ended by itself; None when it works.

        Args:
            patience: How long it may take to end [s].
        """
        master = self._master
        return None if master is None else master.fault(patience)

    def stop(self) -> None:
        """End every node; nothing is left when it returns. Idempotent."""
        with self._lock:
            slaves, self._slaves = self._slaves, []
            master, self._master = self._master, None
        for process in slaves:
            process.stop()
        if master is not None:
            master.stop()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _check_open(self) -> None:
        if self._master is None:
            message = "the cluster was closed"
            raise ClosedError(message)

    def _configure_slave(self, process: NodeProcess, workers: int | None) -> None:
        own: dict[str, object] = {"slave.master": self.url}
        if workers is not None:
            own["slave.workers"] = workers
        process.configure(Config.load(self._config, overrides=own), self._plugins)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _loaded(pickled: bytes) -> Exception | None:
    """Return the error of another process with its traceback, if we can."""
    error = None
    with contextlib.suppress(Exception):
        error = pickle.loads(pickled)
    traceback = getattr(error, "traceback", "")
    if isinstance(error, ConcurroError) and traceback:
        error.__cause__ = RemoteTraceback(traceback)
    return error if isinstance(error, Exception) else None


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


def _standard_error() -> int:
    """Return where nodes print.

    Standard output belongs to the application's results.
    """
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2
