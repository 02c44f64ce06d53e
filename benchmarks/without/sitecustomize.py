"""Take parts out of every process of ours below a measurement.

The interpreter imports this at its start when the folder is on PYTHONPATH. `BENCHMARK_WITHOUT`
names the parts with commas; a module that holds one is changed as soon as it was imported.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

VARIABLE = "BENCHMARK_WITHOUT"


def _without_state(module: Any) -> None:
    """Do not compare what tasks leave behind: folder, environment, umask, signals, children."""
    module.ProcessState.compare = lambda state: ""  # noqa: ARG005 - of every state


def _without_streams(module: Any) -> None:
    """Nor the standard streams."""
    module.StandardStreams.put_back = lambda streams: ""  # noqa: ARG005 - of every worker


def _without_output(module: Any) -> None:
    """Do not look whether a task wrote, so that its output is nobody's."""
    module.NativeWrites.happened = lambda writes: False  # noqa: ARG005 - of every worker


def _without_checks(module: Any) -> None:
    """Do not check the shape of messages."""
    module.check_message = lambda message, sender: None  # noqa: ARG005 - whatever it is


PARTS: dict[str, dict[str, Callable[[Any], None]]] = {
    "state": {
        "concurro.execution.process_state": _without_state,
        "concurro.execution.standard_streams": _without_streams,
    },
    "output": {"concurro.execution.native_writes": _without_output},
    "checks": {"concurro.wire.schema": _without_checks},
}
"""Part to the modules that hold it, each with what takes it out."""


class Remover(MetaPathFinder):
    """Changes modules as they are imported.

    Args:
        changes: Module to what changes it.
    """

    def __init__(self, changes: dict[str, Callable[[Any], None]]) -> None:
        self._changes = changes

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a module that is to be changed."""
        change = self._changes.get(name)
        spec = None if change is None else PathFinder.find_spec(name, path, target)
        if change is None or spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute = loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            change(module)

        loader.exec_module = execute_and_change
        return spec


def take_out(parts: str) -> None:
    """Take parts out of this process, before it imports ours.

    Raises:
        KeyError: There is no such part.
    """
    changes = {module: change for part in parts.split(",") if part for module, change in PARTS[part].items()}
    if changes:
        sys.meta_path.insert(0, Remover(changes))


take_out(os.environ.get(VARIABLE, ""))
