"""The rows of a journal in SQLite: written in batches, read whole.

Every row carries a seal, a short digest of its key and content: SQLite itself does not notice
a changed byte. Inputs of a system follow each other without a gap. What does not fit is
refused with its position, never skipped.

Source: SQLite, "Write-Ahead Logging", sqlite.org/wal.html: with `synchronous = FULL` a commit
is on disk when it returns.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
import uuid
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.errors import JournalDamagedError, JournalError
from concurro.journal.wal import check_log
from concurro.scheduling.answer import digests
from concurro.scheduling.rows import (
    AttemptCrashed,
    AttemptIntended,
    BlobKept,
    CancelAsked,
    GenerationBegun,
    HostRestarted,
    InputApplied,
    KeptSystem,
    Note,
    PublicationsTaken,
    ServiceKept,
    SlaveSeen,
    SnapshotTaken,
    SystemAccepted,
    SystemEnded,
    SystemForgotten,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from concurro.journal.folder import JournalFolder
    from concurro.scheduling.rows import Row

FORMAT = 1
"""Version of the tables; a journal of another one is refused."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE systems (system INTEGER PRIMARY KEY, content BLOB NOT NULL, seal BLOB NOT NULL);
CREATE TABLE inputs (
    system INTEGER NOT NULL, n INTEGER NOT NULL, content BLOB NOT NULL, seal BLOB NOT NULL, UNIQUE (system, n)
);
CREATE TABLE snapshots (system INTEGER PRIMARY KEY, content BLOB NOT NULL, seal BLOB NOT NULL);
CREATE TABLE ends (system INTEGER PRIMARY KEY, content BLOB NOT NULL, seal BLOB NOT NULL);
CREATE TABLE generations (system INTEGER PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE attempts (
    system INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, value INTEGER NOT NULL,
    PRIMARY KEY (system, number, kind)
) WITHOUT ROWID;
CREATE TABLE marks (
    system INTEGER NOT NULL, kind TEXT NOT NULL, value, PRIMARY KEY (system, kind)
) WITHOUT ROWID;
CREATE TABLE slaves (slave TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE blobs (system INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (system, digest)) WITHOUT ROWID;
"""
_SERVICES = """
CREATE TABLE IF NOT EXISTS services (
    service TEXT NOT NULL, key TEXT NOT NULL, content BLOB NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (service, key)
) WITHOUT ROWID;
"""
_SYSTEM_TABLES = ("systems", "inputs", "snapshots", "ends", "generations", "attempts", "marks", "blobs")
_FORGET = tuple(f"DELETE FROM {table} WHERE system = ?" for table in _SYSTEM_TABLES)  # noqa: S608 - our own names
_PUT = {
    table: f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * columns)})"  # noqa: S608 - our own names
    for table, columns in {"systems": 3, "inputs": 4, "snapshots": 3, "ends": 3}.items()
}
_INTENT, _CRASHES, _COUNTED = "intent", "crashes", "counted"
_CANCEL, _TAKEN, _RESTARTED = "cancel", "taken", "restarted"

_THREE = msgpack.packb([0, 0, 0])[:1]
"""How an array of three begins."""


class JournalStore:
    """A journal's database. One thread at a time.

    Args:
        folder: Where it lies; held by the caller for as long as this is open.
        read_only: Whether only `load` and `check` will be called.

    Raises:
        JournalError: It is of another format, or no journal.
        JournalDamagedError: Its log was changed.
    """

    def __init__(self, folder: JournalFolder, *, read_only: bool = False) -> None:
        self._folder = folder
        self._place = folder.database
        is_new = not self._place.exists()
        if is_new and read_only:
            message = f"there is no journal in {folder.path}"
            raise JournalError(message)
        check_log(self._place.with_name(self._place.name + "-wal"))
        try:
            self._database = sqlite3.connect(self._place, isolation_level=None, check_same_thread=False)
        except sqlite3.DatabaseError as error:
            raise self._fault(error) from error
        try:
            self._open(is_new=is_new)
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._fault(error) from error
        except BaseException:
            self.close()
            raise

    def _open(self, *, is_new: bool) -> None:
        self._place.chmod(0o600)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("PRAGMA cell_size_check = ON")
        if is_new:
            self._make()
        else:
            self._check_format()
        self._database.executescript(_SERVICES)

    def close(self) -> None:
        """Close; what was applied is in the database. Idempotent."""
        self._database.close()

    # Writing

    def apply(self, rows: Iterable[Row]) -> None:
        """Write rows in one transaction; on disk when it returns.

        Raises:
            sqlite3.Error: It was not written, none of it.
            OSError: A blob was not written.
        """
        rows = list(rows)
        for row in rows:
            if isinstance(row, BlobKept):
                self._folder.write_blob(row.digest, row.content)
        freed: list[bytes] = []
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        try:
            for row in rows:
                _WRITERS[type(row)](self, row)
                if isinstance(row, SystemForgotten):
                    freed += self._forget(row.system)
                elif isinstance(row, SystemEnded):
                    freed += self._shed(row.system, digests(row.result[2] if len(row.result) > 2 else None))  # noqa: PLR2004 - [outcome, value, blobs]
                elif isinstance(row, SnapshotTaken):
                    freed += self._shed(row.system, self._needed(row))
            freed = self._unowned(freed)  # a later row of these may want one
            execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                execute("ROLLBACK")
            raise
        for digest in freed:
            self._folder.drop_blob(digest)

    def begin_epoch(self, at_least: int = 1) -> int:
        """Return the epoch of the master that starts now; each is a new one."""
        execute = self._database.execute
        with self._database:
            execute("BEGIN IMMEDIATE")
            (last,) = execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
            epoch = max(int(last) + 1, at_least)
            execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))
        return epoch

    def compact(self) -> tuple[int, int]:
        """Give back the space of what was forgotten.

        Return the bytes before and after [B].
        """
        before = self._size()
        owned = {digest for (digest,) in self._database.execute("SELECT DISTINCT digest FROM blobs")}
        for digest in list(self._folder.blobs()):
            if digest not in owned:
                self._folder.drop_blob(digest)
        self._database.execute("VACUUM")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return before, self._size()

    # Reading

    def load(self) -> dict[int, KeptSystem]:
        """Return every system, by its number.

        Raises:
            JournalDamagedError: A row is not what was written; says which.
        """
        try:
            return self._load()
        except sqlite3.DatabaseError as error:
            raise self._fault(error) from error

    def next_number(self) -> int:
        """Return a system number that no system of this journal ever had."""
        (number,) = self._database.execute("SELECT value FROM meta WHERE key = 'last system'").fetchone()
        return int(number) + 1

    def name(self) -> bytes:
        """Return what tells this journal from every other one."""
        (name,) = self._database.execute("SELECT value FROM meta WHERE key = 'name'").fetchone()
        return bytes(name)

    def slaves(self) -> set[str]:
        """Return the slaves that masters before had and that have not come back."""
        return {slave for (slave,) in self._database.execute("SELECT slave FROM slaves")}

    def inputs(self, system: int) -> list[InputApplied]:
        """Return the inputs of one system.

        Raises:
            JournalDamagedError: A row is not what was written; says which.
        """
        rows = self._database.execute("SELECT n, content, seal FROM inputs WHERE system = ? ORDER BY n", (system,))
        found = []
        for n, packed, seal in rows:
            body, note = self._unsealed("inputs", (system, n), packed, seal)
            found.append(InputApplied(system, n, body, Note(*note)))
        return found

    def snapshot(self, system: int) -> SnapshotTaken | None:
        """Return the last snapshot of one system; None when there is none.

        Raises:
            JournalDamagedError: The row is not what was written.
        """
        find = "SELECT content, seal FROM snapshots WHERE system = ?"
        row = self._database.execute(find, (system,)).fetchone()
        return None if row is None else SnapshotTaken(system, *self._unsealed("snapshots", (system,), *row))

    def kept_by(self, service: str) -> dict[str, Any]:
        """Return what a service of the master wrote, by key.

        Raises:
            JournalDamagedError: A row is not what was written; says which.
        """
        find = "SELECT content, seal FROM services WHERE service = ?"
        rows = self._database.execute(find, (service,)).fetchall()
        return {key: value for _, key, value in (self._unsealed("services", (service,), *row) for row in rows)}

    def check(self, progress: Callable[[str], None] = lambda sentence: None) -> None:  # noqa: ARG005
        """Look at every page, row and blob.

        Raises:
            JournalDamagedError: Something is not as it was written.
        """
        try:
            faults = [fault for (fault,) in self._database.execute("PRAGMA integrity_check(10)")]
        except sqlite3.DatabaseError as error:
            raise self._fault(error) from error
        if faults != ["ok"]:
            message = f"{self._place}: {'; '.join(faults)}"
            raise JournalDamagedError(message, str(self._place))
        systems = self.load()
        progress(f"{len(systems)} systems, {sum(len(kept.inputs) for kept in systems.values())} inputs")
        digests = {digest for kept in systems.values() for digest in kept.blobs}
        for digest in digests:
            self._folder.read_blob(digest)
        progress(f"{len(digests)} blobs")
        services = [name for (name,) in self._database.execute("SELECT DISTINCT service FROM services")]
        for name in services:
            progress(f"service {name}: {len(self.kept_by(name))} values")

    # How

    def _make(self) -> None:
        execute = self._database.execute
        self._database.executescript(_SCHEMA)
        facts = {"format": FORMAT, "created": time.time(), "epoch": 0, "last system": 0, "name": uuid.uuid4().bytes}
        self._database.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
        execute(f"PRAGMA user_version = {FORMAT}")

    def _check_format(self) -> None:
        (found,) = self._database.execute("PRAGMA user_version").fetchone()
        if found != FORMAT:
            age = "a newer" if found > FORMAT else "an older"
            message = (
                f"the journal {self._place} has format {found}, written by {age} version; this one reads format "
                f"{FORMAT}. Use that version, or start with an empty folder"
            )
            raise JournalError(message)

    def _size(self) -> int:
        places = [
            self._place,
            self._place.with_name(self._place.name + "-wal"),
            *(self._folder.path / "blobs").iterdir(),
        ]
        return sum(place.stat().st_size for place in places if place.exists())

    def _put(self, table: str, keys: tuple[int, ...], content: list[Any]) -> None:
        packed = msgpack.packb(content)
        self._database.execute(_PUT[table], (*keys, packed, _seal(table, keys, packed)))

    def _write_accepted(self, row: SystemAccepted) -> None:
        content = [row.system_id, row.name, row.payload, row.blobs, row.options, row.client, row.seed, row.submitted_at]
        self._put("systems", (row.system,), content)
        self._database.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'last system'", (row.system,))

    def _write_input(self, row: InputApplied) -> None:
        self._put("inputs", (row.system, row.n), [row.body, list(row.note)])

    def _write_snapshot(self, row: SnapshotTaken) -> None:
        content = [row.n, row.generation, row.state, row.open_tasks, row.classes, row.parts, row.published]
        self._put("snapshots", (row.system,), [*content, row.counts, row.cancelled, row.progress])
        execute = self._database.execute
        execute("DELETE FROM inputs WHERE system = ? AND n <= ?", (row.system, row.n))
        # Of tasks that its host knows the end of nobody will ask how often they crashed.
        numbers = {number for number, *_ in row.open_tasks}
        find = "SELECT DISTINCT number FROM attempts WHERE system = ? AND number < ?"
        for (number,) in execute(find, (row.system, row.emitted)).fetchall():
            if number not in numbers:
                execute("DELETE FROM attempts WHERE system = ? AND number = ?", (row.system, number))

    def _write_generation(self, row: GenerationBegun) -> None:
        self._database.execute("INSERT OR REPLACE INTO generations VALUES (?, ?)", (row.system, row.generation))
        self._database.execute("DELETE FROM inputs WHERE system = ? AND n > ?", (row.system, row.after))
        snapshot = self.snapshot(row.system)
        if snapshot is not None and snapshot.n > row.after:
            self._database.execute("DELETE FROM snapshots WHERE system = ?", (row.system,))
            snapshot = None
        # The numbers of later tasks and partial results mean others now.
        emitted, published = (0, 0) if snapshot is None else (snapshot.emitted, snapshot.published)
        self._database.execute("DELETE FROM attempts WHERE system = ? AND number >= ?", (row.system, emitted))
        lower = "UPDATE marks SET value = min(value, ?) WHERE system = ? AND kind = ?"
        self._database.execute(lower, (published, row.system, _TAKEN))

    def _write_intent(self, row: AttemptIntended) -> None:
        self._write_attempt(row.system, row.number, _INTENT, row.attempt)

    def _write_crash(self, row: AttemptCrashed) -> None:
        self._write_attempt(row.system, row.number, _CRASHES, row.crashes)
        if row.lease:
            self._write_attempt(row.system, row.number, _COUNTED, row.lease)

    def _write_attempt(self, system: int, number: int, kind: str, value: int) -> None:
        self._database.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?)", (system, number, kind, value))

    def _write_cancel(self, row: CancelAsked) -> None:
        self._write_mark(row.system, _CANCEL, row.reason)

    def _write_taken(self, row: PublicationsTaken) -> None:
        self._write_mark(row.system, _TAKEN, row.count)

    def _write_restarted(self, row: HostRestarted) -> None:
        self._write_mark(row.system, _RESTARTED, row.count)

    def _write_mark(self, system: int, kind: str, value: Any) -> None:
        self._database.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?)", (system, kind, value))

    def _write_slave(self, row: SlaveSeen) -> None:
        verb = "INSERT OR IGNORE INTO slaves VALUES (?)" if row.here else "DELETE FROM slaves WHERE slave = ?"
        self._database.execute(verb, (row.slave_id,))

    def _write_service(self, row: ServiceKept) -> None:
        if row.entry is None:
            self._database.execute("DELETE FROM services WHERE service = ? AND key = ?", (row.service, row.key))
            return
        packed = msgpack.packb([row.service])
        packed = _THREE + packed[1:] + row.entry[1:]
        seal = _seal("services", (row.service,), packed)
        values = (row.service, row.key, packed, seal)
        self._database.execute("INSERT OR REPLACE INTO services VALUES (?, ?, ?, ?)", values)

    def _write_end(self, row: SystemEnded) -> None:
        self._put("ends", (row.system,), [row.state, row.result, row.ended_at, list(row.tasks)])
        self._database.execute("DELETE FROM inputs WHERE system = ?", (row.system,))
        self._database.execute("DELETE FROM snapshots WHERE system = ?", (row.system,))
        self._database.execute("DELETE FROM attempts WHERE system = ?", (row.system,))
        self._database.execute("DELETE FROM marks WHERE system = ?", (row.system,))

    def _write_blob(self, row: BlobKept) -> None:
        self._database.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (row.system, row.digest))

    def _write_nothing(self, row: SystemForgotten) -> None:
        """Write nothing: `_forget` removes."""

    def _needed(self, row: SnapshotTaken) -> list[bytes]:
        """Return the blobs that a system needs after a snapshot."""
        find = "SELECT content, seal FROM systems WHERE system = ?"
        packed, seal = self._database.execute(find, (row.system,)).fetchone()
        accepted = SystemAccepted(row.system, *self._unsealed("systems", (row.system,), packed, seal))
        needed = digests(accepted.blobs) + digests(row.blobs)
        for later in self.inputs(row.system):
            needed += [digest for entry in later.body[3] if entry[1] == 0 for digest in digests(entry[3])]
        return needed

    def _shed(self, system: int, needed: Iterable[bytes]) -> set[bytes]:
        """Keep of a system's blobs only those that it needs.

        Return the digests of the others.
        """
        execute = self._database.execute
        mine = {digest for (digest,) in execute("SELECT digest FROM blobs WHERE system = ?", (system,))}
        shed = mine.difference(needed)
        for digest in shed:
            execute("DELETE FROM blobs WHERE system = ? AND digest = ?", (system, digest))
        return shed

    def _unowned(self, shed: Iterable[bytes]) -> list[bytes]:
        find = "SELECT 1 FROM blobs WHERE digest = ? LIMIT 1"
        return [digest for digest in shed if not self._database.execute(find, (digest,)).fetchone()]

    def _forget(self, system: int) -> list[bytes]:
        """Remove a system; return the digests of its blobs."""
        execute = self._database.execute
        mine = [digest for (digest,) in execute("SELECT digest FROM blobs WHERE system = ?", (system,))]
        for statement in _FORGET:
            execute(statement, (system,))
        return mine

    def _load(self) -> dict[int, KeptSystem]:
        rows = self._database.execute
        systems: dict[int, KeptSystem] = {}
        for system, packed, seal in rows("SELECT system, content, seal FROM systems ORDER BY system"):
            systems[system] = KeptSystem(SystemAccepted(system, *self._unsealed("systems", (system,), packed, seal)))
        for system, packed, seal in rows("SELECT system, content, seal FROM snapshots"):
            content = self._unsealed("snapshots", (system,), packed, seal)
            self._of(systems, "snapshots", system).snapshot = SnapshotTaken(system, *content)
        for system, packed, seal in rows("SELECT system, content, seal FROM ends"):
            self._of(systems, "ends", system).ended = SystemEnded(
                system, *self._unsealed("ends", (system,), packed, seal)
            )
        for system, generation in rows("SELECT system, generation FROM generations"):
            self._of(systems, "generations", system).generation = generation
        for system, n, packed, seal in rows("SELECT system, n, content, seal FROM inputs ORDER BY system, n"):
            body, note = self._unsealed("inputs", (system, n), packed, seal)
            kept = self._of(systems, "inputs", system)
            self._check_sequence(kept, n)
            kept.inputs.append(InputApplied(system, n, body, Note(*note)))
        for system, number, kind, value in rows("SELECT system, number, kind, value FROM attempts"):
            kept = self._of(systems, "attempts", system)
            {_INTENT: kept.intents, _CRASHES: kept.crashes, _COUNTED: kept.counted}[kind][number] = value
        for system, kind, value in rows("SELECT system, kind, value FROM marks"):
            _mark(self._of(systems, "marks", system), kind, value)
        for system, digest in rows("SELECT system, digest FROM blobs"):
            self._of(systems, "blobs", system).blobs.add(digest)
        return systems

    def _of(self, systems: dict[int, KeptSystem], table: str, system: int) -> KeptSystem:
        kept = systems.get(system)
        if kept is None:
            message = f"{self._place}: table {table} has rows of system {system}, whose submission is missing"
            raise JournalDamagedError(message, f"{self._place}:{table}:{system}")
        return kept

    def _check_sequence(self, kept: KeptSystem, n: int) -> None:
        before = kept.inputs[-1].n if kept.inputs else kept.snapshot.n if kept.snapshot is not None else -1
        if n != before + 1:
            who = f"system {kept.accepted.system_id}"
            message = f"{self._place}: {who} has input {n} after {before}; those between are missing"
            raise JournalDamagedError(message, f"{self._place}:inputs:{kept.accepted.system}:{n}")

    def _unsealed(self, table: str, keys: tuple[int | str, ...], packed: bytes, seal: bytes) -> list[Any]:
        if seal == _seal(table, keys, packed):
            content: list[Any] = msgpack.unpackb(packed, strict_map_key=False)
            return content
        key = ":".join(map(str, keys))
        message = f"{self._place}: row {key} of table {table} was changed after it was written"
        raise JournalDamagedError(message, f"{self._place}:{table}:{key}")

    def _fault(self, error: sqlite3.DatabaseError) -> JournalError:
        code = getattr(error, "sqlite_errorcode", 0)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return JournalDamagedError(f"{self._place}: {error}", str(self._place))
        return JournalError(f"the journal {self._place} cannot be used: {error}")


_WRITERS: dict[type, Callable[[JournalStore, Any], None]] = {
    SystemAccepted: JournalStore._write_accepted,  # noqa: SLF001 - of this module, as all below
    InputApplied: JournalStore._write_input,  # noqa: SLF001
    SnapshotTaken: JournalStore._write_snapshot,  # noqa: SLF001
    GenerationBegun: JournalStore._write_generation,  # noqa: SLF001
    AttemptIntended: JournalStore._write_intent,  # noqa: SLF001
    AttemptCrashed: JournalStore._write_crash,  # noqa: SLF001
    CancelAsked: JournalStore._write_cancel,  # noqa: SLF001
    PublicationsTaken: JournalStore._write_taken,  # noqa: SLF001
    HostRestarted: JournalStore._write_restarted,  # noqa: SLF001
    ServiceKept: JournalStore._write_service,  # noqa: SLF001
    SlaveSeen: JournalStore._write_slave,  # noqa: SLF001
    SystemEnded: JournalStore._write_end,  # noqa: SLF001
    SystemForgotten: JournalStore._write_nothing,  # noqa: SLF001
    BlobKept: JournalStore._write_blob,  # noqa: SLF001
}


def _mark(kept: KeptSystem, kind: str, value: Any) -> None:
    if kind == _CANCEL:
        kept.cancel = str(value)
    elif kind == _RESTARTED:
        kept.restarted = int(value)
    else:
        kept.taken = int(value)


def _seal(table: str, keys: tuple[int | str, ...], packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=8, key=f"{table}:{':'.join(map(str, keys))}".encode()[:64]).digest()
