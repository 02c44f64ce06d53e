"""The wall clock decides nothing: durations and deadlines go by the monotonic one."""

from __future__ import annotations

import ast

import pytest

from tests.layout.source_tree import CORE, PLUGINS, Module, modules_below

WALL_CLOCKS = {("time", name) for name in ("time", "time_ns", "clock_gettime", "clock_gettime_ns")} | {
    ("datetime", name) for name in ("now", "utcnow", "today")
}
"""What gives a number to reckon with; what only shows the time may."""

WHO_MAY_ASK = {
    "concurro.nodes.master": "tells systems and the journal the time; draws seeds, and an epoch without a journal",
    "concurro.cli.asking": "tells people since when a master runs",
    "concurro.nodes.inline": "tells systems the time, and draws seeds",
    "concurro.nodes.keeper": "guesses how long a master was away: no other clock goes on meanwhile",
    "concurro.nodes.surroundings": "tells people what time it is where a node runs",
    "concurro.nodes.inspection": "tells people how far the clocks of slaves are ahead",
    "concurro.journal.store": "writes down when a journal was made",
}
"""Module to what it needs the time of day for; nothing waits for it, or ends by it."""

SOURCES = [*modules_below(CORE), *modules_below(PLUGINS)]


@pytest.mark.parametrize("module", SOURCES, ids=lambda module: module.name)
def test_f90_no_deadline_goes_by_the_wall_clock(module: Module):
    asked = [f"{module.where}:{node.lineno}" for node in ast.walk(module.tree) if is_wall_clock(node)]

    assert not asked or module.name in WHO_MAY_ASK


def test_f90_who_may_ask_for_the_time_of_day_does():
    asking = {module.name for module in SOURCES if any(is_wall_clock(node) for node in ast.walk(module.tree))}

    assert asking == WHO_MAY_ASK.keys()


def is_wall_clock(node: ast.AST) -> bool:
    """Say whether a piece of code is a clock's name, or imports it."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return (node.value.id, node.attr) in WALL_CLOCKS
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
        return (node.value.attr, node.attr) in WALL_CLOCKS
    return isinstance(node, ast.ImportFrom) and any((node.module, name.name) in WALL_CLOCKS for name in node.names)
