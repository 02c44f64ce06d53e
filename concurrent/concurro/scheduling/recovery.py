"""Systems on their way back, and what slaves still hold of them.

    journal --> take --> host --OUT 0 ... OUT m--> step --> open tasks, nobody has them
                                                              |
    slave --INVENTORY--> adopt: equal --> leased as it was    |
                                else  --> unwanted            |
    no slave is missed any more, or ADOPT_PATIENCE --> settle: queued, or lost

An attempt is adopted where system, generation, number, class and arguments are what they
were: the lease stays, and the task is not run again. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.ids import LEASE_COUNTER_BITS, Outcome, SystemState
from concurro.scheduling.commands import HostBack, Send, StartHost, StopHost, acknowledgements, unused_of
from concurro.scheduling.replay import (
    DIFFERS,
    begin_again,
    finish_replay,
    forget_course,
    from_snapshot,
    make_kept_life,
)
from concurro.wire.messages import Kind
from concurro.wire.stamps import stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.life import SystemLife
    from concurro.scheduling.news import NewsDesk
    from concurro.scheduling.recording import Recorder
    from concurro.scheduling.replay import Replay
    from concurro.scheduling.rows import KeptSystem

    End = Callable[[SystemLife, list[Any] | None, float], None]

ADOPT_PATIENCE = 10.0
"""How long a restarted master waits for the slaves that it had [s]."""

REPLAY_PATIENCE = 60.0
"""How long slaves that came back wait for their systems to be replayed [s]."""

STEP_PATIENCE = 5.0
"""How long a step of a replay may take once the system was cancelled [s]."""

START_PATIENCE = 60.0
"""How long the host of a cancelled system may take to start [s]."""


class Recovery:
    """Brings systems back. Loop thread only.

    Args:
        core: Has their tasks.
        recorder: Writes to the journal.
        news: Tells what they publish.
        command: Takes what is to be done.
        end: Ends a system as its host says; None: it goes on.
        notice: Tells the followers of a system something.

    Attributes:
        settled: Whether no slave is missed: what a replay leaves open is queued at once.
        counts: What became of the attempts that were under way before, so far.
    """

    def __init__(  # noqa: PLR0913 - what a replay touches
        self,
        core: SchedulerCore,
        recorder: Recorder,
        news: NewsDesk,
        command: Callable[[Any], None],
        end: End,
        notice: Callable[[int, str, float], None],
    ) -> None:
        self._core = core
        self._recorder = recorder
        self._news = news
        self._command = command
        self._end = end
        self._notice = notice
        self._coming: dict[int, SystemLife] = {}
        self._orphaned: dict[int, SystemLife] = {}
        self.settled = True
        self.counts = {"adopted": 0, "dropped": 0, "queued": 0, "lost": 0}

    def take(self, kept: KeptSystem, now: float, wall: float, grace: float) -> SystemLife:
        """Take a system that the journal has."""
        life = make_kept_life(kept, now, wall, grace)
        if life.ended_at is None:
            life.news.held, life.news.generation = True, kept.generation
            if kept.cancel is not None:
                life.flow.cancel, life.cancel_by = kept.cancel, now + START_PATIENCE
            if life.replay is not None:
                self._coming[life.record.number] = life
            self._command(StartHost(life.record.number))
        return life

    def is_coming(self, number: int) -> bool:
        """Say whether a system is on its way back.

        Nobody knows its open tasks yet.
        """
        return number in self._coming

    def step(self, life: SystemLife, replay: Replay, body: list[Any], now: float) -> None:
        """Take OUT n of a host that gets recorded inputs."""
        number = life.record.number
        if life.cancel_by is not None:
            life.cancel_by = now + STEP_PATIENCE
        following = replay.answered(self._core, life, body)
        if not replay.differs and body[6]:
            known = min(len(body[6]), max(0, replay.taken - life.news.published))
            self._news.skip(life, body[6][:known])
            self._news.publish(life, body[6][known:], now)
        if replay.differs:
            self.run_again(life, "when it was replayed than before the master was restarted", now)
        elif following is not None:
            self._command(Send(life.host, Kind.IN, following))
        elif replay.done and not body[9].get("more"):
            self._coming.pop(number, None)
            finish_replay(self._core, life, replay)
            if life.restarted:
                self._command(HostBack(number))  # the host before may have died on the way
            if life.orphans is not None:
                self._orphaned[number] = life
                if self.settled:
                    self._settle(life)
            self._end(life, body[8], now)

    def forget(self, life: SystemLife) -> None:
        """Notice the end of a system."""
        self._coming.pop(life.record.number, None)
        self._orphaned.pop(life.record.number, None)

    def adopt(self, slave_id: str, entries: list[list[Any]]) -> list[int]:
        """Take what a slave holds from the master before.

        Return the leases that nobody wants.

        Args:
            slave_id: A slave of the core's.
            entries: `[lease, system, generation, number, attempt, stamp]` each.
        """
        unwanted = []
        for lease, system, generation, number, attempt, stamp in entries:
            life = self._orphaned.get(system)
            task = life.record.open.get(number) if life is not None and life.orphans is not None else None
            if (
                life is None
                or task is None
                or life.orphans is None
                or number not in life.orphans.numbers
                or generation != life.record.generation
                or lease >> LEASE_COUNTER_BITS >= self._core.epoch
                or stamp != stamp_of(task.task_class.name, task.task_class.code, task.payload, task.blobs)
            ):
                unwanted.append(lease)
                continue
            life.orphans.numbers.discard(number)
            before = life.orphans.before
            task.crashes = before.crashes.get(number, 0)
            self._core.adopt(task, slave_id, lease, attempt, counted=before.counted.get(number) == lease)
        self.counts["adopted"] += len(entries) - len(unwanted)
        self.counts["dropped"] += len(unwanted)
        return unwanted

    def settle(self) -> None:
        """Queue what no slave holds: nobody else comes. Idempotent."""
        self.settled = True
        for life in list(self._orphaned.values()):
            self._settle(life)

    def _settle(self, life: SystemLife) -> None:
        orphans, life.orphans = life.orphans, None
        self._orphaned.pop(life.record.number, None)
        if orphans is None:
            return
        lost, queued = [], []
        for number in sorted(orphans.numbers):
            task = life.record.open.get(number)
            if task is None:
                continue
            attempt = orphans.before.intents.get(number)
            if attempt is None:
                task.crashes = orphans.before.crashes.get(number, 0)
                queued.append(task)
                continue
            self._core.settle(life.record, number, Outcome.SLAVE_LOST)
            lost.append([number, int(Outcome.SLAVE_LOST), list(orphans.before.unknown), None, None, attempt, 0])
        life.flow.add(lost)
        self.counts["lost"] += len(lost)
        self.counts["queued"] += len(queued)
        if queued:
            self._core.scheduler.push_tasks(queued)

    def forget_replayed(self, life: SystemLife) -> None:
        """Forget how far a replay came: its host died, and another one begins."""
        self._core.end_system(life.record, SystemState.STARTING)
        self._drop_parts(life)
        forget_course(life)
        self._news.begin_again(life, another=0)

    def _drop_parts(self, life: SystemLife) -> None:
        for unused in unused_of(life.record):
            self._command(unused)

    def run_again(self, life: SystemLife, when: str, now: float) -> None:
        """Run a system again that answers otherwise than it did.

        From its last snapshot; without one, or if that cannot be loaded, from its start.

        Args:
            life: It.
            when: It was found, and compared with what; for people.
            now: Monotonic time [s].
        """
        number = life.record.number
        self._coming.pop(number, None)
        if life.cancel_by is not None:
            self._end(life, [SystemState.CANCELLED.value, _CANCELLED], now)
            return
        anchor = from_snapshot(life)
        self._core.end_system(life.record, SystemState.STARTING)
        self._drop_parts(life)
        for told in acknowledgements(life.flow.rest()):
            self._command(told)
        self._news.begin_again(life)
        begin_again(life, anchor)
        self._recorder.begun(life, None if anchor is None else anchor.snapshot)
        whence = "start" if anchor is None else "last snapshot"
        self._notice(number, DIFFERS.format(life.record.system_id, when, whence), now)
        self._command(StopHost(number))
        self._command(StartHost(number))


_CANCELLED = [int(Outcome.RAISED), ["CancelledError", "cancelled"], None]
