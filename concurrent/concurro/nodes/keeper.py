"""A master's journal in its loop: what is kept, and what comes back.

table --Record--> Keeper --rows, blobs--> JournalWriter (a thread) --posted--> table.recorded
leases that must not be given twice ----> a row first, then LEASES
start: JournalStore.load ---> spool, SystemTable.recover
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from concurro.errors import JournalDamagedError
from concurro.journal.folder import JournalFolder
from concurro.journal.store import JournalStore
from concurro.journal.writer import JournalWriter
from concurro.nodes.returning import unique_name
from concurro.scheduling.commands import acknowledgements
from concurro.scheduling.rows import AttemptCrashed, AttemptIntended, BlobKept, SlaveSeen

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.scheduling.commands import Record
    from concurro.scheduling.rows import InputApplied, KeptSystem, Row, ServiceKept, SnapshotTaken
    from concurro.scheduling.systems import SystemTable
    from concurro.transport.loop import Loop
    from concurro.wire.blobs import BlobStore

log = logging.getLogger("concurro.master")


class Keeper:
    """Holds a journal for one master. Loop thread only.

    Args:
        path: Its folder.
        least_epoch: The master's epoch is at least this, and higher than any before.
        loop: The master's.
        spool: Has the bytes of blobs that are to be kept.
        fail: Ends the master with a reason.

    Raises:
        JournalError: The journal cannot be used.
    """

    def __init__(self, path: str, least_epoch: int, loop: Loop, spool: BlobStore, fail: Callable[[str], None]) -> None:
        self._spool = spool
        self._folder = JournalFolder(path)
        try:
            self._store = JournalStore(self._folder)
            self._systems: dict[int, KeptSystem] = self._store.load()
            self.next_number = self._store.next_number()
            self.epoch = self._store.begin_epoch(least_epoch)
            self.name = self._store.name()
            self.missed: set[str] = self._store.slaves()
        except BaseException:
            self._folder.close()
            raise
        self._writer = JournalWriter(self._store, loop.post)
        self._writer.on_failed = lambda reason: fail(f"the journal cannot be written: {reason}")
        self._kept: set[bytes] = {digest for kept in self._systems.values() for digest in kept.blobs}

    def recover(self, table: SystemTable, now: float) -> None:
        """Give everything that was kept to a new table."""

        def note_full(full: bool) -> None:  # noqa: FBT001 - the signature of a callback
            table.journal_is_full = full

        self._writer.on_full = note_full
        systems, self._systems = self._systems, {}
        for kept in systems.values():
            for digest in kept.blobs:
                self._folder.read_blob(digest)  # refuses what was changed; who needs it reads it again
            table.recover(kept, now, time.time())
        running = sum(kept.ended is None for kept in systems.values())
        if systems:
            log.warning("systems in the journal: %d, of which %d were running and come back", len(systems), running)

    def record(self, command: Record, done: Callable[[], None]) -> None:
        """Write what the table wants to keep; `done` is called once it is on disk."""
        rows: list[Row] = []
        size = command.size
        for digest in command.blobs:
            if digest in self._spool:
                content = self._spool.get(digest)
                rows.append(BlobKept(command.system, digest, content))
                size += content.nbytes
                self._kept.add(digest)
            elif digest in self._kept:
                rows.append(BlobKept(command.system, digest, self._folder.read_blob(digest)))
            else:
                log.error("a part of system %d is not here and will be missing after a restart", command.system)
        rows += command.rows
        self._writer.write(rows, done, size)

    def reread(self, system: int, done: Callable[[SnapshotTaken | None, list[InputApplied]], None]) -> None:
        """Read the last snapshot of a system, and its inputs.

        Those that wait to be written as well.
        """
        self._writer.read(lambda store: (store.snapshot(system), store.inputs(system)), lambda course: done(*course))

    def read_blob(self, digest: bytes) -> bytes | None:
        """Return bytes that the journal has; None when it has them not."""
        if digest not in self._kept:
            return None
        try:
            return self._folder.read_blob(digest)
        except JournalDamagedError as error:
            log.error("%s", error)  # noqa: TRY400 - who asked is told that they are missing
        except FileNotFoundError:
            self._kept.discard(digest)
        return None

    def slave_seen(self, slave_id: str, was: str | None) -> None:
        """Write down that a slave came, or came back under another name."""
        before = [] if was is None else [SlaveSeen(was, here=False)]
        self._writer.write([SlaveSeen(unique_name(self.epoch, slave_id), here=True), *before])

    def slave_left(self, slave_id: str) -> None:
        """Write down that a slave is gone."""
        self._writer.write([SlaveSeen(unique_name(self.epoch, slave_id), here=False)])

    def miss_no_longer(self) -> None:
        """Forget the slaves of masters before that have not come."""
        self._writer.write([SlaveSeen(name, here=False) for name in sorted(self.missed)])

    def keep_for_service(self, rows: list[ServiceKept], size: int, done: Callable[[], None] | None) -> None:
        """Write what a service keeps, all or nothing, then call `done`."""
        self._writer.write(rows, done, size)

    def read_for_service(self, service: str, done: Callable[[dict[str, Any]], None]) -> None:
        """Read what a service wrote, also to masters before."""
        self._writer.read(lambda store: store.kept_by(service), done)

    def describe(self, counts: dict[str, int]) -> dict[str, Any]:
        """Return how the journal is, and what became of attempts, for people."""
        facts = {"folder": str(self._folder.path), "full": self._writer.full, "waiting": self._writer.waiting()}
        return facts | {"attempts": counts}

    def hold(self, entries: list[tuple[list[Any], int]], send: Callable[[], None]) -> None:
        """Write down that tasks may run from now on, then `send` their leases.

        Args:
            entries: As LEASES has them, each with how often the task crashed behind it.
            send: Called once that is on disk.
        """
        rows: list[Row] = []
        for entry, crashes in entries:
            _, system, _, number, attempt = entry[:5]
            row = AttemptCrashed(system, number, crashes) if crashes else AttemptIntended(system, number, attempt)
            rows.append(row)
        self._writer.write(rows, send)

    def crashed(
        self, attempts: list[tuple[int, int, int, str, int]], acknowledge: Callable[[str, list[int]], None]
    ) -> None:
        """Write down that tasks took their workers with them.

        Then the slaves may forget it.
        """
        rows = [AttemptCrashed(system, number, crashes, lease) for system, number, crashes, _, lease in attempts]
        told = acknowledgements((slave_id, lease) for *_, slave_id, lease in attempts)

        def written() -> None:
            for one in told:
                acknowledge(one.slave_id, one.leases)

        self._writer.write(rows, written)

    def close(self) -> None:
        """Write what waits, and let another master have the journal."""
        self._writer.close()
        self._store.close()
        self._folder.close()
