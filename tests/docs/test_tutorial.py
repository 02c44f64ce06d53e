"""What the tutorial types prints what it shows; its Python files are run in `test_blocks.py`."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.test_several_processes import master_with_slaves
from tests.support.documents import blocks, shown_output
from tests.support.programs import command, run_program

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/tutorial.rst"
URL = "tcp://127.0.0.1:8081"


def typed(*beginning: str) -> list[str]:
    """Return the commands of the tutorial that begin so."""
    lines = [line for block in blocks("console") if block.page == PAGE for line in block.text.splitlines()]
    found = [line[2:] for line in lines if line.startswith(f"$ {' '.join(beginning)}")]
    assert found, beginning
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the files of the tutorial."""
    for block in blocks("python"):
        if block.page == PAGE and block.caption:
            (tmp_path / block.caption).write_text(block.text, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_its_commands_print_what_it_shows(runtime_folder: Path, folder: Path):
    embedded, on_master, detached = typed("concurrent", "run")
    (fetch,) = [block for block in blocks("python") if block.page == PAGE and not block.caption]
    (folder / "fetch.py").write_text(fetch.text, encoding="utf-8")

    with master_with_slaves(runtime_folder, 1) as url:

        def run(line: str) -> str:
            program, *words = shlex.split(line.replace(URL, url))
            return run_program(command(program), *words, cwd=folder).stdout

        first = run(f"{embedded} --workers 1")
        second = run(on_master)
        system_id = run(detached).strip()
        status = run(*typed("concurrent", "status"))
        (explain,) = typed("concurrent", "explain")
        explained = run(explain.replace("SYSTEM_ID", system_id))
        fetched = run_program(sys.executable, "fetch.py", url, system_id, cwd=folder).stdout

    assert first == shown_output(PAGE, embedded)
    assert second == shown_output(PAGE, on_master)
    assert system_id in status
    assert system_id in explained
    assert fetched.startswith("(3.093987, ")


def test_every_file_that_it_runs_is_on_the_page():
    shown = {block.caption for block in blocks("python") if block.page == PAGE}

    run = {shlex.split(line)[1] for line in typed("python")}

    assert run <= shown
    assert all(shown_output(PAGE, f"python {name}") for name in run)
