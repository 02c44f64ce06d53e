"""Switch a mechanism off in this process: Python imports this module by itself at its start.

This folder is on PYTHONPATH and `CONCURRO_WITHOUT` names a file of it, for a test and for every
process that the test starts. The file's `PATCHES` say what is done to which module, as soon as
that is imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

MECHANISM = "CONCURRO_WITHOUT"


class Switch:
    """Finds modules as Python does, and patches those that it has a patch for."""

    def __init__(self, patches):
        self._patches = patches

    def find_spec(self, name, path=None, target=None):
        patch = self._patches.get(name)
        spec = PathFinder.find_spec(name, path, target) if patch is not None else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_patch(module):
            execute(module)
            patch(module)

        spec.loader.exec_module = execute_and_patch
        return spec


def install(mechanism):
    """Patch what is imported from now on."""
    path = Path(__file__).with_name(f"{mechanism}.py")
    spec = importlib.util.spec_from_file_location(f"switch_{mechanism}", path)
    switch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(switch)
    sys.meta_path.insert(0, Switch(switch.PATCHES))


if os.environ.get(MECHANISM):
    install(os.environ[MECHANISM])
