"""Snapshots: a replay of a long system begins near its end.

    inputs since the last one: many, or large --> tasks that become final are retained from now on
                                                        |
    what was final before is told with IN n     --> SNAPSHOT_GET n --> host --forks--> a child pickles
                                                        |                                   |
    OUT n: the tasks that its host takes for open       |                                   |
                                                        +<------- SNAPSHOT n, state --------+
                                                        |
    large parts are in the spool, and every follower has the partial results up to n
                                                        |
    one transaction: SnapshotTaken in, inputs up to n out --> SNAPSHOT_DONE, parts may go

The host takes a task for open until an input told of its end, so a snapshot has tasks that are
final here: their payloads are retained while one is being prepared, and only then. What happens
after n is none of its matter: inputs after n follow it, in the journal as in a replay.

Partial results are not in the journal, a replay makes them again. So inputs go only when nobody
waits for what was published with them. A snapshot that fails costs a line in the log, and the next
one is tried after twice as much. Without a journal the same happens to the inputs that are kept in
memory for `restarts`. Pure: the shell forks, pickles, writes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from concurro.ids import Outcome, SystemState
from concurro.scheduling.commands import DropBlobs, Send, Spool
from concurro.scheduling.history import owner_of
from concurro.scheduling.rows import SnapshotTaken
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.records import SystemRecord
    from concurro.scheduling.life import SystemLife
    from concurro.scheduling.recording import Recorder

log = logging.getLogger("concurro.master")

SNAPSHOT_ENTRIES = 10_000
"""Finished tasks after which a snapshot is taken: callbacks of a millisecond replay them in ten seconds."""

SNAPSHOT_BYTES = 16 * 1024 * 1024
"""Bytes of inputs after which one is taken: a quarter of what is kept without a journal [B]."""

STATE_SHARE = 2
"""The next one comes after so many times the bytes of the last state: writing stays in proportion to the inputs."""

REST = 20
"""The next one comes after so many times as long as the last one took: pickling takes 5 % of a processor at most."""

MOST_OPEN = 20_000
MOST_OPEN_BYTES = 64 * 1024 * 1024
"""With more open tasks than these there is none: the master would stand still while it copies them."""


@dataclass(slots=True, eq=False)
class Pending:
    """A snapshot on its way.

    Attributes:
        began: When it was wanted [s].
        untold: Final tasks that are to be told of before it is asked for.
        seen: The last input that was looked at for them.
        n: The input behind which it is taken; None before that is known.
        open_tasks: As the row has them; None before OUT n.
        counts: As the row has them.
        cancelled: As the row has them.
        state: What the host pickled; None before it came.
        parts: References of the large parts of the state.
        published: Partial results up to n.
        owner: Of its large parts in the spool.
        ready: Whether these are there.
        recording: Whether the row was handed to the journal.
    """

    began: float
    untold: int
    seen: int
    n: int | None = None
    open_tasks: list[Any] | None = None
    classes: list[Any] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    cancelled: list[int] = field(default_factory=list)
    state: bytes | None = None
    parts: list[Any] | None = None
    published: int = 0
    owner: Hashable = None
    ready: bool = False
    recording: bool = False


@dataclass(slots=True)
class SnapshotCourse:
    """How one system comes to its snapshots.

    Attributes:
        entries: Finished tasks in the inputs since the last one.
        size: Bytes of these inputs, large parts included [B].
        due_entries: The next one is due at so many.
        due_size: Or at so much [B].
        not_before: And not before [s].
        pending: The one that is being taken; None for none.
    """

    entries: int = 0
    size: int = 0
    due_entries: int = field(default_factory=lambda: SNAPSHOT_ENTRIES)
    due_size: int = SNAPSHOT_BYTES
    not_before: float = 0.0
    pending: Pending | None = None

    def count(self, entries: int, size: int) -> None:
        """Count an input that was recorded."""
        self.entries += entries
        self.size += size

    def is_due(self, now: float) -> bool:
        """Say whether another snapshot is wanted."""
        return self._is_worth_one and now >= self.not_before

    def rests_until(self, now: float) -> float | None:
        """Return when one will be due if nothing else happens [s]; None for never."""
        return self.not_before if self._is_worth_one and now < self.not_before else None

    @property
    def _is_worth_one(self) -> bool:
        return self.entries >= self.due_entries or self.size >= self.due_size


class SnapshotDesk:
    """Takes snapshots of systems. Loop thread only.

    Args:
        recorder: Writes them.
        command: Takes what is to be done.
    """

    def __init__(self, recorder: Recorder, command: Callable[[Any], None]) -> None:
        self._recorder = recorder
        self._command = command

    def look(self, life: SystemLife, now: float) -> float | None:
        """Take the next step, if one is due.

        Every final task of the core was handed to the system's flow before this is called.

        Returns:
            When to look again if nothing happens until then [s]; None for never.
        """
        course = life.snapshots
        pending = course.pending
        if pending is None:
            if course.is_due(now) and _may_be_taken(life):
                life.record.retained = {}
                course.pending = pending = Pending(now, len(life.flow.finished), life.flow.number)
                self._ask_once_told(life, pending)
            return course.rests_until(now)
        if not life.is_recorded:  # its inputs became too many to keep
            self.give_up(life)
        elif pending.n is None:
            self._ask_once_told(life, pending)
        elif pending.ready and not pending.recording:
            self._record_once_taken(life, pending, now)
        return None

    def answered(self, life: SystemLife, n: int) -> None:
        """Take OUT n of a host, before its input is recorded."""
        pending, retained = life.snapshots.pending, life.record.retained
        if pending is None or retained is None:
            return
        for entry in life.inputs[n][3] if n in life.inputs else ():
            retained.pop(entry[0], None)
        if pending.n == n:
            _copy_tasks(life.record, pending)

    def arrived(self, life: SystemLife, body: list[Any], now: float) -> None:
        """Take what a host pickled, or why it did not."""
        number, n, state, parts, published, fault = body[:6]
        pending = life.snapshots.pending
        if pending is None or pending.n != n or pending.state is not None or pending.open_tasks is None:
            self._command(Send(life.host, Kind.SNAPSHOT_DONE, [number, n]))  # nobody waits for it any more
            return
        if fault:
            self._fail(life, fault, now)
            return
        pending.state, pending.parts, pending.published = state, parts, published
        row = _row(life, pending)
        pending.owner, blobs = owner_of(row), row.blobs
        if blobs:
            self._command(Spool(life.host, blobs, ("snapshot", number, pending), pending.owner))
        else:
            pending.ready = True
            self._record_once_taken(life, pending, now)

    def spooled(self, life: SystemLife, pending: Pending, error: str | None, now: float) -> None:
        """Go on after large parts arrived in the spool, or did not."""
        if life.snapshots.pending is not pending:
            self._command(DropBlobs(pending.owner))
        elif error is not None:
            self._fail(life, error, now)
        else:
            pending.ready = True
            self._record_once_taken(life, pending, now)

    def give_up(self, life: SystemLife) -> None:
        """Let go of what is under way. Idempotent.

        The host is gone, or the system is over.
        """
        life.record.retained = None
        pending = life.snapshots.pending
        if pending is not None and not pending.recording:
            life.snapshots.pending = None
            if pending.owner is not None:
                self._command(DropBlobs(pending.owner))

    # Steps

    def _ask_once_told(self, life: SystemLife, pending: Pending) -> None:
        """Ask the host once it is told of all that is not retained."""
        while pending.seen < life.flow.number:
            pending.seen += 1
            if pending.seen in life.inputs:  # it was sent in this turn: what was answered is none of ours
                pending.untold -= len(life.inputs[pending.seen][3])
        if pending.untold > 0:
            return
        pending.n = life.flow.number
        self._command(Send(life.host, Kind.SNAPSHOT_GET, [life.record.number, pending.n]))
        if pending.n not in life.inputs:
            _copy_tasks(life.record, pending)  # it was answered before

    def _record_once_taken(self, life: SystemLife, pending: Pending, now: float) -> None:
        """Write it down once nobody waits for what was published before it."""
        if life.news.settled < pending.published:
            return
        pending.recording = True
        row = _row(life, pending)
        size = len(row.state) + sum(blob[2] for blob in row.blobs) + sum(len(entry[2]) for entry in row.open_tasks)
        self._recorder.snapshot(life, row, size, now, lambda later: self._recorded(life, pending, size, later))

    def _recorded(self, life: SystemLife, pending: Pending, size: int, now: float) -> None:
        """Count from the beginning: older inputs are gone."""
        if life.kept and pending.owner is not None:
            self._command(DropBlobs(pending.owner))
        course = life.snapshots
        if course.pending is not pending:
            return  # the system is run again from its start meanwhile
        course.pending = None
        course.entries = course.size = 0
        course.due_entries, course.due_size = SNAPSHOT_ENTRIES, max(SNAPSHOT_BYTES, STATE_SHARE * size)
        self._rest(life, pending, now)

    def _fail(self, life: SystemLife, fault: str, now: float) -> None:
        """Try again later."""
        course, pending = life.snapshots, life.snapshots.pending
        assert pending is not None  # noqa: S101 - it is what failed
        log.debug("no snapshot of system %s after input %s: %s", life.record.system_id, pending.n, fault)
        course.due_entries = max(SNAPSHOT_ENTRIES, 2 * course.entries)
        course.due_size = max(SNAPSHOT_BYTES, 2 * course.size)
        self.give_up(life)
        self._rest(life, pending, now)

    def _rest(self, life: SystemLife, pending: Pending, now: float) -> None:
        life.snapshots.not_before = now + REST * (now - pending.began)
        if pending.n is not None:
            self._command(Send(life.host, Kind.SNAPSHOT_DONE, [life.record.number, pending.n]))


def _may_be_taken(life: SystemLife) -> bool:
    return (
        life.is_recorded
        and not life.implicit
        and life.record.state is SystemState.RUNNING
        and life.flow.is_started
        and not life.comes_back
        and not life.is_over
        and life.cancel_by is None
        and len(life.record.open) <= MOST_OPEN
        and life.record.open_bytes <= MOST_OPEN_BYTES
    )


def _copy_tasks(record: SystemRecord, pending: Pending) -> None:
    """Note the tasks that the host takes for open.

    Those that are, and those of whose end it was not told.
    """
    retained, record.retained = record.retained or {}, None
    tasks = {**record.open, **{number: task for number, (task, _) in retained.items()}}
    pending.open_tasks = [
        [number, task.task_class.number, task.payload, task.blobs] for number, task in sorted(tasks.items())
    ]
    pending.classes = [
        [one.number, one.name, one.priority, one.timeout, one.max_retries, one.requires, *one.code]
        for one in record.classes.values()
    ]
    outcomes = [outcome for _, outcome in retained.values()]
    pending.cancelled = sorted(number for number, (_, outcome) in retained.items() if outcome == Outcome.CANCELLED)
    done = sum(outcome == Outcome.DONE for outcome in outcomes)
    failed = len(outcomes) - done - len(pending.cancelled)
    pending.counts = [record.done - done, record.failed - failed, record.cancelled - len(pending.cancelled)]


def _row(life: SystemLife, pending: Pending) -> SnapshotTaken:
    assert pending.n is not None  # noqa: S101 - it was asked for
    assert pending.state is not None  # noqa: S101 - it came
    return SnapshotTaken(
        life.record.number,
        pending.n,
        life.record.generation,
        pending.state,
        pending.open_tasks or [],
        pending.classes,
        pending.parts,
        pending.published,
        pending.counts,
        pending.cancelled,
        life.progress,
    )
