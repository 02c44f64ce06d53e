"""What every command does alike: help with examples, JSON, colours."""

from __future__ import annotations

import io
import json

import click
import pytest
from click.testing import CliRunner

from concurro.cli.commands import concurrent_group
from concurro.cli.nodes import master_command, slave_command
from concurro.cli.printing import is_live, painted, print_json, visible, visible_output
from concurro_monitor.commands import tesserae_group
from concurro_tagqueue.commands import tags_group


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def pages():
    """Return every command of ours with its path."""
    context = click.Context(concurrent_group, info_name="concurrent")
    found = [("concurrent-master", master_command), ("concurrent-slave", slave_command)]
    for name in OURS:
        command = concurrent_group.get_command(context, name)
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {each}", child) for each, child in command.commands.items()]
    for group in (tesserae_group, tags_group):
        found += [(group.name, group), *((f"{group.name} {each}", child) for each, child in group.commands.items())]
    return found


OURS = tuple(concurrent_group.own_names())


@pytest.mark.parametrize(("path", "command"), pages(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_help_page_ends_with_an_example_that_names_the_command(path, command):
    program = path if path.startswith("concurrent-") else f"concurrent {path}"

    page = CliRunner().invoke(command, ["--help"]).stdout

    examples = page.partition("Examples:\n")[2].splitlines()
    assert examples
    assert all(line.startswith("  ") for line in examples)
    assert any(line.strip().startswith(program) for line in examples)


@pytest.mark.parametrize(
    "path",
    [
        *("status", "systems", "slaves", "top", "logs", "explain", "doctor", "run", "submit"),
        *("plugins list", "plugins check", "config show", "keys list", "journal check", "journal show"),
        *("tesserae list", "tesserae calls", "tesserae workers", "tags list", "tags show"),
    ],
)
def test_a_command_that_reads_can_print_json(path):
    command = dict(pages())[path]

    assert "as_json" in {parameter.name for parameter in command.params}


def test_json_begins_with_its_version(capsys):
    print_json({"slaves": []})

    printed = capsys.readouterr().out
    assert list(json.loads(printed)) == ["version", "slaves"]
    assert json.loads(printed)["version"] == 1


def test_checked_components_are_listed_as_json_with_their_faults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))

    run = CliRunner().invoke(concurrent_group, ["plugins", "check", "two-choices", "--json"])

    record = json.loads(run.stdout)
    assert run.exit_code == 0
    assert [(each["name"], each["faults"]) for each in record["components"]] == [("two-choices", [])]


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(monkeypatch, stream, environment, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", stream)

    shown = painted("sick", "red")

    assert shown == ("\x1b[31msick\x1b[0m" if coloured else "sick")


def test_a_program_without_a_console_draws_nothing_over():
    assert not is_live(None)


def test_control_characters_of_others_are_shown_and_not_obeyed():
    assert visible("a\x1b[2Jb\n\x9b\t\x07é") == "a\\x1b[2Jb\\n\\x9b\t\\x07é"
    assert visible("Größe: 日本 🙂") == "Größe: 日本 🙂"


def test_output_keeps_its_colours_until_the_end_of_the_line():
    assert visible_output("\x1b[1;31mred") == "\x1b[1;31mred\x1b[0m"
    assert visible_output("\x1b]0;title\x07\x1b[3A") == "\\x1b]0;title\\x07\\x1b[3A"
    assert visible_output("plain") == "plain"


def test_what_json_does_not_have_as_a_number_is_null(capsys):
    print_json({"rating": float("inf"), "load": [0.5, float("nan")]})

    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "version": 1,
        "rating": None,
        "load": [0.5, None],
    }
