"""`concurrent plugins` and `concurrent config`, called as a command does."""

from __future__ import annotations

import json
import textwrap
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from concurro.cli.config import config_group
from concurro.cli.plugins import plugins_group
from concurro.config import Config

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins_file"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))

    def run_group(group, *arguments):
        return CliRunner().invoke(group, [str(argument) for argument in arguments])

    return run_group


def test_lists_components_with_state_and_source(run):
    ended = run(plugins_group, "list", "--config", EXAMPLE)

    (line,) = [line for line in ended.stdout.splitlines() if "fastest-first" in line]
    assert ended.exit_code == 0
    assert line.split()[:4] == ["ITaskScheduleStrategy", "fastest-first", "enabled", "fastest_first.FastestFirst"]
    assert "fastest_first.py:8" in line


def test_lists_components_as_json_with_a_version(run):
    listed = json.loads(run(plugins_group, "list", "--json").stdout)

    assert listed["version"] == 1
    assert {"least-loaded", "rated"} <= {component["name"] for component in listed["components"]}


def test_lists_a_broken_plugin_and_goes_on(run, tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")

    listed = run(plugins_group, "list", "--plugin", tmp_path / "broken.py")
    strict = run(plugins_group, "list", "--plugin", tmp_path / "broken.py", "--strict-plugins")

    assert listed.exit_code == 0
    assert "did not import: ZeroDivisionError" in listed.stdout
    assert strict.exit_code == 2
    assert "broken plugins" in strict.stderr


def test_check_lists_all_faults_and_ends_with_1(run, tmp_path):
    example = (EXAMPLE / "plugins" / "fastest_first.py").read_text()
    (tmp_path / "faulty.py").write_text(example.replace("master: Any", "node: Any").replace("def rate(", "def rates("))

    ended = run(plugins_group, "check", "--plugin", tmp_path / "faulty.py", "fastest-first")

    assert ended.exit_code == 1
    assert f"{tmp_path / 'faulty.py'}:15: FastestFirst.setup: argument 2 is called 'node'" in ended.stdout
    assert "FastestFirst.rate(slave) of ITaskScheduleStrategy is missing" in ended.stdout


def test_check_runs_a_component_against_stand_ins(run):
    ended = run(plugins_group, "check", "fastest-first", "--behaviour", "--config", EXAMPLE)

    assert ended.exit_code == 0
    assert ended.stdout.startswith("ok      ITaskScheduleStrategy fastest-first")


def test_check_of_an_unknown_name_ends_with_2(run):
    ended = run(plugins_group, "check", "no-such-component")

    assert ended.exit_code == 2
    assert "no enabled component is called 'no-such-component'" in ended.stderr


def test_shows_every_option_with_its_origin(run, monkeypatch):
    monkeypatch.setenv("CONCURRENT_SLAVE_WORKERS", "3")

    lines = run(config_group, "show", "--origin", "--config", EXAMPLE).stdout.splitlines()

    settings = {line.split(" = ")[0]: line for line in lines}
    assert settings["master.strategy"].endswith("concurrent.toml:2")
    assert settings["slave.workers"].split() == ["slave.workers", "=", "3", "environment", "CONCURRENT_SLAVE_WORKERS"]
    assert settings["master.grace"].split() == ["master.grace", "=", "60.0", "default"]
    assert settings["fastest-first.half_life"].endswith("concurrent.toml:5")


def test_shows_options_as_json_with_a_version(run):
    shown = json.loads(run(config_group, "show", "--json", "--config", EXAMPLE).stdout)

    assert shown["version"] == 1
    assert shown["options"]["master.strategy"]["value"] == "fastest-first"


def test_a_wrong_file_ends_with_2_and_its_line(run, tmp_path):
    (tmp_path / "concurrent.toml").write_text("[slave]\nworkers = -1\n")

    ended = run(config_group, "show")

    assert ended.exit_code == 2
    assert "concurrent.toml:2: [slave] workers = -1: must be 0 or more" in ended.stderr


def test_writes_a_first_file_that_changes_nothing(run, tmp_path):
    written = run(config_group, "init")
    before = (tmp_path / "concurrent.toml").read_text()
    shown = run(config_group, "show", "--origin")
    again = run(config_group, "init")

    assert written.exit_code == 0
    assert not any(tomllib.loads(before).values())
    assert shown.exit_code == 0
    assert "concurrent.toml" not in shown.stdout
    assert again.exit_code == 2
    assert "exists; --force overwrites it" in again.stderr


def test_the_file_in_the_documentation_can_be_used(tmp_path):
    page = (EXAMPLE.parents[1] / "docs" / "how-to" / "configure.rst").read_text()
    block = page.split(".. code-block:: toml\n")[1].split("\nEvery option")[0]
    (tmp_path / "concurrent.toml").write_text(textwrap.dedent(block))

    config = Config.load(tmp_path, environ={})

    assert (config["slave.workers"], config["slave.resources"]) == (4, {"gpu": 1})
    assert config["slave.resources"] == {"gpu": 1}
