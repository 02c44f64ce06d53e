"""How a system comes back: its host gets the recorded inputs again.

    START, IN 1 ... IN m (recorded) --> host --> OUT 0 ... OUT m: compared with the notes
                                                      |
                 tasks that no recorded input finished, open as they were

A host is a function of its inputs, so it emits the same tasks under the same numbers, and
what was finished is not run again. Where it emits others, it read something else than its
inputs (a clock, a file, an unordered set): then nothing that was recorded since fits any more,
and the system is run again from its last snapshot, or its submission, as a new generation.

After a snapshot START has the state that was pickled, and the inputs that follow it. What the host
answers to that is nothing: it counts as one more input, the first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from concurro.ids import Failure, Outcome, SystemState
from concurro.records import SystemRecord
from concurro.scheduling.answer import AnswerDigest
from concurro.scheduling.flow import InputFlow
from concurro.scheduling.life import DEFAULT_TTL, SystemLife
from concurro.scheduling.rows import InputApplied
from concurro.scheduling.snapshots import SnapshotCourse

if TYPE_CHECKING:
    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.rows import KeptSystem, SnapshotTaken


@dataclass(slots=True)
class PastAttempts:
    """What is known of attempts before, by the numbers of their tasks.

    Attributes:
        intents: Those that may run at most once, and may have run, with their attempts.
        crashes: How often each took its worker with it.
        counted: The lease of the last attempt among these.
        unknown: What is said of those that must not be run again.
    """

    intents: dict[int, int]
    crashes: dict[int, int]
    counted: dict[int, int]
    unknown: Failure

    def up_to(self, emitted: int) -> PastAttempts:
        """Return what is known of the first tasks, which are run again."""
        intents, crashes, counted = (
            {number: value for number, value in known.items() if number < emitted}
            for known in (self.intents, self.crashes, self.counted)
        )
        return PastAttempts(intents, crashes, counted, RUN_BEFORE)


@dataclass(slots=True)
class Orphans:
    """Open tasks after a replay that nobody is known to hold.

    Attributes:
        numbers: Which.
        before: Their attempts.
    """

    numbers: set[int]
    before: PastAttempts


DIFFERS = "system {} emitted other tasks {}: it is run again from its {}"

CANCELLED = Failure("TaskCancelled", "the task was cancelled")
UNKNOWN = Failure(
    "WorkerLost",
    "the master was restarted while the task may have been running; with max_retries=0 it is not run again",
)
RUN_BEFORE = Failure(
    "WorkerLost",
    "its system is run again from a snapshot, and the task may have run since; with max_retries=0 it is not run again",
)


def course_of(snapshot: SnapshotTaken | None, rows: list[InputApplied]) -> deque[InputApplied]:
    """Return what a new host is given: START, then inputs."""
    if snapshot is None:
        return deque(rows)
    start = InputApplied(snapshot.system, snapshot.n, [{"snapshot": snapshot.n}], AnswerDigest().note())
    return deque((start, *rows))


class Replay:
    """Where one system stands on its way back.

    Attributes:
        snapshot: Its host begins with; None: with the submission.
        differs: Whether the host answered otherwise than it was recorded.
        number: The input that it works on.
        before: What is known of attempts before.
        taken: So many partial results its followers have.
    """

    def __init__(
        self,
        snapshot: SnapshotTaken | None,
        rows: list[InputApplied],
        before: PastAttempts,
        taken: int = 0,
    ) -> None:
        self.begin_again(rows, snapshot)
        self.before = before
        self.taken = taken

    def begin_again(self, rows: list[InputApplied], snapshot: SnapshotTaken | None) -> None:
        """Start with the first input: the host is a new one."""
        self.differs = False
        self.snapshot = snapshot
        self.number = 0 if snapshot is None else snapshot.n
        self._rows = course_of(snapshot, rows)
        self._answer = AnswerDigest()
        self._cancelled: set[int] = set()

    @property
    def start_facts(self) -> dict[str, Any] | None:
        """What START said; None when nothing was recorded."""
        return dict(self._rows[0].body[0]) if self._rows else None

    def restore(self, core: SchedulerCore, life: SystemLife) -> None:
        """Make a system that its host begins anew as it was at the snapshot."""
        snapshot, record = self.snapshot, life.record
        if snapshot is None:
            return
        core.announce_classes(record, snapshot.classes)
        for number, *entry in snapshot.open_tasks:
            core.emit(record, number, [entry], queue=False)
        record.done, record.failed, record.cancelled = snapshot.counts
        for number in snapshot.cancelled:
            core.settle(record, number, Outcome.CANCELLED)
            self._cancelled.add(number)
        life.news.published = life.news.delivered = snapshot.published
        life.progress = snapshot.progress

    def answered(self, core: SchedulerCore, life: SystemLife, body: list[Any]) -> list[Any] | None:
        """Take OUT n of the host.

        Returns:
            The body of the next recorded input; None when there is none, or more of this OUT comes.
        """
        _, _, first, classes, tasks, cancelled, _, progress, _, facts = body[:10]
        record = life.record
        core.announce_classes(record, classes)
        core.emit(record, first, tasks, queue=False)
        self._answer.add(first, classes, tasks, cancelled)
        for number in cancelled:
            if core.settle(record, number, Outcome.CANCELLED):
                self._cancelled.add(number)
        life.progress = progress or life.progress
        if facts.get("more"):
            return None
        row = self._rows.popleft()
        restored = self.snapshot is not None and row.n == self.snapshot.n
        # It answered more, so it had not ended there; a state that cannot be loaded is no end either.
        ended_early = body[8] is not None and (bool(self._rows) or restored)
        self.differs = ended_early or self._answer.note() != row.note
        self._answer = AnswerDigest()
        if self.differs and restored:
            self.snapshot = None
        if self.differs or not self._rows:
            return None
        return self._next(core, life)

    @property
    def done(self) -> bool:
        """Whether every recorded input was answered as it was recorded."""
        return not self._rows and not self.differs

    def unreported(self) -> list[list[Any]]:
        """Return the final tasks that no recorded input told of, as IN has them."""
        return [
            [number, int(Outcome.CANCELLED), list(CANCELLED), None, None, 0, 0] for number in sorted(self._cancelled)
        ]

    def _next(self, core: SchedulerCore, life: SystemLife) -> list[Any]:
        row = self._rows[0]
        self.number = row.n
        for number, outcome, *_ in row.body[3]:
            core.settle(life.record, number, Outcome(outcome))
            self._cancelled.discard(number)
        return [life.record.number, *row.body[1:]]


def make_kept_life(kept: KeptSystem, now: float, wall: float, grace: float) -> SystemLife:
    """Return a kept system: ended as it was, or about to be replayed.

    A result is there for `grace` at least: who wants it could not come while there was no master.
    """
    accepted = kept.accepted
    options = accepted.options
    record = SystemRecord(
        accepted.system,
        accepted.system_id,
        accepted.name,
        weight=float(options.get("weight", 1.0)),
        application=accepted.client,
        speculate=bool(options.get("speculate", False)),
    )
    record.generation = kept.generation
    submitted_at = now - max(0.0, wall - accepted.submitted_at)
    life = SystemLife(record, accepted.payload, accepted.blobs, options, None, submitted_at, accepted.seed)
    life.client = accepted.client
    life.restarted = kept.restarted
    life.accepted = life.kept = record.kept = True
    if not options.get("detach"):
        life.orphan_since = now
    if kept.ended is not None:
        record.state = SystemState(kept.ended.state)
        life.result = kept.ended.result
        latest = float(options.get("ttl", DEFAULT_TTL)) - grace if options.get("detach") else 0.0
        life.ended_at = now - min(max(0.0, wall - kept.ended.ended_at), max(0.0, latest))
        life.submitted_at = life.ended_at - max(0.0, kept.ended.ended_at - accepted.submitted_at)
        record.done, record.failed, record.cancelled = kept.ended.tasks
    elif kept.inputs or kept.snapshot is not None:
        before = PastAttempts(kept.intents, kept.crashes, kept.counted, UNKNOWN)
        life.replay = Replay(kept.snapshot, kept.inputs, before, kept.taken)
    return life


def finish_replay(core: SchedulerCore, life: SystemLife, replay: Replay) -> None:
    """Go on with a system that is where its journal ends."""
    life.replay = None
    life.flow.number = replay.number
    life.flow.add(replay.unreported())
    if life.cancel_by is not None:
        core.cancel_tasks(life.record, list(life.record.open))
    elif life.record.open:
        life.orphans = Orphans(set(life.record.open), replay.before)


def begin_again(life: SystemLife, anchor: Replay | None) -> None:
    """Make a system as it was when it was submitted, as a new generation.

    Args:
        life: It.
        anchor: What `from_snapshot` returned.
    """
    life.record.generation += 1
    forget_course(life)
    life.replay, life.rerun = anchor, None


def from_snapshot(life: SystemLife) -> Replay | None:
    """Return how a system comes back that differs since its snapshot.

    Its tasks up to there are the same ones: what is known of their attempts still holds. None: it
    has no snapshot that can be loaded.
    """
    course = life.replay or life.rerun
    snapshot = None if course is None else course.snapshot
    if snapshot is None:
        return None
    before = _attempts_since(snapshot, life.record) if life.replay is None else life.replay.before
    return Replay(snapshot, [], before.up_to(snapshot.emitted))


def _attempts_since(snapshot: SnapshotTaken, record: SystemRecord) -> PastAttempts:
    """Return what is known of the tasks that were open at a snapshot.

    The system still has its tasks; what is not among them any more has ended.
    """
    once = {number for number, _, _, _, max_retries, *_ in snapshot.classes if max_retries == 0}
    before = PastAttempts({}, {}, {}, RUN_BEFORE)
    for number, task_class, *_ in snapshot.open_tasks:
        task = record.open.get(number)
        attempt = 1 if task is None else task.attempt
        if task_class in once and attempt:
            before.intents[number] = attempt
        if task is not None and task.crashes:
            before.crashes[number] = task.crashes
    return before


def forget_course(life: SystemLife) -> None:
    """Forget what a system has done so far."""
    record = life.record
    record.classes.clear()
    record.kinds.clear()
    record.done = record.failed = record.cancelled = 0
    record.endings.clear()
    life.flow = InputFlow()
    life.inputs.clear()
    life.answer = AnswerDigest()
    life.snapshots, record.retained = SnapshotCourse(), None
    life.progress = None
