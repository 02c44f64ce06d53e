"""The launcher: the one process of a node that starts and ends others.

    node (may have threads)                launcher (one thread)        children
        | fork 7 + descriptors  ---------------> |  fork ------------> worker 7
        | run 8, module + descriptors ---------> |  fork ------------> host 8
        | import a module ---------------------> |  workers forked from now on have it
        | kill 7, signal  ---------------------> |  kill(-pid) ------> group of 7
        | nursery 9 + its control socket ------> |  fork ------------> a launcher for workers alone
        | <----------------- started 7, pid      |
        | <-- ended 7, pid, status, memory peak  |  <--- SIGCHLD ----- worker 7
        | EOF, or the node's descriptor ready -> |  kills all, removes the folder, ends

It stays single-threaded and imports little, so that forking it is cheap and safe. It is
executed fresh, or forked from a node that was, before that had any thread. Every child leads
a process group and adopts its own stray grandchildren; when it ends, what is left of the
group and what comes to the launcher by adoption is killed.

A standalone master's hosts are safe from its tasks: their workers come from a nursery, a copy
of the launcher below it, so that a task that kills its parent ends nothing but workers.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import select
import shutil
import signal
import socket
import sys
import time
import types
from typing import Any, NoReturn

import msgpack

from concurro.execution.process_controls import end_with_parent, offer_to_kernel, set_process_controls
from concurro.execution.program import HASH_SEED, python_command
from concurro.execution.worker import run_worker

MESSAGE_SIZE = 192 * 1024
"""Largest message between node and launcher [B]; a datagram of the kernel's default buffer."""

DESCRIPTOR_LIMIT = 16
"""Most descriptors that travel with one message."""

EXIT_NOT_EXECUTED = 127
"""Exit code of a host whose program could not be executed."""

_PR_SET_CHILD_SUBREAPER = 36
_END_LIMIT = 5.0
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
_PARENT_CHECK = 1000


class Launcher:
    """Forks, executes, kills and reaps, as the node says.

    Args:
        control: An AF_UNIX socket of whole messages.
        parent: Process id of the node.
        folder: Removed at the end; empty for none.
    """

    def __init__(self, control: socket.socket, parent: int, folder: str = "") -> None:
        self._control = control
        self._parent = parent
        self._folder = folder
        self._children: dict[int, int] = {}
        self._pids: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._parent_fd = _open_process(parent)
        self._ending = False

    def run(self) -> None:
        """Serve until the node is gone or says stop; then end every child."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _note_signal)
        signal.signal(signal.SIGTERM, _outlive)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        poller = select.poll()
        for fd in (self._control.fileno(), self._wake_read, self._parent_fd):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
        patience = None if self._parent_fd >= 0 else _PARENT_CHECK
        self._ending = os.getppid() != self._parent
        while not self._ending:
            ready = {fd for fd, _ in poller.poll(patience)}
            if self._wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            self._reap()
            if self._control.fileno() in ready:
                self._obey()
            if self._parent_fd in ready or os.getppid() != self._parent:
                self._ending = True
        self._end()

    def _obey(self) -> None:
        try:
            message, fds, _, _ = socket.recv_fds(self._control, MESSAGE_SIZE, DESCRIPTOR_LIMIT)
        except OSError:
            self._ending = True
            return
        if not message:
            self._ending = True
            return
        order, *arguments = msgpack.unpackb(message)
        if order == "fork":
            self._fork_worker(arguments[0], fds)
        elif order == "run":
            self._fork_host(arguments[0], arguments[1], fds)
        elif order == "execute":
            self._execute(arguments[0], arguments[1], arguments[2], fds)
        elif order == "nursery":
            self._fork_nursery(arguments[0], fds)
        elif order == "import":
            self._prepare(arguments[0])
        elif order == "kill":
            self._kill(*arguments)
        elif order == "stop":
            self._ending = True

    @staticmethod
    def _prepare(module: str) -> None:
        """Import what every child from now on is expected to want.

        Threads of numerical libraries end before a fork, and start again when they are needed.
        """
        with contextlib.suppress(Exception):  # whoever needs it meets what is wrong with it
            importlib.import_module(module)
        gc.freeze()

    def _fork_worker(self, child_id: int, fds: list[int]) -> None:
        if self._fork(child_id, fds) == 0:
            with _child(EXIT_NOT_EXECUTED):
                self._become_child()
                offer_to_kernel()
                _forget_program()
                run_worker(*fds)

    def _fork_host(self, child_id: int, module: str, fds: list[int]) -> None:
        """Run a module of ours in a process with the hash seed 0.

        That is our own, unless the user chose another one for our processes.
        """
        if self._fork(child_id, fds) == 0:
            with _child(EXIT_NOT_EXECUTED):
                self._become_child()
                if sys.flags.hash_randomization:
                    _replace(python_command(module), {HASH_SEED: "0"}, fds)
                _forget_program()
                os.environ[HASH_SEED] = "0"
                importlib.import_module(module).run(*fds)

    def _fork_nursery(self, child_id: int, fds: list[int]) -> None:
        if self._fork(child_id, fds) == 0:
            with _child(EXIT_NOT_EXECUTED):
                self._become_child()
                os.set_inheritable(fds[0], False)  # noqa: FBT003 - its only argument
                Launcher(socket.socket(fileno=fds[0]), os.getppid()).run()

    def _execute(self, child_id: int, argv: list[str], env: dict[str, str], fds: list[int]) -> None:
        if self._fork(child_id, fds) == 0:
            with _child(EXIT_NOT_EXECUTED):
                self._become_child()
                _replace(argv, env, fds)

    def _fork(self, child_id: int, fds: list[int]) -> int:
        try:
            pid = os.fork()
        except OSError as error:
            for fd in fds:
                os.close(fd)
            self._tell("failed", child_id, f"fork failed: {error.strerror}")
            return -1
        if pid == 0:
            return 0
        # Both sides do it, so that the group exists whoever runs first.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        for fd in fds:
            os.close(fd)
        self._children[pid] = child_id
        self._pids[child_id] = pid
        self._tell("started", child_id, pid)
        return pid

    def _become_child(self) -> None:
        launcher = os.getppid()
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        set_process_controls(_PR_SET_CHILD_SUBREAPER, 1)
        end_with_parent(launcher, EXIT_NOT_EXECUTED)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._control.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        if self._parent_fd >= 0:
            os.close(self._parent_fd)

    def _kill(self, child_id: int, number: int, group: bool) -> None:  # noqa: FBT001 - as it stands in the message
        pid = self._pids.get(child_id)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)

    def _reap(self) -> None:
        reaped = False
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                break
            reaped = True
            pid = ended.si_pid
            if pid in self._children:
                # While the leader is not reaped, nobody else can get the number of its group.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            child_id = self._children.pop(pid, None)
            if child_id is not None:
                self._pids.pop(child_id, None)
                self._tell("ended", child_id, pid, status, usage.ru_maxrss * _PEAK_UNIT)
        if reaped:
            self._kill_adopted()

    def _kill_adopted(self) -> None:
        """Kill what a child left behind: a living child keeps its own."""
        for pid in children_of(os.getpid()):
            if pid not in self._children:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def _tell(self, news: str, *arguments: Any) -> None:
        try:
            self._control.send(msgpack.packb((news, *arguments)))
        except OSError as error:
            if error.errno != errno.EINTR:
                self._ending = True

    def _end(self) -> None:
        deadline = time.monotonic() + _END_LIMIT
        while time.monotonic() < deadline:
            for pid in self._children:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            self._kill_adopted()
            self._reap()
            try:
                if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    select.select([self._wake_read], [], [], 0.01)
            except ChildProcessError:
                break
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._control.close()


class _child:  # noqa: N801 - reads as a statement: with _child(code)
    """What a forked child runs: it never returns into the launcher."""

    def __init__(self, code: int) -> None:
        self._code = code

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> NoReturn:
        if error is not None:
            os.write(2, f"child process failed: {error!r}\n".encode(errors="backslashreplace"))
        os._exit(self._code if error is not None else 0)


def children_of(pid: int) -> list[int]:
    """Return the direct children of a single-threaded process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listing:  # noqa: PTH123 - no pathlib: start-up
            return [int(child) for child in listing.read().split()]
    except OSError:
        return []


