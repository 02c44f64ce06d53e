"""How a system comes back: its host gets the recorded inputs again.

    START, IN 1 ... IN m (recorded) --> host --> OUT 0 ... OUT m: compared with the notes
                                                      |
                 tasks that no recorded input finished, open as they were

A host is a function of its inputs, so it emits the same tasks under the same numbers, and
what was finished is not run again. Where it emits others, it read something else than its
inputs (a clock, a file, an unordered set): then nothing that was recorded fits any more, and
the system is run again from its submission, as a new generation.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from concurro.ids import Failure, Outcome, SystemRecord, SystemState
from concurro.scheduling.answer import AnswerDigest
from concurro.scheduling.flow import InputFlow
from concurro.scheduling.life import DEFAULT_TTL, SystemLife

if TYPE_CHECKING:
    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.rows import InputApplied, KeptSystem


@dataclass(slots=True)
class Orphans:
    """Open tasks after a replay that nobody is known to hold.

    Attributes:
        numbers: Which.
        intents: Those that may run at most once, and may have run, with their attempts.
        crashes: How often each took its worker with it.
        counted: The lease of the last attempt among these.
    """

    numbers: set[int]
    intents: dict[int, int]
    crashes: dict[int, int]
    counted: dict[int, int]


DIFFERS = "system {} emitted other tasks {}: it is run again from its start"

CANCELLED = Failure("TaskCancelled", "the task was cancelled")
UNKNOWN = Failure(
    "WorkerLost",
    "the master was restarted while the task may have been running; with max_retries=0 it is not run again",
)


class Replay:
    """Where one system stands on its way back.

    Attributes:
        differs: Whether the host answered otherwise than it was recorded.
        number: The input that it works on.
        intents: Tasks that may run at most once, and may have run.
        crashes: Tasks that took workers with them, and how many.
        counted: The lease of the last attempt of each that did.
        taken: So many partial results its followers have.
    """

    def __init__(self, kept: KeptSystem) -> None:
        self.begin_again(kept.inputs)
        self.intents = kept.intents
        self.crashes = kept.crashes
        self.counted = kept.counted
        self.taken = kept.taken

    def begin_again(self, rows: list[InputApplied]) -> None:
        """Start with the first input: the host is a new one."""
        self.differs = False
        self.number = 0
        self._rows = deque(rows)
        self._answer = AnswerDigest()
        self._cancelled: set[int] = set()

    @property
    def start_facts(self) -> dict[str, Any] | None:
        """What START said; None when nothing was recorded."""
        return dict(self._rows[0].body[0]) if self._rows and self._rows[0].n == 0 else None

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
        ended_early = body[8] is not None and bool(self._rows)  # it answered more, so it had not ended there
        self.differs = ended_early or self._answer.note() != row.note
        self._answer = AnswerDigest()
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
    elif kept.inputs:
        life.replay = Replay(kept)
    return life


def finish_replay(core: SchedulerCore, life: SystemLife, replay: Replay) -> None:
    """Go on with a system that is where its journal ends."""
    life.replay = None
    life.flow.number = replay.number
    life.flow.add(replay.unreported())
    if life.cancel_by is not None:
        core.cancel_tasks(life.record, list(life.record.open))
    elif life.record.open:
        life.orphans = Orphans(set(life.record.open), replay.intents, replay.crashes, replay.counted)


def begin_again(life: SystemLife) -> SystemLife:
    """Make a system as it was when it was submitted, as a new generation."""
    life.record.generation += 1
    forget_course(life)
    life.replay = life.rerun = None
    return life


def forget_course(life: SystemLife) -> None:
    """Forget what a system has done so far."""
    record = life.record
    record.classes.clear()
    record.done = record.failed = record.cancelled = 0
    record.endings.clear()
    life.flow = InputFlow()
    life.inputs.clear()
    life.answer = AnswerDigest()
    life.progress = None
