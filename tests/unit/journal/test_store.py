"""The rows of a journal: what was written is there again, or refused."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
from hashlib import blake2b

import pytest

from concurro.errors import JournalDamagedError, JournalError, JournalInUseError
from concurro.journal.folder import JournalFolder
from concurro.journal.store import JournalStore
from concurro.scheduling.rows import (
    AttemptCrashed,
    AttemptIntended,
    BlobKept,
    CancelAsked,
    GenerationBegun,
    InputApplied,
    Note,
    PublicationsTaken,
    SlaveSeen,
    SnapshotTaken,
    SystemAccepted,
    SystemEnded,
    SystemForgotten,
)
from concurro.wire.blobs import new_name

CONTENT = b"a large part" * 100
DIGEST = blake2b(CONTENT, digest_size=32).digest()


def accepted(system=1):
    return SystemAccepted(system, f"id-{system}", "Sum", b"pickle", None, {"ttl": 60.0}, "client", 7, 1000.0)


def applied(n, system=1, blobs=None):
    body = [system, n, 5.0, [[n, 0, b"value", blobs, "slave", 1, 10]], 3, 9, None, None]
    return InputApplied(system, n, body, Note(n, 2, b"d"))


@pytest.fixture
def folder(tmp_path):
    folder = JournalFolder(tmp_path / "journal")
    yield folder
    folder.close()


def written(folder, *batches):
    store = JournalStore(folder)
    for batch in batches:
        store.apply(batch)
    store.close()


def loaded(folder):
    store = JournalStore(folder)
    try:
        return store.load()
    finally:
        store.close()


def test_gives_back_every_row_of_a_system(folder):
    rows = [accepted(), applied(0), applied(1), AttemptIntended(1, 4, 1), AttemptCrashed(1, 5, 2)]

    written(folder, rows)

    kept = loaded(folder)[1]
    assert kept.accepted == accepted()
    assert kept.inputs == [applied(0), applied(1)]
    assert (kept.intents, kept.crashes, kept.ended) == ({4: 1}, {5: 2}, None)


def test_a_snapshot_replaces_the_inputs_that_it_has_seen(folder):
    square = [0, "Square", 0, None, None, {}, b"code", []]
    snapshot = SnapshotTaken(1, 1, 1, b"state", [[3, 0, b"task", None]], [square])

    written(folder, [accepted(), applied(0), applied(1), applied(2)], [snapshot])

    kept = loaded(folder)[1]
    assert kept.snapshot == snapshot
    assert [row.n for row in kept.inputs] == [2]


def test_a_new_generation_drops_the_inputs_that_are_run_again(folder):
    written(folder, [accepted(), applied(0), applied(1)], [GenerationBegun(1, 2, 0)])

    kept = loaded(folder)[1]
    assert kept.generation == 2
    assert [row.n for row in kept.inputs] == [0]


def test_an_ended_system_keeps_its_result_and_nothing_else(folder):
    end = SystemEnded(1, "complete", [0, b"result", None], 2000.0, [5, 1, 2])

    written(folder, [accepted(), applied(0), AttemptIntended(1, 4, 1)], [end])

    kept = loaded(folder)[1]
    assert kept.ended == end
    assert (kept.inputs, kept.intents) == ([], {})


def test_a_forgotten_system_leaves_nothing_but_its_number(folder):
    written(folder, [accepted(), applied(0), BlobKept(1, DIGEST, CONTENT)], [SystemForgotten(1)])

    store = JournalStore(folder)
    assert store.load() == {}
    assert store.next_number() == 2
    assert list(folder.blobs()) == []
    store.close()


def test_a_blob_stays_while_one_of_two_systems_needs_it(folder):
    written(folder, [accepted(1), accepted(2), BlobKept(1, DIGEST, CONTENT), BlobKept(2, DIGEST, CONTENT)])
    written(folder, [SystemForgotten(1)])

    assert loaded(folder)[2].blobs == {DIGEST}
    assert folder.read_blob(DIGEST) == CONTENT


def test_a_batch_is_written_whole_or_not_at_all(folder):
    store = JournalStore(folder)

    with pytest.raises(sqlite3.IntegrityError):
        store.apply([accepted(), AttemptIntended(1, 1, None)])

    assert store.load() == {}
    store.close()


def test_every_epoch_is_higher_than_the_one_before(folder):
    store = JournalStore(folder)
    first = store.begin_epoch()
    store.close()

    store = JournalStore(folder)
    second = store.begin_epoch()
    store.close()

    assert second == first + 1


def test_f71_a_torn_tail_of_the_log_is_what_was_never_committed(folder, tmp_path):
    store = JournalStore(folder)
    store.apply([accepted()])
    whole = (folder.path / "journal.db-wal").read_bytes()
    store.apply([applied(0)])
    torn = tmp_path / "torn"
    shutil.copytree(folder.path, torn)
    store.close()
    log = torn / "journal.db-wal"
    log.write_bytes(log.read_bytes()[: len(whole) + 40])

    other = JournalFolder(torn)
    kept = loaded(other)
    other.close()

    assert kept[1].accepted == accepted()
    assert kept[1].inputs == []


@pytest.mark.parametrize("place", ["first", "middle"])
def test_f72_a_flipped_bit_in_the_log_is_refused_with_its_position(folder, tmp_path, place):
    store = JournalStore(folder)
    for n in range(20):
        store.apply([accepted(n + 1)])
    changed = tmp_path / "changed"
    shutil.copytree(folder.path, changed)
    store.close()
    log = changed / "journal.db-wal"
    content = bytearray(log.read_bytes())
    content[200 if place == "first" else len(content) // 2] ^= 4
    log.write_bytes(content)

    other = JournalFolder(changed)
    with pytest.raises(JournalDamagedError, match=r"journal\.db-wal: the bytes from \d+ on were changed"):
        JournalStore(other)
    other.close()


def test_f72_a_flipped_bit_in_a_row_is_refused_with_its_position(folder):
    written(folder, [accepted()], [InputApplied(1, 0, [b"needle in the row"], Note(0, 0, b""))])
    content = bytearray(folder.database.read_bytes())
    content[content.index(b"needle")] ^= 1
    folder.database.write_bytes(content)

    with pytest.raises(JournalDamagedError, match="row 1:0 of table inputs was changed") as caught:
        loaded(folder)

    assert caught.value.position.endswith("journal.db:inputs:1:0")


def test_f72_a_missing_input_is_refused(folder):
    written(folder, [accepted(), applied(0), applied(1), applied(2)])
    database = sqlite3.connect(folder.database)
    database.execute("DELETE FROM inputs WHERE n = 1")
    database.commit()
    database.close()

    with pytest.raises(JournalDamagedError, match="has input 2 after 0"):
        loaded(folder)


def test_f72_a_changed_blob_is_refused(folder):
    written(folder, [accepted(), BlobKept(1, DIGEST, CONTENT)])
    place = next((folder.path / "blobs").iterdir())
    place.write_bytes(b"other bytes")
    store = JournalStore(folder)

    with pytest.raises(JournalDamagedError, match="its bytes are not those that its name says"):
        store.check()

    store.close()


def test_f72_a_file_that_is_no_database_is_refused(folder):
    folder.database.write_bytes(b"something else" * 1000)

    with pytest.raises(JournalDamagedError, match=r"journal\.db"):
        JournalStore(folder)


@pytest.mark.parametrize(("format_found", "age"), [(99, "a newer"), (0, "an older")])
def test_f76_another_format_is_refused_naming_both(folder, format_found, age):
    written(folder, [accepted()])
    database = sqlite3.connect(folder.database)
    database.execute(f"PRAGMA user_version = {format_found}")
    database.close()

    with pytest.raises(
        JournalError, match=f"has format {format_found}, written by {age} version; this one reads format 1"
    ):
        JournalStore(folder)


def test_f77_a_folder_that_is_open_to_others_is_refused_with_the_remedy(tmp_path):
    place = tmp_path / "journal"
    place.mkdir(mode=0o755)

    with pytest.raises(JournalError, match=f"mode 755.*chmod 700 {place}"):
        JournalFolder(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_f77_a_folder_of_another_user_is_refused(tmp_path):
    place = tmp_path / "journal"
    place.mkdir(mode=0o700)
    os.chown(place, 65534, 65534)

    with pytest.raises(JournalError, match="belongs to user 65534"):
        JournalFolder(place)


def test_f62_a_second_master_is_refused_naming_the_first(folder):
    program = (
        "import sys; from concurro.journal.folder import JournalFolder; from concurro.errors import JournalInUseError\n"
        "try:\n    JournalFolder(sys.argv[1])\n"
        "except JournalInUseError as error:\n    print(error.pid)\n"
    )

    answer = subprocess.run([sys.executable, "-c", program, folder.path], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == str(os.getpid())


def test_a_folder_is_free_again_once_its_master_closed_it(folder):
    folder.close()

    other = JournalFolder(folder.path)

    assert other.path == folder.path
    other.close()


def test_an_unfinished_blob_is_removed_by_the_next_look(folder):
    (folder.path / "blobs" / "00.part").write_bytes(b"half")

    assert list(folder.blobs()) == []
    assert list((folder.path / "blobs").iterdir()) == []


def test_compacting_gives_back_space_and_loses_no_row(folder):
    written(folder, [accepted(1), accepted(2), *(applied(n, 2) for n in range(3000))], [SystemForgotten(2)])
    store = JournalStore(folder)

    before, after = store.compact()

    assert after < before / 4
    assert store.load()[1].accepted == accepted(1)
    store.close()


def test_only_one_of_two_in_a_process_holds_a_folder(folder):
    with pytest.raises(JournalInUseError):
        JournalFolder(folder.path)


def test_what_was_counted_by_task_numbers_ends_with_its_generation(folder):
    first = [accepted(), applied(0), AttemptIntended(1, 7, 1), AttemptCrashed(1, 8, 2), PublicationsTaken(1, 5)]

    written(folder, first, [GenerationBegun(1, 2, -1), CancelAsked(1, "enough")], [applied(0), applied(1)])

    kept = loaded(folder)[1]
    assert (kept.intents, kept.crashes, kept.taken, kept.cancel) == ({}, {}, 0, "enough")
    assert [row.n for row in kept.inputs] == [0, 1]


def test_large_parts_of_inputs_go_with_the_end_and_those_of_the_result_stay(folder):
    parts = [b"of an input" * 9, b"of the result" * 9]
    names = [blake2b(part, digest_size=32).digest() for part in parts]
    rows = [accepted(), *(BlobKept(1, name, memoryview(part)) for name, part in zip(names, parts, strict=True))]

    written(folder, rows, [SystemEnded(1, "complete", [0, b"", [[0, names[1], len(parts[1])]]], 1e9)])

    assert loaded(folder)[1].blobs == {names[1]}
    assert list(folder.blobs()) == [names[1]]


def test_the_slaves_that_were_there_are_told_until_they_are_gone(folder):
    store = JournalStore(folder)
    store.apply([SlaveSeen("north-1", here=True), SlaveSeen("south-2", here=True), SlaveSeen("north-1", here=False)])

    first = store.slaves()
    store.apply([SlaveSeen("south-2", here=False)])
    second = store.slaves()

    store.close()
    assert (first, second) == ({"south-2"}, set())


def test_a_snapshot_lets_go_of_the_blobs_that_only_older_inputs_needed(folder):
    contents = [b"submission" * 50, b"older" * 50, b"open" * 50, b"state" * 50, b"later" * 50]
    submitted, older, of_task, of_state, later = digests = [blake2b(one, digest_size=32).digest() for one in contents]
    first = dataclasses.replace(accepted(), blobs=[[2, submitted, 500]])
    snapshot = SnapshotTaken(1, 1, 1, b"", [[3, 0, b"task", [[0, of_task, 200]]]], [], [[2, of_state, 250]])
    kept = [BlobKept(1, digest, content) for digest, content in zip(digests, contents, strict=True)]

    inputs = [applied(0), applied(1, blobs=[[0, older, 250]]), applied(2, blobs=[[0, later, 250]])]
    written(folder, [*kept, first, *inputs], [snapshot])

    assert loaded(folder)[1].blobs == {submitted, of_task, of_state, later}
    assert set(folder.blobs()) == {submitted, of_task, of_state, later}


def test_a_blob_that_is_let_go_and_kept_again_in_one_batch_stays(folder):
    written(folder, [accepted(1), accepted(2), BlobKept(1, DIGEST, CONTENT)])

    written(folder, [SystemForgotten(1), BlobKept(2, DIGEST, CONTENT)])

    assert folder.read_blob(DIGEST) == CONTENT


def test_a_snapshot_forgets_the_attempts_of_tasks_that_are_final(folder):
    snapshot = SnapshotTaken(1, 1, 1, b"state", [[3, 0, b"task", None]], [], counts=[4, 0, 0])
    attempts = [AttemptCrashed(1, 2, 1), AttemptCrashed(1, 3, 2, 77)]
    intents = [AttemptIntended(1, 4, 1), AttemptIntended(1, 5, 1)]

    written(folder, [accepted(), applied(0), applied(1), *attempts, *intents], [snapshot])

    kept = loaded(folder)[1]
    assert (kept.crashes, kept.counted, kept.intents) == ({3: 2}, {3: 77}, {5: 1})


def test_a_system_that_is_run_again_from_its_snapshot_keeps_what_was_known_then(folder):
    snapshot = SnapshotTaken(1, 1, 1, b"state", [[3, 0, b"task", None]], [], published=2, counts=[4, 0, 0])
    rows = [accepted(), *map(applied, range(4)), AttemptIntended(1, 3, 1), PublicationsTaken(1, 7)]
    later = [AttemptCrashed(1, 5, 1), applied(4)]

    written(folder, rows, [snapshot], later, [GenerationBegun(1, 2, 1)])

    kept = loaded(folder)[1]
    assert (kept.snapshot, kept.inputs, kept.generation) == (snapshot, [], 2)
    assert (kept.intents, kept.crashes, kept.taken) == ({3: 1}, {}, 2)


def test_a_system_that_is_run_again_from_its_start_has_no_snapshot_any_more(folder):
    written(folder, [accepted(), applied(0), SnapshotTaken(1, 0, 1, b"state", [], [])], [GenerationBegun(1, 2, -1)])

    assert loaded(folder)[1].snapshot is None


def test_a_blob_without_a_digest_for_a_name_is_checked_as_well(folder):
    name = new_name()
    folder.write_blob(name, CONTENT)
    assert folder.read_blob(name) == CONTENT
    place = folder.path / "blobs" / name.hex()

    place.write_bytes(b"X" + place.read_bytes()[1:])

    with pytest.raises(JournalDamagedError):
        folder.read_blob(name)
