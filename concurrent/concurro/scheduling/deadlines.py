"""Ends systems that waited too long, and says what waits for nothing.

    touched, or armed before --> Deadlines.check --> forgotten, ended, cancelled, told
                                       |
                                       +--> Agenda: looked at again when the next one passes

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.scheduling.life import next_deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.scheduling.agenda import Agenda
    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.life import SystemLife
    from concurro.scheduling.news import NewsDesk

IDLE_PATIENCE = 2.0
"""After how long a system without any slave is told so [s]."""


class Deadlines:
    """Looks at systems whose time may be over. Loop thread only.

    Args:
        core: Knows the slaves.
        news: Tells what they publish.
        agenda: Has a system looked at again.
        grace: How long a system waits for its application [s].

    Attributes:
        forget: Forgets a system whose result nobody fetched.
        give_up: Ends one whose host does not answer a cancel.
        cancel: Cancels one, for a reason.
        notice: Tells the followers of one something.
    """

    def __init__(self, core: SchedulerCore, news: NewsDesk, agenda: Agenda, grace: float) -> None:
        self._core = core
        self._news = news
        self._agenda = agenda
        self._grace = grace
        self.forget: Callable[[SystemLife], None]
        self.give_up: Callable[[SystemLife, float], None]
        self.cancel: Callable[[str, str, float], bool]
        self.notice: Callable[[int, str, float], None]

    def check(self, life: SystemLife, now: float) -> None:
        """End what waited too long; come back at the next deadline."""
        due_at = next_deadline(life, self._grace)
        if due_at is not None and now > due_at:
            if life.ended_at is not None:
                self.forget(life)
                return
            if life.record.state.ended:
                self._news.go_on(life, now)
            elif life.cancel_by is not None:
                self.give_up(life, now)
            else:
                self.cancel(life.record.system_id, f"its application was gone for {self._grace:g} s", now)
            due_at = next_deadline(life, self._grace)
        self._agenda.arm(life.record.number, due_at)
        self._notice_idleness(life, now)

    def _notice_idleness(self, life: SystemLife, now: float) -> None:
        """Tell followers once that nothing can run: silence would look like work."""
        if self._core.slaves or not life.record.open or life.idle_noticed:
            return
        if life.comes_back or life.orphans is not None:
            # After a restart of the master: which tasks are done is not known yet, and their slaves are waited for.
            self._agenda.arm(life.record.number, now + IDLE_PATIENCE)
            return
        due_at = life.submitted_at + IDLE_PATIENCE
        if now > due_at:
            life.idle_noticed = True
            tasks = "1 task waits" if len(life.record.open) == 1 else f"{len(life.record.open)} tasks wait"
            self.notice(life.record.number, f"{tasks}: no slave is connected to the master", now)
        else:
            self._agenda.arm(life.record.number, due_at)
