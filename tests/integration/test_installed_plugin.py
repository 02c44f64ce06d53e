"""The example package, built as a wheel and put where an installer would put it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "examples" / "plugin_package"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder that is to a Python path what site-packages is."""
    source = tmp_path_factory.mktemp("source")
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = source / path.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    folder = tmp_path_factory.mktemp("site-packages")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(installed, program, *arguments):
    environ = {**os.environ, "PYTHONPATH": str(installed), "XDG_CONFIG_HOME": str(installed)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_a_strategy_in_a_package_is_chosen_by_its_lines(installed):
    program = """
import sys
from concurro import Environment, ITaskScheduleStrategy
strategy = Environment(sys.argv[1], kind="master").selected(ITaskScheduleStrategy, "master.strategy")
print(type(strategy).__module__, type(strategy).__name__)
"""
    assert run(installed, program, PACKAGE) == "example_strategy BigMachinesFirst"


def test_it_keeps_its_contract(installed):
    program = """
from concurro.testing import check_component
from example_strategy import BigMachinesFirst
check_component(BigMachinesFirst)
print("kept")
"""
    assert run(installed, program) == "kept"


def test_it_is_off_and_not_imported_until_a_rule_names_it(installed):
    program = """
import json, sys
from concurro import ComponentNotFoundError, Environment, ITaskScheduleStrategy
environment = Environment({})
listed = [(offer.state.value, offer.source, offer.reason) for offer in environment.offers()
          if offer.name == "big-machines-first"]
try:
    environment.get(ITaskScheduleStrategy, "big-machines-first")
except Exception as error:
    said = str(error)
print(json.dumps([listed, said, "example_strategy" in sys.modules]))
""".replace("ComponentNotFoundError, ", "")

    (listed,), said, imported = json.loads(run(installed, program))

    assert listed[:2] == ["disabled", "concurro-example-strategy 1.0"]
    assert '"example_strategy.BigMachinesFirst" = true' in listed[2]
    assert "is disabled" in said
    assert imported is False


def test_its_options_are_checked_like_the_cores(installed):
    program = """
from concurro import Environment
try:
    Environment({"components": {"example_strategy.*": True}, "big-machines-first": {"filll": 2}})
except ValueError as error:
    print(error)
"""
    assert "unknown option 'filll' in [big-machines-first]; did you mean 'fill'?" in run(installed, program)
