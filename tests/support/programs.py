"""Load and start the programs of the repository, as a user would."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def load_example(name: str) -> ModuleType:
    """Import `examples/<name>.py` under a name by which its classes can be pickled."""
    module_name = f"example_{name}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def command(name: str) -> str:
    """Return the path of a console script of the environment that runs the tests."""
    beside_python = Path(sys.executable).with_name(name)
    found = str(beside_python) if beside_python.exists() else shutil.which(name)
    assert found, f"{name} is not installed: pip install -e '.[test]'"
    return found


def run_program(
    *arguments: object, cwd: Path = ROOT, timeout: float = 60, expect: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; complain with all its output when the exit code differs."""
    run = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == expect, f"exit code {run.returncode}\nstdout: {run.stdout}\nstderr: {run.stderr}"
    return run
