"""How a system whose host died alone gets another one.

    host dies --> recorded inputs: from the journal, or kept in memory where there is none
                        |
                        v
    StartHost --> START, IN 1 ... IN m --> OUT 0 ... OUT m: compared with what was answered
                        |
                        +--> the inputs that were not answered once more, as if nothing had been

Its tasks go on meanwhile: a host is a function of its inputs, so the new one knows them under
the same numbers. Where it emits others, the system is run again from its last snapshot, or from
its start. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.scheduling.answer import AnswerDigest
from concurro.scheduling.commands import HostBack, Reread, Send, StartHost
from concurro.scheduling.life import count_emitted
from concurro.scheduling.recovery import STEP_PATIENCE
from concurro.scheduling.replay import course_of
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from concurro.scheduling.life import SystemLife
    from concurro.scheduling.recording import Recorder
    from concurro.scheduling.recovery import Recovery
    from concurro.scheduling.rows import InputApplied, SnapshotTaken


class Rerun:
    """Where a system stands whose host is started again.

    Attributes:
        snapshot: The new host begins with; None: with the submission.
        published: How many partial results its recorded inputs had, as far as it has come.
    """

    __slots__ = ("_answer", "published", "rows", "snapshot")

    def __init__(self) -> None:
        self.rows: deque[InputApplied] | None = None  # None: the journal is being read
        self.snapshot: SnapshotTaken | None = None
        self.published = 0
        self._answer = AnswerDigest()

    def begin(self, rows: list[InputApplied], snapshot: SnapshotTaken | None) -> None:
        """Take what was recorded."""
        self.rows, self.snapshot = course_of(snapshot, rows), snapshot
        self.published = 0 if snapshot is None else snapshot.published

    def start_facts(self, unanswered: dict[int, list[Any]]) -> dict[str, Any] | None:
        """Return what START said; None when it never was sent."""
        if self.rows:
            return dict(self.rows[0].body[0])
        return dict(unanswered[0][0]) if 0 in unanswered else None

    def agrees(self, body: list[Any]) -> bool:
        """Take a whole OUT; say whether it is what was answered before."""
        assert self.rows  # noqa: S101 - the host answers what it was sent
        row = self.rows.popleft()
        answer, self._answer = self._answer, AnswerDigest()
        agrees = body[1] == row.n and body[8] is None and answer.note() == row.note
        if not agrees and self.snapshot is not None and row.n == self.snapshot.n:
            self.snapshot = None  # it cannot be loaded
        return agrees

    def add(self, body: list[Any]) -> None:
        """Take a piece of an OUT."""
        self._answer.add(body[2], body[3], body[4], body[5])
        self.published += len(body[6])


class HostRestarts:
    """Starts hosts again. Loop thread only.

    Args:
        recorder: Knows the inputs.
        recovery: Runs a system again where nothing else is possible.
        command: Takes what is to be done.
        notice: Tells the followers of a system something.
    """

    def __init__(
        self,
        recorder: Recorder,
        recovery: Recovery,
        command: Callable[[Any], None],
        notice: Callable[[int, str, float], None],
    ) -> None:
        self._recorder = recorder
        self._recovery = recovery
        self._command = command
        self._notice = notice

    def begin(self, life: SystemLife, reason: str, now: float) -> str:
        """Start the host of a system again; if that may not be, say why it ends.

        Returns:
            What its followers are told of its end; empty when it goes on.
        """
        who = f"the process that ran system {life.record.system_id} ({life.record.name})"
        text = f"{who} died: {reason}, {describe_work(life)}"
        allowed = int(life.options.get("restarts", 0))
        if life.restarted >= allowed:
            return text if not allowed else f"{text}; it was started again {_times(allowed)} before, as often as it may"
        if not life.is_recorded:
            return f"{text}; it is not started again: its inputs are too many to keep without a journal"
        life.restarted += 1
        life.host_pid = None
        self._recorder.restarted(life)
        self._notice(life.record.number, f"{text}; it is started again, restart {life.restarted} of {allowed}", now)
        self._prepare(life)
        return ""

    def reread(self, life: SystemLife, rows: list[InputApplied], snapshot: SnapshotTaken | None) -> None:
        """Take the recorded course of a system out of the journal."""
        if life.replay is not None:
            life.replay.begin_again(rows, snapshot)
        elif life.rerun is not None:
            life.rerun.begin(rows, snapshot)
        self._command(StartHost(life.record.number))

    def started(self, life: SystemLife, rerun: Rerun) -> None:
        """Note that the new host has its START."""
        if not rerun.rows:
            self._finish(life, rerun)

    def step(self, life: SystemLife, rerun: Rerun, body: list[Any], now: float) -> None:
        """Take OUT n of a host that gets its inputs again."""
        rerun.add(body)
        if life.cancel_by is not None:
            life.cancel_by = now + STEP_PATIENCE
        if body[9].get("more"):
            return
        if not rerun.agrees(body):
            self._recovery.run_again(life, "when its host was started again than before", now)
            return
        self._release(life, rerun)
        if rerun.rows:
            self._command(Send(life.host, Kind.IN, rerun.rows[0].body))
        else:
            self._finish(life, rerun)

    def _prepare(self, life: SystemLife) -> None:
        life.answer = AnswerDigest()
        if life.replay is not None:
            self._recovery.forget_replayed(life)
        elif 0 in life.inputs or life.flow.is_started:
            life.rerun = Rerun()
        if life.kept:
            self._command(Reread(life.record.number))
        else:
            assert life.history is not None  # noqa: S101 - it is recorded, and not by a journal
            self.reread(life, life.history.rows, life.history.snapshot)

    def _finish(self, life: SystemLife, rerun: Rerun) -> None:
        """Let the host answer what the one before it did not."""
        life.rerun = None
        life.news.repeated = max(0, life.news.published - rerun.published)
        for n in sorted(life.inputs):
            if n:  # START was sent
                self._command(Send(life.host, Kind.IN, life.inputs[n]))
        self._release(life, rerun)
        self._command(HostBack(life.record.number))

    def _release(self, life: SystemLife, rerun: Rerun) -> None:
        """Let the host drop the large partial results that are not wanted again."""
        count = min(rerun.published, life.news.delivered)
        if count:
            self._command(Send(life.host, Kind.PUBLISHED, [life.record.number, count]))


def skip_known(life: SystemLife, first: int, tasks: list[list[Any]]) -> tuple[int, list[list[Any]]]:
    """Leave out tasks that the host before had emitted for the same input."""
    known = count_emitted(life.record) - first if life.restarted else 0
    return (first + known, tasks[known:]) if known > 0 else (first, tasks)


def describe_work(life: SystemLife) -> str:
    """Say which input a host worked on, and what it calls for that."""
    working = life.flow.working_on()
    if working is None:
        return f"while it waited for input {life.flow.number + 1}"
    number, finished, pull = working
    if not number:
        return "while it was loaded, or in init_system"
    calls = []
    if finished:
        calls.append(f"task_finished of {finished} task" + "s" * (finished > 1))
    if pull:
        calls.append("generate_tasks")
    return f"while it worked on input {number} ({', '.join(calls) or 'gather_result'})"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
