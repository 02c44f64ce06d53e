"""What waits for the journal before anybody outside learns of it.

    output, end, submission --> Record(token, rows) --> journal --> recorded(token) --> then
                            +-- no journal: then, at once

Rows are written in the order in which they were recorded, so what waits goes on in that order
too. Pure: the shell writes the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.scheduling.answer import AnswerDigest, digests
from concurro.scheduling.commands import DropBlobs, KeepBlobs, Record
from concurro.scheduling.history import History, owner_of
from concurro.scheduling.rows import (
    CancelAsked,
    GenerationBegun,
    HostRestarted,
    InputApplied,
    PublicationsTaken,
    SystemAccepted,
    SystemEnded,
    SystemForgotten,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.scheduling.life import SystemLife
    from concurro.scheduling.rows import Row, SnapshotTaken

    Then = Callable[[float], None]

ENTRY_BYTES = 30
"""Of a finished task without its result, about [B]."""

BACKLOG = 256
"""So many records may wait for the journal."""

BACKLOG_BYTES = 64 * 1024 * 1024
"""So much may wait for the journal [B]."""


class Recorder:
    """Holds things back until they are on disk. Loop thread only.

    Args:
        command: Takes what is to be done.
        journalled: Whether there is a journal; without one nothing waits.

    Attributes:
        size: Bytes that wait for the journal, large parts not counted [B].
    """

    def __init__(self, command: Callable[[Any], None], *, journalled: bool) -> None:
        self.journalled = journalled
        self._command = command
        self._token = 0
        self._waiting: dict[int, tuple[Then, int]] = {}
        self.size = 0

    def keeps(self, life: SystemLife) -> bool:
        """Say whether a system is kept.

        Plain tasks, and what a task or callback submitted for itself, end with that anyway.
        """
        return self.journalled and not life.implicit and (not life.nested or bool(life.options.get("detach")))

    def accepted(self, life: SystemLife, wall: float, now: float, then: Then) -> None:
        """Record a submission, its blobs included."""
        if not self.keeps(life):
            if int(life.options.get("restarts", 0)) and not life.implicit:
                life.history = History()
            then(now)
            return
        record = life.record
        life.kept = record.kept = True
        row = SystemAccepted(
            record.number,
            record.system_id,
            record.name,
            life.payload,
            life.blobs,
            life.options,
            life.client,
            life.seed,
            wall,
        )
        self._record([row], digests(life.blobs), record.number, then)

    def sent(self, life: SystemLife, n: int, body: list[Any]) -> None:
        """Keep an input until it was answered."""
        if life.is_recorded:
            life.inputs[n] = body

    def emitted(
        self, life: SystemLife, first: int, classes: list[Any], tasks: list[list[Any]], cancelled: list[int]
    ) -> None:
        """Add a part of an answer to what will be compared."""
        if life.is_recorded:
            life.answer.add(first, classes, tasks, cancelled)

    def answered(self, life: SystemLife, n: int, now: float, then: Then) -> None:
        """Record an input with what its host answered.

        Raises:
            ProtocolError: There was no such input.
        """
        if not life.is_recorded:
            then(now)
            return
        body = life.inputs.pop(n, None)
        if body is None:
            text = f"the host of system {life.record.system_id} answers input {n}, which it was not sent"
            raise ProtocolError(text)
        entries = body[3] if n else ()
        size = ENTRY_BYTES * len(entries) + sum([len(entry[2]) for entry in entries if entry[1] == 0])
        large = [blob for entry in entries if entry[3] and entry[1] == 0 for blob in entry[3]]
        blobs, parts = digests(large), sum(blob[2] for blob in large)
        life.snapshots.count(len(entries), size + parts)
        row = InputApplied(life.record.number, n, body, life.answer.note())
        life.answer = AnswerDigest()
        if life.kept:
            self._record([row], blobs, life.record.number, then, size)
        else:
            self._remember(life, row, blobs, size + parts)
            then(now)

    def _remember(self, life: SystemLife, row: InputApplied, blobs: list[bytes], size: int) -> None:
        """Keep an input in memory, as far as there is room."""
        if life.history is None or not life.history.add(row, size):
            self._forget_history(life)
            life.inputs.clear()
        elif blobs:
            self._command(KeepBlobs(life.history.own(row), blobs))

    def snapshot(self, life: SystemLife, row: SnapshotTaken, size: int, now: float, then: Then) -> None:
        """Record a snapshot in place of the inputs that it has seen."""
        if life.kept:
            self._record([row], sorted(set(digests(row.blobs))), row.system, then, size)
            return
        unwanted = [owner_of(row)] if life.history is None else life.history.replace(row, size)
        for owner in unwanted:
            self._command(DropBlobs(owner))
        then(now)

    def _forget_history(self, life: SystemLife) -> None:
        history, life.history = life.history, None
        for owner in history.owners if history is not None else ():
            self._command(DropBlobs(owner))

    def restarted(self, life: SystemLife) -> None:
        """Record that the host of a system is started again."""
        if life.kept:
            self._record([HostRestarted(life.record.number, life.restarted)], [], life.record.number, _nothing)

    def begun(self, life: SystemLife, snapshot: SnapshotTaken | None) -> None:
        """Record that a system is run again.

        From its submission where there is no snapshot.
        """
        number = life.record.number
        if life.kept:
            after = -1 if snapshot is None else snapshot.n
            self._record([GenerationBegun(number, life.record.generation, after)], [], number, _nothing)
        elif life.history is not None and snapshot is not None:
            for owner in life.history.rewind():
                self._command(DropBlobs(owner))
        elif int(life.options.get("restarts", 0)):
            self._forget_history(life)
            life.history = History()

    def ended(self, life: SystemLife, wall: float, now: float, then: Then) -> None:
        """Record the end of a system, its result's blobs included."""
        if not life.kept:
            then(now)
            return
        result = life.result or []
        record = life.record
        tasks = [record.done, record.failed, record.cancelled]
        row = SystemEnded(record.number, record.state.value, result, wall, tasks)
        self._record([row], digests(result[2] if result else None), record.number, then)

    def cancelled(self, life: SystemLife, reason: str) -> None:
        """Record that a system was cancelled."""
        if life.kept:
            self._record([CancelAsked(life.record.number, reason)], [], life.record.number, _nothing)

    def taken(self, life: SystemLife, count: int) -> None:
        """Record how many partial results of a system its followers have."""
        if life.kept:
            self._record([PublicationsTaken(life.record.number, count)], [], life.record.number, _nothing)

    def forgotten(self, life: SystemLife) -> None:
        """Record that nobody wants a system's result any more."""
        self._forget_history(life)
        if life.kept:
            self._record([SystemForgotten(life.record.number)], [], life.record.number, _nothing)

    @property
    def full(self) -> bool:
        """Whether so much waits for the journal that hosts must wait too."""
        return len(self._waiting) >= BACKLOG or self.size >= BACKLOG_BYTES

    def recorded(self, token: int, now: float) -> bool:
        """Go on after rows were written; return whether hosts may go on too."""
        was_full = self.full
        then, size = self._waiting.pop(token)
        self.size -= size
        then(now)
        return was_full and not self.full

    def _record(self, rows: list[Row], blobs: list[bytes], system: int, then: Then, size: int = 0) -> None:
        self._token += 1
        self._waiting[self._token] = then, size
        self.size += size
        self._command(Record(self._token, rows, blobs, system, size))


def _nothing(now: float) -> None:
    """Do nothing: nobody waits for it."""
