"""The reference is made from the code, and holds all of it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from concurro.config.core_options import CORE_TABLES
from tests.support.programs import ROOT

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """Import docs/generate.py; without Sphinx there is nothing to generate for."""
    pytest.importorskip("sphinx")
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_option_of_the_core_is_listed(generate: ModuleType):
    text = "\n".join(generate.option_lines())

    missing = [
        f"{table}.{name}"
        for table, options in CORE_TABLES.items()
        for name in options
        if f"``{table}.{name}``" not in text
    ]

    assert missing == []


@pytest.mark.parametrize("name", ["rated", "least-loaded", "round-robin", "process-pool", "thread-pool", "inline"])
def test_every_built_in_component_is_listed(generate: ModuleType, name: str):
    assert any(line.startswith(f"``{name}``") for line in generate.component_lines())


@pytest.mark.parametrize(
    "path",
    [
        "concurrent run",
        "concurrent status",
        "concurrent explain",
        "concurrent cancel",
        "concurrent plugins list",
        "concurrent plugins check",
        "concurrent config show",
        "concurrent config init",
        "concurrent keys init",
        "concurrent keys add",
        "concurrent keys list",
        "concurrent keys revoke",
        "concurrent-master",
        "concurrent-slave",
    ],
)
def test_every_command_is_listed(generate: ModuleType, path: str):
    assert path in list(generate.command_lines())


def test_every_public_name_is_listed_with_its_contract(generate: ModuleType):
    text = "\n".join(generate.name_lines())

    assert "LocalCluster" in text
    assert "get_next_slave(task=None, slaves=None)" in text
