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

import os
import subprocess
import sys

import concurro

HASH_SEED = "PYTHONHASHSEED"

# Our own package comes from where the parent has it, whatever else is installed.
# What is imported stays: looking for garbage in between would take a tenth of the time.
_PROGRAM = (
    "import gc, sys; gc.disable(); sys.path.insert(0, {root!r}); import concurro; del sys.path[0]; "
    "sys.path.extend(path for path in {paths!r} if path not in sys.path); "
    "{forget}from {module} import main; gc.enable(); main()"
)
_FORGET_SEED = f"import os; os.environ.pop({HASH_SEED!r}, None); "


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
