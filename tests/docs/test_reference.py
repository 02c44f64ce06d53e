"""The reference is made from the code, and holds all of it."""

from __future__ import annotations

import importlib.util
import inspect
from typing import TYPE_CHECKING

import pytest

import concurro
from concurro.config.core_options import CORE_TABLES
from tests.support.failure_lines import failure_lines
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
        "concurrent journal check",
        "concurrent journal show",
        "concurrent journal compact",
        "concurrent-master",
        "concurrent-slave",
    ],
)
def test_every_command_is_listed(generate: ModuleType, path: str):
    assert path in list(generate.command_lines())


def test_every_public_name_is_listed_with_its_contract(generate: ModuleType):
    text = "\n".join(generate.name_lines())

    missing = [name for name in concurro.__all__ if f"{name}\n~" not in text]

    assert missing == []
    assert "get_next_slave(task=None, slaves=None)" in text
    assert "partial_results() -> PartialResults" in text


def test_every_public_name_is_listed_once(generate: ModuleType):
    listed = [name for names in generate.NAMES.values() for name in names] + generate.error_names()

    assert sorted(listed) == sorted(concurro.__all__)


def test_what_is_left_out_of_a_class_exists(generate: ModuleType):
    unknown = [
        f"{name}.{member}"
        for name, members in generate.INTERNAL.items()
        for member in members
        if not hasattr(getattr(concurro, name, generate.TaskFuture), member)
    ]

    assert unknown == []


@pytest.mark.parametrize(
    "name", ["ApplicationNode", "ClusterExecutor", "LocalCluster", "MasterNode", "SlaveNode", "SystemHandle", "Task"]
)
def test_every_method_that_users_call_is_documented(generate: ModuleType, name: str):
    members = generate.public_members(getattr(concurro, name))

    assert [member for member, value in members.items() if not inspect.getdoc(value)] == []


def test_every_line_of_the_failure_matrix_is_listed_with_its_tests(generate: ModuleType):
    text = "\n".join(generate.failure_table_lines())

    missing = [line.number for line in failure_lines() if f"``{line.test}``" not in text or line.seen not in text]

    assert missing == []