def _replace(argv: list[str], env: dict[str, str], fds: list[int]) -> NoReturn:
    """Execute a program, with `fds` as its descriptors 3, 4, ..."""
    for position, fd in enumerate(_above(fds, 3 + len(fds))):
        os.dup2(fd, 3 + position, inheritable=True)
    os.execvpe(argv[0], argv, {**os.environ, **env})  # noqa: S606 - without a shell is what is wanted


def _forget_program() -> None:
    """Let a forked child have neither our main module nor our arguments."""
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = [""]


def _above(fds: list[int], lowest: int) -> list[int]:
    """Return duplicates from `lowest` on: no dup2 overwrites a source."""
    import fcntl  # noqa: PLC0415 - only a host needs it

    return [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest) for fd in fds]


def _open_process(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1  # an older kernel: the parent's id is looked at every second


def _outlive(number: int, frame: types.FrameType | None) -> None:
    """Stay: ours end with the node.

    A stopped service signals all its processes.
    """


def _note_signal(number: int, frame: types.FrameType | None) -> None:
    """Do nothing: the wake-up descriptor tells the loop."""


def fork_launcher(folder: str, close: int) -> tuple[int, socket.socket]:
    """Fork a launcher for this process, which must have one thread.

    Args:
        folder: What it removes at its end; empty for none.
        close: A descriptor that is not its own.

    Returns:
        Its process id, and our end of its control socket.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    node = os.getpid()
    pid = os.fork()
    if pid == 0:
        with _child(1):
            os.setsid()
            os.close(close)
            ours.close()
            _run_launcher(theirs, node, folder)
    theirs.close()
    return pid, ours


def _run_launcher(control: socket.socket, parent: int, folder: str) -> None:
    set_process_controls(_PR_SET_CHILD_SUBREAPER, 1)
    gc.freeze()  # what is here now is shared with every worker
    Launcher(control, parent, folder).run()


def main() -> None:
    """Run the launcher.

    Arguments: descriptor of the control socket, process id of the node, folder.
    """
    control_fd, parent, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""  # noqa: PLR2004
    os.set_inheritable(control_fd, False)  # noqa: FBT003
    _run_launcher(socket.socket(fileno=control_fd), parent, folder)
    os._exit(0)


if __name__ == "__main__":
    main()
