"""What a host gets with its next input: results, and room for more.

    finished tasks, a cancel, room for more --> IN n --> host

Credit: a system may have as many tasks open as keep every worker busy for a while (the
window), and 64 MiB of them. Beyond it the generator is not pulled until some finish.

A host whose tasks keep the slaves busy for long is told in larger portions: each input is two
messages and two wake-ups, and with tasks of a millisecond these would cost as much as a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.ids import SystemState
from concurro.scheduling.commands import Send
from concurro.scheduling.depth import lease_depth
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.life import SystemLife
    from concurro.scheduling.recording import Recorder

VIEW_PERIOD = 0.5
"""How often a host is told how loaded the slaves are [s]."""

SHORTEST_PERIOD = 0.25
"""How often the shortest of many task classes is looked for [s]."""

FEW_CLASSES = 8
"""Of so many task classes the shortest is looked for at once."""

PORTION_PERIOD = 0.003
"""How often a host is told what finished, while much more of its tasks is under way [s]."""

PORTION_PERIODS = 4
"""It is much when every worker has work for so many periods."""

WINDOW_DEPTHS = 6
"""So many times what slaves may hold is open, so that they never wait for a generator that shares its processor."""

LEAST_WINDOW = 256
MOST_WINDOW = 32_768
BYTE_WINDOW = 64 * 1024 * 1024


class Feeder:
    """Feeds hosts. Loop thread only.

    Args:
        core: Knows the slaves.
        command: Takes what is to be done.
        recorder: Keeps each input until it was answered.
    """

    def __init__(self, core: SchedulerCore, command: Callable[[Any], None], recorder: Recorder) -> None:
        self._recorder = recorder
        self._core = core
        self._command = command
        self._workers: int | None = None
        self._changed_at = 0.0
        self._view: list[list[Any]] = []
        self._view_at: float | None = None

    def cluster_changed(self, now: float) -> None:
        """Note that slaves came, went or changed."""
        self._changed_at = now
        self._workers = None
        self._view_at = None

    def feed(self, life: SystemLife, now: float, wall: float) -> bool:
        """Send the next input of a system; return whether one was due."""
        record, flow = life.record, life.flow
        flow.waits_until = None
        if record.state is not SystemState.RUNNING or life.comes_back or life.ending:
            return False
        if self._recorder.full and life.kept:
            return False  # the disk is slower than the system
        if life.news.waiting and flow.cancel is None:
            return False  # its followers do not take so fast what it publishes
        if now < flow.sent_at + PORTION_PERIOD and flow.cancel is None and self._is_supplied(life, now):
            # The next thing that happens takes it along; nobody has to be woken for it until the second period is over.
            flow.waits_until = flow.sent_at + 2 * PORTION_PERIOD if flow.finished else None
            return False
        room, must_pull = (0, False) if life.implicit else self._room(life, now)
        ready = flow.next_input(now, room, must_pull=must_pull)
        if ready is None:
            return False
        n, entries, pull = ready
        view = None
        if not life.implicit and (life.view_at <= self._changed_at or now - life.view_at > VIEW_PERIOD):
            view, life.view_at = self.view(now), now
        budget = max(1, BYTE_WINDOW - record.open_bytes)
        reason, flow.cancel = flow.cancel, None
        body = [record.number, n, wall, entries, pull, budget, reason, view]
        self._recorder.sent(life, n, body)
        self._command(Send(life.host, Kind.IN, body))
        return True

    def window(self, life: SystemLife, now: float) -> int:
        """Return how many tasks of a system may be open.

        Enough to keep every worker busy.
        """
        workers = self._all_workers()
        depth = lease_depth(workers, _shortest(life, now))
        return max(LEAST_WINDOW, 4 * workers, min(MOST_WINDOW, WINDOW_DEPTHS * depth))

    def _is_supplied(self, life: SystemLife, now: float) -> bool:
        """Say whether slaves have so much of it that decisions can wait."""
        shortest = _shortest(life, now)
        return (
            shortest is not None
            and life.record.leased * shortest >= PORTION_PERIODS * PORTION_PERIOD * self._all_workers()
        )

    def _all_workers(self) -> int:
        if self._workers is None:
            self._workers = sum(slave.workers for slave in self._core.slaves.values())
        return self._workers

    def view(self, now: float) -> list[list[Any]]:
        """Return the slaves as hosts see them.

        All that are fed in a turn see the same.
        """
        if self._view_at != now:
            self._view_at = now
            self._view = [
                [slave.id, slave.host, slave.workers, slave.running, slave.queued, slave.rating, slave.resources]
                for slave in self._core.slaves.values()
            ]
        return self._view

    def _room(self, life: SystemLife, now: float) -> tuple[int, bool]:
        """Return how many tasks may be pulled, and whether one must be."""
        record = life.record
        must_pull = not record.open and not life.flow.finished
        if life.cancel_by is not None or (record.open_bytes >= BYTE_WINDOW and record.open):
            return 0, must_pull
        window = self.window(life, now)
        room = max(0, window - len(record.open) - life.flow.pulling)
        if room * 4 < window and not must_pull:
            room = 0  # not task by task: a batch costs hardly more than one
        return room, must_pull


def _shortest(life: SystemLife, now: float) -> float | None:
    """Return the duration of the shortest of a system's task classes [s].

    Of many classes it is looked for now and then only: nobody waits for a window that is a
    quarter of a second old.
    """
    classes = life.record.classes
    if len(classes) > FEW_CLASSES and now < life.shortest_at + SHORTEST_PERIOD:
        return life.shortest
    measured = [one.duration for one in classes.values() if one.duration is not None]
    life.shortest, life.shortest_at = min(measured, default=None), now
    return life.shortest
