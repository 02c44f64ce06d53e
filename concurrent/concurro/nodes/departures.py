"""When what concerns pushed tasks leaves, and in which thread.

nothing open, one task pushed ---> sent by its own thread, which the loop need not be woken for
results taken, nothing open -----> told with the next task, or alone after a while
everything else -----------------> with the loop's flush
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurro.nodes.application_core import ApplicationCore
    from concurro.nodes.peer import Peer
    from concurro.transport.loop import Loop, Timer

ANSWER_DELAY = 0.01
"""How long the news that the last results were taken waits for a task to ride along with [s]."""


class Departures:
    """Decides for one application.

    Args:
        loop: Of the application.
        core: What it pushed.

    Attributes:
        dirty: Whether something waits for the loop's flush; the owner of the lock sets it.
    """

    def __init__(self, loop: Loop, core: ApplicationCore) -> None:
        self.dirty = False
        self._loop = loop
        self._core = core
        self._timer: Timer | None = None

    def due(self) -> bool:
        """Say whether the loop's flush has something to send. Loop thread only."""
        return self.dirty or self._must_answer()

    def leave(self) -> None:
        """Send everything; the owner of the lock calls it, in the loop's flush."""
        self.dirty = False
        self._core.flush_plain()

    def _must_answer(self) -> bool:
        """Say whether the master must hear now what was taken.

        While nothing is open it waits for nothing.
        """
        plain = self._core.plain
        if not plain.answer_due or plain.sent:
            return plain.answer_due
        if self._timer is None:
            self._timer = self._loop.after(ANSWER_DELAY, self._answer)
        return False

    def _answer(self) -> None:
        self._timer = None
        if self._core.plain.answer_due:
            self.dirty = True

    def push(self, peer: Peer | None) -> bool:
        """Send a task that was pushed, or note it.

        Return whether the loop must be woken for it. The owner of the lock calls it.
        """
        if self.dirty:
            return False
        if self._may_go_at_once(peer) and self._go(peer):
            return False
        self.dirty = True
        return True

    def _may_go_at_once(self, peer: Peer | None) -> bool:
        plain = self._core.plain
        return not plain.sent and plain.number is not None and peer is not None and peer.may_send()

    def _go(self, peer: Peer | None) -> bool:
        try:
            return self._loop.stand_in(self._core.flush_plain)
        except BaseException:
            # Ctrl-C in the middle of it: nobody knows how far it came, so the session ends, and with it this task.
            if peer is not None:
                self._loop.post(lambda: peer.fail("a thread was interrupted while it sent a task"))
            raise
