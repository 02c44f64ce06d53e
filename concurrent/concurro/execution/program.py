"""How a process of ours is executed.

The same interpreter, the same modules in reach.

`-P` keeps the working directory out of `sys.path`: a file there called `queue.py` must not
stand in for the standard library's. What the parent could import beyond that, the child can
too, after everything of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import concurro

# Our own package comes from where the parent has it, whatever else is installed.
_PROGRAM = (
    "import sys; sys.path.insert(0, {root!r}); import concurro; del sys.path[0]; "
    "sys.path.extend(path for path in {paths!r} if path not in sys.path); "
    "from {module} import main; main()"
)


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs `main` of a module."""
    root = str(Path(concurro.__file__).parent.parent)
    paths = [root, *(path for path in sys.path if path and path != root)]
    return [sys.executable, "-P", "-c", _PROGRAM.format(root=root, paths=paths, module=module), *arguments]
