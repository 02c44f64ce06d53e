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
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack

from concurro.config import Config
from concurro.errors import ClosedError, ConcurroError, MasterUnreachable, NodeStartError, RemoteTraceback
from concurro.execution.children import wait_for_end
from concurro.nodes.agents import NATIVE
from concurro.nodes.executed import ExecutedCluster, ExecutedNode
from concurro.transport.stream import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

START_LIMIT = 60.0
STOP_LIMIT = 15.0


class NodeProcess:
    """One node in a process of its own, ended by closing its channel."""

    def __init__(self, executed: ExecutedNode) -> None:
        self._role, self._process, self._stream = executed
        self._fault: Exception | None = None
        self._channel = Channel(self._stream)

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

    def begin_to_stop(self) -> None:
        """Close the channel. Idempotent."""
        self._channel.close()

    def stop(self) -> None:
        """Close the channel and wait for the end; kill what does not end.

        Idempotent.
        """
        self.begin_to_stop()
        try:
            wait_for_end(self._process, STOP_LIMIT)
        except subprocess.TimeoutExpired:
            log.warning("the %s (process %d) did not end in %.0f s and is killed", self._role, self.pid, STOP_LIMIT)
            self._process.kill()
            self._process.wait()


class EmbeddedCluster:
    """A master with slaves on this machine. Thread-safe.

    Args:
        executed: Its processes, which import while they are not configured.

    Attributes:
        url: The address of the master.
    """

    def __init__(self, executed: ExecutedCluster) -> None:
        self._config: Config | None = None
        self._plugins: list[str] = []
        self._workers: int | None = None
        self._folder = executed.folder
        self._master: NodeProcess | None = NodeProcess(executed.master)
        self._slaves = [NodeProcess(slave) for slave in executed.slaves]
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self.url = f"ipc://{self._folder}/master"

    @classmethod
    def start(cls, config: Config) -> EmbeddedCluster:
        """Return a cluster of one slave that works.

        Raises:
            ConcurroError: What kept a node from starting; nothing is left then.
        """
        cluster = cls(ExecutedCluster.execute(slaves=1))
        try:
            cluster.configure(config)
            cluster.wait_ready()
        except BaseException:
            cluster.stop()
            raise
        return cluster

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
        inside = not self._slaves and str(config["slave.task_manager"]) == NATIVE
        if not inside and not self._slaves:
            self._slaves.append(NodeProcess(ExecutedNode.execute("slave")))
        own: dict[str, object] = {"master.listen": self.url, "master.standalone": inside}
        if workers is not None:
            own["slave.workers"] = workers
        self._master.configure(Config.load(config, overrides=own), self._plugins)
        self._workers = workers

    def wait_ready(self) -> None:
        """Return once every node works.

        Raises:
            ConcurroError: What kept a node from starting.
        """
        assert self._master is not None  # noqa: S101 - it was not stopped yet
        self.url = self._master.wait_ready()
        for process in self._slaves:
            self._configure_slave(process, self._workers)
        for process in self._slaves:
            process.wait_ready()

    def add_slave(self, workers: int) -> str:
        """Start one more slave; return its id once it joined.

        Raises:
            ClosedError: The cluster was ended, perhaps meanwhile.
        """
        self._check_open()
        process = NodeProcess(ExecutedNode.execute("slave"))
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
        """End every node; nothing is left when it returns. Idempotent.

        In a process that was forked from the cluster's it does nothing.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            slaves, self._slaves = self._slaves, []
            master, self._master = self._master, None
        for process in slaves:
            process.begin_to_stop()
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
