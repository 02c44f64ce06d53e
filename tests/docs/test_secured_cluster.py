"""The page on keys is true: its commands, typed in its order, make a cluster that only their holders use."""

from __future__ import annotations

import shlex
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.commands import running
from tests.support.documents import blocks
from tests.support.programs import ROOT, command, run_program

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/how-to/secure-a-cluster.rst"


def typed() -> list[list[str]]:
    """Return the commands of the page, split into words."""
    return [
        shlex.split(line.removeprefix("$ "))
        for block in blocks("console")
        if block.where.startswith(PAGE)
        for line in block.text.splitlines()
        if line.startswith("$ ")
    ]


def commands(*beginning: str) -> list[list[str]]:
    """Return those that begin so."""
    found = [words for words in typed() if words[: len(beginning)] == list(beginning)]
    assert found, beginning
    return found


@pytest.fixture
def head(tmp_path: Path, runtime_folder: Path) -> Path:
    """Give the working directory on the master's machine, with all keys of the page."""
    head = tmp_path / "head"
    head.mkdir()
    for words in commands("concurrent", "keys", "init") + commands("concurrent", "keys", "add"):
        run_program(command(words[0]), *words[1:], cwd=head)
    return head


@pytest.mark.slow
def test_the_commands_of_the_page_make_a_cluster_and_revoking_ends_it(head: Path, tmp_path: Path):
    node7, ada, operator = (tmp_path / name for name in ("node7", "ada", "operator"))
    for place in (node7, ada, operator):
        place.mkdir()
        shutil.move(head / "keys" / f"{place.name}.key", place)
    ((program, *options),) = commands("concurrent-master")
    options = [option.replace(":8081", ":0") for option in options]

    with running(tmp_path, command(program), *options, cwd=head) as master:
        port = master.wait_for(r"master listens on tcp://0\.0\.0\.0:(\d+)").group(1)

        def here(words: list[str]) -> list[str]:
            return [
                word.replace("head:8081", f"127.0.0.1:{port}").replace("examples/", f"{ROOT}/examples/")
                for word in words
            ]

        ((_, *slave),) = commands("concurrent-slave")
        with running(tmp_path, command("concurrent-slave"), *here(slave), "--workers", 1, cwd=node7) as worker:
            worker.wait_for("joined the master")
            ((_, *run),) = commands("concurrent", "run")
            result = run_program(command("concurrent"), *here(run), "-p", "n=6", cwd=ada)
            ((_, *status),) = commands("concurrent", "status")
            before = run_program(command("concurrent"), *here(status), cwd=operator)
            ((_, *listed),) = commands("concurrent", "keys", "list")
            keys = run_program(command("concurrent"), *listed, cwd=head)

            ((_, *revoke),) = commands("concurrent", "keys", "revoke")
            run_program(command("concurrent"), *revoke, cwd=head)
            code = worker.wait()
        after = run_program(command("concurrent"), *here(status), cwd=operator)
        assert master.end() == 0

    assert result.stdout == "4\n"
    assert [line.split()[0] for line in keys.stdout.splitlines()[1:]] == ["ada", "node7", "operator"]
    assert "no slaves" not in before.stdout
    assert "no slaves" in after.stdout
    assert code == 3
    assert "the key node7 (slave) of" in worker.stderr


@pytest.mark.slow
def test_a_file_that_notes_the_address_needs_no_other(head: Path, tmp_path: Path):
    with running(
        tmp_path, command("concurrent-master"), "--listen", "tcp://127.0.0.1:0", "--keys", head / "keys"
    ) as master:
        url = master.wait_for(r"master listens on (\S+)").group(1)
        for role, name in (("slave", "node8"), ("application", "bob")):
            run_program(command("concurrent"), "keys", "add", role, name, "keys", "--master", url, cwd=head)
        with running(tmp_path, command("concurrent-slave"), "--keys", head / "keys/node8.key", "--workers", 1) as slave:
            slave.wait_for(f"joined the master at {url}")
            status = run_program(command("concurrent"), "status", "--keys", head / "keys/bob.key")
            assert slave.end() == 0
        assert master.end() == 0

    assert f"master {url}" in status.stdout


def test_what_the_page_says_that_programs_say_is_what_they_say(head: Path, tmp_path: Path):
    page = (ROOT / PAGE).read_text()
    said = run_program(command("concurrent-master"), "--listen", "tcp://0.0.0.0:0", expect=2).stderr
    lax = head / "keys" / "node7.key"
    lax.chmod(0o644)
    refused = run_program(command("concurrent-slave"), "--keys", lax, "--workers", 1, expect=2).stderr

    assert "refused to listen on 0.0.0.0: without keys anybody who reaches that address could run code here" in said
    assert "refused to listen on 0.0.0.0: without keys anybody who reaches that address could run code here" in page
    assert f"others may open it (mode 644); close it: chmod 600 {lax}" in refused
    assert "others may open it (mode 644); close it: chmod 600 node7.key" in page
