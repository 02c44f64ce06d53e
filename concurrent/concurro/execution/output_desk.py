"""Whose output it is: the agent's desk for what its workers print.

    worker                              desk                              master
      | SPEAKS lease, name ----------->  |
      | bytes in a pipe ------ - - ->    | held until it is known whose they are
      | RESULTS ..., lease ----------->  | reads the pipe, then -- OUTPUT --->  |
      | <------------------------ HEARD  |                    -- RESULTS -->    |

A worker says when a task first writes through Python's streams, or, when it has ended, that its
pipes were written to by a program or native code. After such a task it waits until its pipes
were read: so every byte has its task, and is told before the result. Bytes that nobody has
announced yet are told while they are fresh, as those of the task that is known to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.execution.worker import Note
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.execution.output_flow import Entry
    from concurro.execution.worker_link import WorkerLink
    from concurro.transport.loop import Loop, Timer

BACKLOG_LIMIT = 4 * 1024 * 1024
"""Output is dropped while so much waits on its way to the master [B]."""


class OutputDesk:
    """Gives output to tasks, and tells the master. Loop thread only.

    Args:
        loop: The agent's loop.
        send: Sends to the master.
        current_lease: Says what a worker runs, as far as is known; 0 for nothing.
        backlog: Says how many bytes wait on the way to the master [B].
    """

    def __init__(
        self,
        loop: Loop,
        send: Callable[[Kind, list[Any], tuple[Any, ...]], None],
        current_lease: Callable[[int], int],
        backlog: Callable[[], int],
    ) -> None:
        self._loop = loop
        self._send = send
        self._current_lease = current_lease
        self._backlog = backlog
        self._links: dict[int, WorkerLink] = {}
        self._timer: Timer | None = None
        self._lost = 0

    def add(self, link: WorkerLink) -> None:
        """Listen to a new worker."""
        self._links[link.id] = link

    def remove(self, link: WorkerLink) -> None:
        """Tell the rest of a worker that has ended, before its loss is told."""
        if self._links.pop(link.id, None) is None:
            return
        link.output.close()
        self._tell(link, self._owner(link), ended=True)

    def close(self) -> None:
        """Forget everything."""
        self._links.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def speaks(self, link: WorkerLink, lease: int, name: str) -> None:
        """Take that a task writes: what follows is its output."""
        link.speaker = (lease, name)

    def reported(self, link: WorkerLink, lease: int) -> None:
        """Take that a worker reported results, that of `lease` last."""
        if link.speaker is not None and link.speaker[0] == lease:
            link.output.read()
            self._tell(link, lease, ended=True)
            link.speaker = None
            link.send(Note.HEARD)

    def note(self, link: WorkerLink) -> None:
        """Take that a worker wrote something; it is told soon."""
        if self._timer is None:
            self._timer = self._loop.after(link.output.flow.period, self._due)

    def _due(self) -> None:
        self._timer = None
        period: float | None = None
        for link in list(self._links.values()):
            flow = link.output.flow
            if flow.waiting:
                self._is_announced(link)
                self._tell(link, self._owner(link), ended=False)
            if flow.waiting:
                period = min(flow.period, period or flow.period)
        if period is not None:
            self._timer = self._loop.after(period, self._due)

    def _is_announced(self, link: WorkerLink) -> bool:
        """Say whether what was read is announced; the note may have come with it."""
        if link.speaker is None:
            link.link.drain()
        return link.speaker is not None

    def _owner(self, link: WorkerLink) -> int:
        return link.speaker[0] if link.speaker is not None else self._current_lease(link.id)

    def _tell(self, link: WorkerLink, owner: int, *, ended: bool) -> None:
        entries = link.output.flow.settle(owner, self._loop.now(), ended=ended)
        told = [self._entry(link, entry) for entry in entries if entry[0]]
        if not told:
            return
        if self._backlog() > BACKLOG_LIMIT:
            self._lost += sum(len(entry[3]) + entry[4] for entry in told)
            return
        told[0][4] += self._lost
        self._lost = 0
        self._send(Kind.OUTPUT, told, ())

    @staticmethod
    def _entry(link: WorkerLink, entry: Entry) -> list[Any]:
        owner, stream, text, dropped = entry
        name = link.speaker[1] if link.speaker is not None and link.speaker[0] == owner else ""
        return [owner, name, stream, text, dropped]
