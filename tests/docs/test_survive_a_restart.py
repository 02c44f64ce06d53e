"""The page on restarts is true: its commands, in its order, lose nothing."""

from __future__ import annotations

import re
import shlex
import signal
from typing import TYPE_CHECKING

import pytest

from concurro import ApplicationNode
from tests.support.commands import running
from tests.support.documents import blocks
from tests.support.programs import ROOT, command, run_program

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/how-to/survive-a-restart.rst"
COMES_BACK = "systems in the journal: 1, of which 1 were running and come back"


def typed(*beginning: str) -> list[list[str]]:
    """Return the commands of the page that begin so, split into words."""
    lines = [
        shlex.split(line.removeprefix("$ "))
        for block in blocks("console")
        if block.where.startswith(PAGE)
        for line in block.text.splitlines()
        if line.startswith("$ ")
    ]
    found = [words for words in lines if words[: len(beginning)] == list(beginning)]
    assert found, beginning
    return found


@pytest.mark.slow
def test_the_commands_of_the_page_let_a_job_survive_its_master(runtime_folder: Path, tmp_path: Path):
    url = f"ipc://{runtime_folder}/master"
    (configuration,) = [block.text for block in blocks("toml") if block.where.startswith(PAGE)]
    (tmp_path / "concurrent.toml").write_text(configuration)
    places = {"tcp://127.0.0.1:8081": url, "n=12": "n=8", "examples/nqueens.py": f"{ROOT}/examples/nqueens.py"}

    def here(words: list[str]) -> list[str]:
        return [command(words[0]), *(places.get(word, word) for word in words[1:])]

    first, second = typed("concurrent-master")
    (slave,), (run,) = typed("concurrent-slave"), typed("concurrent", "run")
    assert typed("kill", "-9")
    with running(tmp_path, *here(first), cwd=tmp_path) as master:
        master.wait_for("master listens on")
        places["SYSTEM_ID"] = run_program(*here(run), cwd=tmp_path).stdout.strip()
        assert master.end(signal.SIGKILL) == -signal.SIGKILL  # before it has a slave: the job must not end too soon
    with (
        running(tmp_path, *here(second), cwd=tmp_path) as again,
        running(tmp_path, *here(slave), "--workers", 1, cwd=tmp_path) as worker,
    ):
        again.wait_for(re.escape(COMES_BACK))
        for words in typed("concurrent", "status") + typed("concurrent", "explain"):
            run_program(*here(words), cwd=tmp_path)
        with ApplicationNode(url) as application:
            result = application.attach(places["SYSTEM_ID"]).result(60)
        show, check, compact = typed("concurrent", "journal")
        used = run_program(*here(show), cwd=tmp_path, expect=3).stderr
        assert worker.end() == 0
        assert again.end() == 0
    shown, checked, compacted = (run_program(*here(words), cwd=tmp_path) for words in (show, check, compact))

    assert COMES_BACK in (ROOT / PAGE).read_text()
    assert result == 92
    assert f"is used by another master (process {again.process.pid}); stop it first" in used
    assert places["SYSTEM_ID"] in shown.stdout
    assert "journal is whole" in checked.stdout
    assert "MiB now" in compacted.stdout
