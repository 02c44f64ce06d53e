"""Imports point down, and every library stays in its rooms."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

from tests.layout.source_tree import CORE, PLUGINS, ROOT, STANDARD_LIBRARY, Import, Module, imports_of, modules_below

LAYERS = {
    "errors": 0,
    "interfaces": 0,
    "ids": 0,
    "records": 0,
    "kernel": 1,
    "config": 1,
    "task": 2,
    "system": 2,
    "wire": 2,
    "scheduling": 3,
    "transport": 3,
    "journal": 3,
    "execution": 4,
    "nodes": 5,
    "executor": 6,
    "cli": 6,
    "testing": 6,
}
TOP = 7
"""The layer of `concurro` itself, which hands everything on."""

LIBRARY_ROOMS = {
    "zope": {"interfaces", "kernel"},
    "zmq": {"transport"},
    "sqlite3": {"journal"},
    "cloudpickle": {"wire"},
    "click": {"cli"},
}
LIBRARY_LAYERS = {"msgpack": 2, "psutil": 4, "rich": 6}
"""Libraries for every room from a layer upwards."""

UPWARD_EXCEPTIONS = {
    (
        "concurro.interfaces",
        "concurro.system",
    ): "`class Job(ITaskSystem)` yields a subclass of TaskSystem; imported by name when a class statement asks",
    (
        "concurro.nodes.application",
        "concurro.executor",
    ): "`executor()` hands out a ClusterExecutor, a thing people touch, made of this very application",
    ("concurro.nodes.inline", "concurro.executor"): "the same for a cluster within one process",
    ("concurro.interfaces", "concurro.task"): "the interfaces name the class of a task in their annotations",
}

CORE_MODULES = modules_below(CORE)
PLUGIN_MODULES = [
    *modules_below(PLUGINS),
    *modules_below(ROOT / "examples" / "plugins_file" / "plugins"),
    *modules_below(ROOT / "examples" / "plugin_package" / "src"),
    *modules_below(ROOT / "examples" / "unequal_slaves" / "plugins"),
    *modules_below(ROOT / "examples" / "own_workers" / "plugins"),
    *modules_below(ROOT / "examples" / "services" / "plugins"),
]


def room_of(name: str) -> str:
    """Return the part of a dotted name that stands for a room of concurro; empty for concurro itself."""
    return name.split(".")[1] if "." in name else ""


def layer_of(name: str) -> int:
    """Return the layer of a module of concurro."""
    room = room_of(name)
    return LAYERS.get(room, TOP) if room else TOP


def internal_imports(module: Module) -> list[tuple[Import, str]]:
    """Return the imports from concurro, each with the module that it reaches."""
    known = {known.name for known in CORE_MODULES}
    reached = []
    for found in imports_of(module):
        if found.top == "concurro":
            target = found.target if found.target in known else found.target.rpartition(".")[0]
            reached.append((found, target))
    return reached


def test_every_room_of_concurro_has_a_layer():
    rooms = {room_of(module.name) for module in CORE_MODULES} - {"", "__main__"}

    assert rooms <= LAYERS.keys(), f"no layer is known for {sorted(rooms - LAYERS.keys())}"


@pytest.mark.parametrize("module", CORE_MODULES, ids=lambda module: module.name)
def test_imports_point_down(module: Module):
    upward = [
        f"{module.where}:{found.line} imports {target}"
        for found, target in internal_imports(module)
        if layer_of(target) > layer_of(module.name) and (module.name, target) not in UPWARD_EXCEPTIONS
        if not (found.target == "concurro" and asks_only_where_it_is(module))
    ]

    assert upward == []


def asks_only_where_it_is(module: Module) -> bool:
    """Say whether a module uses `concurro` itself only for what every package has, e.g. `__file__`."""
    used = {
        node.attr
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "concurro"
    }
    return all(name.startswith("__") for name in used)


def test_every_exception_to_the_direction_is_in_use_and_not_for_import_time():
    used = {
        (module.name, target): found
        for module in CORE_MODULES
        for found, target in internal_imports(module)
        if (module.name, target) in UPWARD_EXCEPTIONS
    }

    assert used.keys() == UPWARD_EXCEPTIONS.keys()
    assert all(found.inside_function or found.typing_only for found in used.values())


def test_rooms_of_one_layer_do_not_import_each_other_in_a_circle():
    uses: dict[str, set[str]] = defaultdict(set)
    for module in CORE_MODULES:
        for found, target in internal_imports(module):
            room, other = room_of(module.name), room_of(target)
            if room and other and room != other and layer_of(target) == layer_of(module.name) and not found.typing_only:
                uses[room].add(other)

    circles = [(room, other) for room in uses for other in uses[room] if room < other and room in uses.get(other, ())]

    assert circles == []


@pytest.mark.parametrize("module", CORE_MODULES, ids=lambda module: module.name)
def test_libraries_stay_in_their_rooms(module: Module):
    misplaced = [
        f"{module.where}:{found.line} imports {found.target}"
        for found in imports_of(module)
        if found.top != "concurro" and not may_use(module.name, found.top)
    ]

    assert misplaced == []


def may_use(module_name: str, library: str) -> bool:
    """Say whether a module of concurro may import a library."""
    if library in LIBRARY_ROOMS:
        return room_of(module_name) in LIBRARY_ROOMS[library]
    if library in LIBRARY_LAYERS:
        return layer_of(module_name) >= LIBRARY_LAYERS[library]
    return library in STANDARD_LIBRARY


@pytest.mark.parametrize("module", PLUGIN_MODULES, ids=lambda module: module.name)
def test_plugins_use_only_the_public_api(module: Module):
    own = module.name.split(".", maxsplit=1)[0]
    deep = [
        f"{module.where}:{found.line} imports {found.target}"
        for found in imports_of(module)
        if found.top not in STANDARD_LIBRARY and not is_public(found.target, own)
    ]

    assert deep == []


def is_public(target: str, own_package: str) -> bool:
    """Say whether a plugin may import this: itself, concurro, concurro.testing, another plugin."""
    top, *rest = target.split(".")
    if top == own_package:
        return True
    if top == "concurro":
        return len(rest) == 1 or rest[:1] == ["testing"]
    if top.startswith("concurro_"):
        return len(rest) <= 1
    return top not in {"zope", "zmq", "cloudpickle"}
