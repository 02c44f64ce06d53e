"""Shells complete commands and options."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from concurro.cli.commands import concurrent_group
from concurro.cli.completion import PROGRAMS, SHELLS


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return lambda *arguments, **environment: CliRunner().invoke(
        concurrent_group, arguments, prog_name="concurrent", env=environment
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_completes_every_program(invoke, shell):
    run = invoke("completion", shell)

    assert run.exit_code == 0
    for program in PROGRAMS:
        assert f"_{program.upper().replace('-', '_')}_COMPLETE={shell}_complete" in run.stdout


def test_another_shell_is_refused_with_those_there_are(invoke):
    run = invoke("completion", "tcsh")

    assert run.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in run.stderr


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("concurrent sta", "plain,status"),
        ("concurrent keys re", "plain,revoke"),
        ("concurrent systems --st", "plain,--state"),
        ("concurrent systems --state run", "plain,running"),
    ],
)
def test_what_was_typed_is_completed(invoke, typed, completed):
    words = typed.split()

    run = invoke(_CONCURRENT_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1))

    assert run.stdout.splitlines() == [completed]
