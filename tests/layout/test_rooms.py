"""The house is in order: names, sizes, doors."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.layout.source_tree import CORE, PLUGINS, ROOT, Module, modules_below, python_files

LONGEST_MODULE = 600
LONGEST_FIRST_LINE = 72
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager", "stuff"}
COLLECTIONS_OF_A_PROCESS = {
    ("concurro.executor", "_prepared"): "what an executor's initializer did to this worker lasts as long as the worker",
}
TOP_LEVEL_FOLDERS = ("concurrent", "plugins", "tests", "docs", "examples", "benchmarks")

SOURCES = [*modules_below(CORE), *modules_below(PLUGINS)]
EVERY_FILE = [path for folder in TOP_LEVEL_FOLDERS for path in python_files(ROOT / folder)]


def test_the_source_roots_are_not_packages():
    assert not (CORE / "__init__.py").exists()
    assert not (PLUGINS / "__init__.py").exists()


def test_the_source_root_holds_one_import_package():
    entries = {entry.name for entry in CORE.iterdir() if entry.name != "__pycache__"}

    assert entries == {"concurro", "README"}


def test_the_standard_library_keeps_its_concurrent_package():
    code = "import asyncio, concurrent, concurrent.futures; print(concurrent.__file__)"

    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert not Path(run.stdout.strip()).is_relative_to(CORE)


def test_the_package_is_marked_as_typed():
    assert (CORE / "concurro" / "py.typed").is_file()


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_not_too_long(path: Path):
    lines = len(path.read_text(encoding="utf-8").splitlines())

    assert lines <= LONGEST_MODULE


def test_no_file_or_folder_has_a_name_that_says_nothing():
    silent = {
        str(path.relative_to(ROOT))
        for path in EVERY_FILE
        if {*path.relative_to(ROOT).parts[:-1], path.stem} & NAMES_THAT_SAY_NOTHING
    }

    assert silent == set()


@pytest.mark.parametrize("module", [module for module in SOURCES if module.is_package], ids=lambda module: module.name)
def test_a_package_only_hands_names_on(module: Module):
    own = [
        f"{module.where}:{statement.lineno}"
        for statement in module.tree.body
        if not isinstance(statement, ast.Import | ast.ImportFrom) and not is_docstring(statement)
        if not is_list_of_names(statement) and not is_for_type_checkers(statement)
        if not (module.name in {"concurro", "concurro.config", "concurro.kernel"} and is_lazy_import(statement))
    ]

    assert own == []


def is_docstring(statement: ast.stmt) -> bool:
    """Say whether a statement is a text alone."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def is_list_of_names(statement: ast.stmt) -> bool:
    """Say whether a statement sets `__all__` or `__version__`."""
    if isinstance(statement, ast.Assign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return all(isinstance(target, ast.Name) and target.id in {"__all__", "__version__"} for target in targets)
    return False


def is_for_type_checkers(statement: ast.stmt) -> bool:
    """Say whether a statement is seen by type checkers only."""
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def is_lazy_import(statement: ast.stmt) -> bool:
    """Say whether a statement serves PEP 562: a job's file must not import what it does not use."""
    if isinstance(statement, ast.FunctionDef):
        return statement.name in {"__getattr__", "__dir__"}
    return isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) in {"_LATER", "_ERROR_NAMES"}


@pytest.mark.parametrize("module", SOURCES, ids=lambda module: module.name)
def test_a_module_says_its_purpose_first(module: Module):
    docstring = ast.get_docstring(module.tree)

    assert docstring, f"{module.where} has no docstring"


def test_the_first_line_of_every_docstring_is_short():
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

    long = [
        f"{module.where}:{getattr(node, 'lineno', 1)} {len(first)} columns: {first}"
        for module in SOURCES
        for node in ast.walk(module.tree)
        if isinstance(node, documented)
        for first in (ast.get_docstring(node) or "").splitlines()[:1]
        if len(first) > LONGEST_FIRST_LINE
    ]

    assert not long, "\n".join(long)


@pytest.mark.parametrize("module", SOURCES, ids=lambda module: module.name)
def test_only_the_command_line_prints(module: Module):
    if module.name.startswith("concurro.cli"):
        return

    prints = [
        f"{module.where}:{node.lineno}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert prints == []


@pytest.mark.parametrize("module", SOURCES, ids=lambda module: module.name)
def test_no_module_keeps_a_collection_that_grows(module: Module):
    empties = {"[]", "{}", "set()", "dict()", "list()"}
    growing = [
        f"{module.where}:{statement.lineno}"
        for statement in module.tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        and statement.value is not None
        and ast.unparse(statement.value) in empties
        and not (isinstance(statement, ast.AnnAssign) and "[Mapping" in ast.unparse(statement.annotation))
        and (module.name, assigned_name(statement)) not in COLLECTIONS_OF_A_PROCESS
    ]

    assert growing == []


def assigned_name(statement: ast.Assign | ast.AnnAssign) -> str:
    """Return the name that a statement sets."""
    return ast.unparse(statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0])
