"""What services of the master keep in its journal: as it was when they said so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from concurro.errors import NotPicklableError
from concurro.journal.folder import JournalFolder
from concurro.journal.store import JournalStore
from concurro.nodes.service_hall import MasterServiceHost


@pytest.fixture
def store(tmp_path):
    folder = JournalFolder(tmp_path / "journal")
    store = JournalStore(folder)
    yield store
    store.close()
    folder.close()


@pytest.fixture
def written():
    """Return the rows that wait for the thread of the journal."""
    return []


@pytest.fixture
def host(written):
    keeper = SimpleNamespace(keep_for_service=lambda rows, size, done: written.extend(rows))
    return MasterServiceHost("tally", SimpleNamespace(keeper=keeper), {})


def test_a_value_that_changes_before_it_is_written_is_written_as_it_was(host, written, store):
    value = {"names": ["ada"], 7: b"\x00", "none": None}
    host.keep("state", value)
    host.keep("gone", 1)
    value["names"].append("grace")
    value.update(dict.fromkeys(range(1000)))

    host.keep("gone", None)
    store.apply(written)

    assert store.kept_by("tally") == {"state": {"names": ["ada"], 7: b"\x00", "none": None}}


def test_nothing_is_written_when_one_value_of_several_is_not_plain(host, written):
    with pytest.raises(NotPicklableError):
        host.keep_all({"one": 1, "two": object()})

    assert written == []
