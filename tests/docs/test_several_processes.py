"""The commands for several processes work as the README and the how-to guide have them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.documents import blocks
from tests.support.programs import EXAMPLES, command, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def master_with_slaves(folder: Path, slaves: int) -> Iterator[str]:
    """Run a master on a path, and slaves with one worker each; give the master's address."""
    url = f"ipc://{folder}/master"
    with (folder / "nodes.log").open("w") as log:
        nodes = [subprocess.Popen([command("concurrent-master"), "--listen", url], stdout=log, stderr=log)]
        nodes += [
            subprocess.Popen([command("concurrent-slave"), "--master", url, "--workers", "1"], stdout=log, stderr=log)
            for _ in range(slaves)
        ]
        try:
            yield url
        finally:
            for node in reversed(nodes):
                node.terminate()
                node.wait(timeout=30)
    (folder / "nodes.log").unlink()


@pytest.mark.slow
def test_a_master_with_two_slaves_runs_an_example(runtime_folder: Path, tmp_path: Path):
    with master_with_slaves(runtime_folder, 2) as url:
        run = run_program(
            command("concurrent"), "run", EXAMPLES / "nqueens.py", "-p", "n=10", "--master", url, cwd=tmp_path
        )

    assert run.stdout == "724\n"


@pytest.mark.slow
def test_a_detached_job_is_fetched_by_its_system_id(runtime_folder: Path, tmp_path: Path):
    fetch = tmp_path / "fetch.py"
    fetch.write_text(next(block.text for block in blocks("python") if "sys.argv" in block.text), encoding="utf-8")

    with master_with_slaves(runtime_folder, 1) as url:
        submitted = run_program(
            command("concurrent"), "run", EXAMPLES / "sum_of_squares.py", "--master", url, "--detach", cwd=tmp_path
        )
        fetched = run_program(sys.executable, fetch, url, submitted.stdout.strip(), cwd=tmp_path)

    assert fetched.stdout == "332833500\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("{url}",)], ids=["embedded", "master"])
def test_the_application_example_runs_embedded_and_against_a_master(runtime_folder: Path, arguments: tuple[str, ...]):
    with master_with_slaves(runtime_folder, 1) as url:
        run = run_program(
            sys.executable, EXAMPLES / "application_node.py", *(argument.format(url=url) for argument in arguments)
        )

    assert run.stdout.splitlines() == ["SystemApplication 24502500", "PushingApplication 24502500"]
