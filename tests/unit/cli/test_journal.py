"""`concurrent journal`: what people see of a journal."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from concurro.cli.commands import concurrent_group
from concurro.journal.folder import JournalFolder
from concurro.journal.store import JournalStore
from concurro.scheduling.rows import InputApplied, Note, SystemAccepted, SystemForgotten


def accepted(system):
    return SystemAccepted(system, f"id-{system}", "Sum", b"pickle", None, {}, "client", 7, 1000.0)


def applied(system, n):
    return InputApplied(
        system, n, [system, n, 5.0, [[n, 0, b"needle", None, "s", 1, 10]], 3, 9, None, None], Note(n, 2, b"d")
    )


@pytest.fixture
def place(tmp_path):
    folder = JournalFolder(tmp_path / "journal")
    store = JournalStore(folder)
    store.apply([accepted(1), accepted(2), *(applied(2, n) for n in range(300))])
    store.close()
    folder.close()
    return folder.path


def run(*arguments):
    return CliRunner().invoke(concurrent_group, ["journal", *map(str, arguments)])


def test_says_that_a_journal_is_whole(place):
    answer = run("check", place)

    assert (answer.exit_code, answer.output.splitlines()[-1]) == (0, f"{place} is whole")


def test_says_where_a_journal_is_damaged(place):
    database = place / "journal.db"
    content = bytearray(database.read_bytes())
    content[content.index(b"needle")] ^= 1
    database.write_bytes(content)

    answer = run("check", place)

    assert answer.exit_code == 1
    assert "damaged: " in answer.output
    assert "of table inputs was changed after it was written" in answer.output


def test_shows_the_systems_that_are_kept(place):
    answer = run("show", "--json", place)

    systems = json.loads(answer.output)["systems"]
    assert [(one["system_id"], one["state"], one["inputs"]) for one in systems] == [
        ("id-1", "running", 0),
        ("id-2", "running", 300),
    ]
    assert "id-2  Sum  running" in run("show", place).output


def test_compacts_what_was_forgotten(place):
    folder = JournalFolder(place)
    store = JournalStore(folder)
    store.apply([SystemForgotten(2)])
    store.close()
    folder.close()

    answer = run("compact", place)

    assert answer.exit_code == 0
    assert "MiB before" in answer.output


def test_refuses_a_journal_that_a_master_uses(place):
    folder = JournalFolder(place)

    answer = run("check", place)

    folder.close()
    assert answer.exit_code == 3
    assert "is used by another master" in answer.output


def test_refuses_a_folder_that_is_not_there(tmp_path):
    answer = run("show", tmp_path / "nothing")

    assert answer.exit_code == 2
    assert "there is no journal folder" in answer.output


def test_asks_which_journal_when_none_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    answer = run("show")

    assert answer.exit_code == 2
    assert "which journal?" in answer.output
