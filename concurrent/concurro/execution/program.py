"""How a process of ours is executed.

The same interpreter, the same modules in reach, and a hash seed that is fixed.

`-P` keeps the working directory out of `sys.path`: a file there called `queue.py` must not
stand in for the standard library's. What the parent could import beyond that, the child can
too, after everything of its own.

A host must hash as the one before it did, so that a set of strings has the same order when
its system is replayed. The seed of a process is chosen when it is executed: with 0 for all of
ours, hosts can be forked. Whatever our tasks execute themselves does not inherit it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys

import concurro
from concurro.errors import NodeStartError

HASH_SEED = "PYTHONHASHSEED"

# Our own package comes from where the parent has it, whatever else is installed.
# What is imported stays: looking for garbage in between would take a tenth of the time.
_PROGRAM = (
    "import gc, sys; gc.disable(); sys.path.insert(0, {root!r}); import concurro; del sys.path[0]; "
    "sys.path.extend(path for path in {paths!r} if path not in sys.path); "
    "{forget}from {module} import main; gc.enable(); main()"
)
_FORGET_SEED = f"import os; os.environ.pop({HASH_SEED!r}, None); "


def execute(
    name: str, module: str, *arguments: str, kind: socket.SocketKind = socket.SOCK_STREAM
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Run `main` of a module in a process of its own session.

    Return it, and our end of a socket to it. Its first argument is the descriptor of its end.

    Args:
        name: What people call it.
        module: Its module.
        arguments: Those behind the descriptor.
        kind: Of the socket.

    Raises:
        NodeStartError: The interpreter cannot be executed.
    """
    ours, theirs = map(_above_standard_streams, socket.socketpair(socket.AF_UNIX, kind))
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            python_command(module, str(theirs.fileno()), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=usable_stderr(),
            env=python_environment(),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        message = f"the {name} did not start: {sys.executable}: {error.strerror}"
        raise NodeStartError(message) from error
    finally:
        theirs.close()
    return process, ours


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs `main` of a module.

    It is for `python_environment`.
    """
    root = os.path.dirname(os.path.dirname(concurro.__file__))  # noqa: PTH120 - no pathlib: start-up
    paths = [root, *(path for path in sys.path if path and path != root)]
    forget = _FORGET_SEED if fixes_seed() else ""
    program = _PROGRAM.format(root=root, paths=paths, module=module, forget=forget)
    return [sys.executable, "-P", "-c", program, *arguments]


def python_environment() -> dict[str, str]:
    """Return the environment for `python_command`: with a fixed hash seed."""
    return {**os.environ, HASH_SEED: "0"} if fixes_seed() else dict(os.environ)


def fixes_seed() -> bool:
    """Return whether our processes have the hash seed 0: the user chose none."""
    return os.environ.get(HASH_SEED, "random") in ("", "random")


def usable_stderr() -> int:
    """Return where our processes print.

    Standard output belongs to the application's results.
    """
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2


def _above_standard_streams(stream: socket.socket) -> socket.socket:
    """Return the stream under a number that no standard stream has.

    Where those are closed, as in a daemon, it may come under one of theirs.
    """
    if stream.fileno() > 2:  # noqa: PLR2004 - the number of stderr
        return stream
    with stream:
        return socket.socket(fileno=fcntl.fcntl(stream.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))
