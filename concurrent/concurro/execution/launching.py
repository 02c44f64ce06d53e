"""The node's side of its launcher: orders out, news of children in."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
from collections import deque
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.execution.children import wait_for_end
from concurro.execution.launcher import MESSAGE_SIZE
from concurro.execution.launcher_process import STOP_LIMIT, LauncherProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from concurro.execution.children import Child
    from concurro.transport.loop import Loop

log = logging.getLogger(__name__)


class Launcher:
    """Starts one launcher process and speaks to it. Loop thread only.

    Every callback comes from the loop. `on_ended` gets a child's id, process id, wait status, and the
    most memory that it held [B]. `on_lost` is called once when the launcher ended
    without being asked to; its children are dead then too.

    Args:
        loop: Where its news arrive.
        cleanup_folder: Removed by the launcher when it ends, however the node ended.
        process: One that runs already, the first that `start` takes.
    """

    def __init__(
        self, loop: Loop, *, cleanup_folder: str | None = None, process: LauncherProcess | None = None
    ) -> None:
        self.on_started: Callable[[int, int], None] = lambda child_id, pid: None  # noqa: ARG005
        self.on_ended: Callable[[int, int, int, int], None] = lambda child_id, pid, status, peak: None  # noqa: ARG005
        self.on_failed: Callable[[int, str], None] = lambda child_id, text: None  # noqa: ARG005
        self.on_lost: Callable[[str], None] = lambda reason: None  # noqa: ARG005
        self._loop = loop
        self._folder = cleanup_folder or ""
        self._prepared = process
        self._process: Child | None = None
        self._control: socket.socket | None = None
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._pids: dict[int, int] = {}

    @property
    def pid(self) -> int | None:
        """Process id of the launcher; None when it does not run."""
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether orders reach it."""
        return self._control is not None

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the living children, by child id."""
        return dict(self._pids)

    def start(self) -> None:
        """Start the launcher; orders may be given at once.

        Raises:
            NodeStartError: The interpreter cannot be executed.
        """
        started, self._prepared = self._prepared or LauncherProcess.execute(self._folder), None
        self._process = started.child
        self._attach(started.control)

    def fork_nursery(self, child_id: int, control: int) -> None:
        """Fork a launcher for workers alone; its end of `control` is taken over."""
        self._order(("nursery", child_id), [control])

    def fork_worker(self, child_id: int, fds: Sequence[int]) -> None:
        """Fork a worker that gets `fds`; they are taken over and closed here."""
        self._order(("fork", child_id), list(fds))

    def start_host(self, child_id: int, module: str, fds: Sequence[int]) -> None:
        """Run a module of ours in a process with the hash seed 0.

        Its `run` is called with `fds`, taken over here.
        """
        self._order(("run", child_id, module), list(fds))

    def execute_host(
        self, child_id: int, argv: Sequence[str], fds: Sequence[int] = (), env: Mapping[str, str] | None = None
    ) -> None:
        """Execute a program; it finds `fds`, taken over here, as 3, 4, ..."""
        environment = {"PYTHONHASHSEED": "0", **(env or {})}
        self._order(("execute", child_id, list(argv), environment), list(fds))

    def prepare(self, module: str) -> None:
        """Import a module once, for every worker that is forked from now on."""
        self._order(("import", module), [])

    def kill(self, child_id: int, number: int = signal.SIGKILL, *, group: bool = True) -> None:
        """Send a signal to a child, or to its whole group."""
        self._order(("kill", child_id, int(number), group), [])

    def stop(self) -> None:
        """End the launcher and every child, and wait for it. Bounded, idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        self._release()
        try:
            wait_for_end(process, STOP_LIMIT)
        except subprocess.TimeoutExpired:
            log.warning("launcher %d did not end in %.0f s and is killed", process.pid, STOP_LIMIT)
            process.kill()
            process.wait()
            self._kill_groups()
        self._pids.clear()

    def _attach(self, control: socket.socket) -> None:
        control.setblocking(False)  # noqa: FBT003 - its only argument
        self._control = control
        self._loop.watch(control.fileno(), self._readable, self._writable)

    def _order(self, order: tuple[Any, ...], fds: list[int]) -> None:
        if self._control is None:
            for fd in fds:
                os.close(fd)
            return
        self._queue.append((msgpack.packb(order), fds))
        self._write()

    def _write(self) -> None:
        while self._queue and self._control is not None:
            packed, fds = self._queue[0]
            try:
                socket.send_fds(self._control, [packed], fds)
            except BlockingIOError:
                break
            except OSError:
                return  # it is gone; reading says so
            self._queue.popleft()
            for fd in fds:
                os.close(fd)
        if self._control is not None:
            self._loop.want_write(self._control.fileno(), bool(self._queue))

    def _writable(self) -> None:
        self._write()

    def _readable(self) -> None:
        while self._control is not None:
            try:
                packed = self._control.recv(MESSAGE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                packed = b""
            if not packed:
                self._lost()
                return
            news, child_id, *facts = msgpack.unpackb(packed)
            if news == "started":
                self._pids[child_id] = facts[0]
                self.on_started(child_id, facts[0])
            elif news == "ended":
                self._pids.pop(child_id, None)
                self.on_ended(child_id, *facts[:3])
            elif news == "failed":
                self.on_failed(child_id, facts[0])

    def _lost(self) -> None:
        self._release()
        reason = self._bury()
        self._kill_groups()
        self._pids.clear()
        self.on_lost(reason)

    def _bury(self) -> str:
        """Wait for the end of its process, and return how it ended."""
        process, self._process = self._process, None
        reason = "the launcher is gone"
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                wait_for_end(process, 1.0)
            if process.returncode is None:
                process.kill()
            reason = f"the launcher ended: {describe_return_code(process.wait())}"
        return reason

    def _kill_groups(self) -> None:
        """Kill the groups of children that died with their launcher."""
        for pid in self._pids.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def _release(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            self._loop.unwatch(control.fileno())
            control.close()
        for _, fds in self._queue:
            for fd in fds:
                os.close(fd)
        self._queue.clear()


class Nursery(Launcher):
    """A launcher for workers alone, forked by another launcher.

    Loop thread only.

    Whatever a task does to the parent of its worker, it does not reach what else the other one
    started. It costs 2 ms and what a fork costs in memory.

    Args:
        loop: Where its news arrive.
        launcher: Who forks it, and ends what it leaves.
        first_id: What the first one is to that one; each further one is the next.
    """

    def __init__(self, loop: Loop, launcher: Launcher, first_id: int) -> None:
        super().__init__(loop)
        self._launcher = launcher
        self._ids = itertools.count(first_id)

    def start(self) -> None:
        """Have it forked; orders may be given at once."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The one before may not be reaped yet, so that its id is not free.
        self._launcher.fork_nursery(next(self._ids), theirs.detach())
        self._attach(ours)

    def stop(self) -> None:
        """End it and every child, without waiting. Idempotent."""
        self._release()
        self._pids.clear()

    def _bury(self) -> str:
        return "the process that starts the workers ended; a task may have killed it"


def describe_return_code(code: int) -> str:
    """Return how a process ended: `killed by SIGSEGV`, `exit code 3`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}"


def describe_status(status: int) -> str:
    """Return how a process with this wait status ended, in words."""
    return describe_return_code(os.waitstatus_to_exitcode(status))
