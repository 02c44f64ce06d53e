"""The protocol cores do no input or output: events in, commands out."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase

import pytest

from tests.layout.source_tree import CORE, Module, imports_of, modules_below

PURE = (
    "concurro.wire.session",
    "concurro.scheduling.*",
    "concurro.execution.crew",
    "concurro.execution.devices",
    "concurro.execution.holdings",
    "concurro.execution.outbox",
    "concurro.execution.posting",
    "concurro.execution.ready_queue",
    "concurro.execution.restarts",
    "concurro.execution.slave_core",
    "concurro.execution.slave_records",
    "concurro.execution.supplies",
    "concurro.nodes.host_core",
    "concurro.nodes.application_core",
)
"""Modules whose whole world is their arguments; time is one of them."""

WITHOUT_LINKS = ("concurro.wire.*",)
"""Modules that turn values into bytes and back, but move none."""

MOVES_BYTES = {
    "asyncio",
    "http",
    "multiprocessing",
    "queue",
    "select",
    "selectors",
    "signal",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "zmq",
}
TOUCHES_THE_WORLD = MOVES_BYTES | {
    "datetime",
    "fcntl",
    "fileinput",
    "glob",
    "io",
    "mmap",
    "os",
    "pathlib",
    "psutil",
    "secrets",
    "shutil",
    "sqlite3",
    "tempfile",
    "threading",
    "_thread",
    "time",
    "uuid",
}
WORLDLY_CALLS = {"open", "input", "print", "exec", "eval"}

MODULES = modules_below(CORE)


def matching(patterns: tuple[str, ...]) -> list[Module]:
    """Return the modules whose name fits a pattern; a package fits the pattern of its modules."""
    return [
        module
        for module in MODULES
        if any(fnmatchcase(module.name, pattern) or module.name == pattern.removesuffix(".*") for pattern in patterns)
    ]


def test_every_pattern_names_a_module():
    unused = [pattern for pattern in (*PURE, *WITHOUT_LINKS) if not matching((pattern,))]

    assert unused == []


@pytest.mark.parametrize("module", matching(PURE), ids=lambda module: module.name)
def test_a_pure_core_imports_nothing_that_touches_the_world(module: Module):
    worldly = [
        f"{module.where}:{found.line} imports {found.target}"
        for found in imports_of(module)
        if found.top in TOUCHES_THE_WORLD and not found.typing_only
    ]

    assert worldly == []


@pytest.mark.parametrize("module", matching(PURE), ids=lambda module: module.name)
def test_a_pure_core_opens_and_prints_nothing(module: Module):
    calls = [
        f"{module.where}:{node.lineno} calls {node.func.id}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WORLDLY_CALLS
    ]

    assert calls == []


@pytest.mark.parametrize("module", matching(PURE), ids=lambda module: module.name)
def test_a_pure_core_draws_only_from_a_seeded_generator(module: Module):
    generators = [
        node.func for node in ast.walk(module.tree) if isinstance(node, ast.Call) and (node.args or node.keywords)
    ]

    unseeded = [
        f"{module.where}:{node.lineno} uses {ast.unparse(node)}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "random"
        if node.attr != "Random" or node not in generators
    ]
    taken_out = [found.target for found in imports_of(module) if found.target.startswith("random.")]

    assert unseeded == []
    assert taken_out == []


@pytest.mark.parametrize("module", matching(PURE), ids=lambda module: module.name)
def test_a_pure_core_imports_only_what_is_pure_or_below(module: Module):
    rooms_with_links = ("concurro.transport", "concurro.journal", "concurro.cli")
    linked = [
        f"{module.where}:{found.line} imports {found.target}"
        for found in imports_of(module)
        if found.target.startswith(rooms_with_links) and not found.typing_only
    ]

    assert linked == []


@pytest.mark.parametrize("module", matching(WITHOUT_LINKS), ids=lambda module: module.name)
def test_the_wire_moves_no_bytes(module: Module):
    moving = [
        f"{module.where}:{found.line} imports {found.target}"
        for found in imports_of(module)
        if found.top in MOVES_BYTES and not found.typing_only
    ]

    assert moving == []
