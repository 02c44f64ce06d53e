"""Looks after busy workers: their memory, and whether they run.

Between two looks nothing happens, and while no worker has anything to do there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.config.quantities import format_size
from concurro.execution.memory import descendants, resident_size, shared_fairly, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from concurro.execution.worker_link import WorkerLink
    from concurro.transport.loop import Loop

LOOK_PERIOD = 0.05
"""Seconds between two looks at the memory of workers [s]."""

STATE_PERIOD = 0.5
"""Seconds between two looks at whether workers run [s]."""

STOPPED_LIMIT = 10.0
"""Seconds that a worker may be stopped, as by SIGSTOP, before it is given up [s]."""

_LOOKS_PER_TREE = 4
_AFTERWARDS = 1.0


class WorkerWatch:
    """Notices workers that hold too much, or do not go on. Loop thread only.

    Args:
        loop: The agent's loop.
        links: The workers, by id.
        is_busy: Says whether a worker has anything to do.
        memory_limit: What a worker and the processes below it may hold [B]; None for no limit.

    Attributes:
        on_exceeded: Called with a worker's id and what is to be said about it.
        on_stopped: Called with a worker's id and what is to be said about it.
        on_look: Called twice a second while a worker is busy.
        on_change: Called when a worker was stopped, or is no longer.
    """

    def __init__(
        self,
        loop: Loop,
        links: Mapping[int, WorkerLink],
        is_busy: Callable[[int], bool],
        memory_limit: int | None = None,
    ) -> None:
        self.on_exceeded: Callable[[int, str], None] = lambda worker_id, text: None  # noqa: ARG005
        self.on_stopped: Callable[[int, str], None] = lambda worker_id, text: None  # noqa: ARG005
        self.on_look: Callable[[], None] = lambda: None
        self.on_change: Callable[[], None] = lambda: None
        self._loop = loop
        self._links = links
        self._is_busy = is_busy
        self._limit = memory_limit
        self._armed = False
        self._looks = 0
        self._stopped: dict[int, float] = {}
        self._below: dict[int, list[int]] = {}
        self._weighed_until: dict[int, float] = {}
        self._states_at = 0.0

    @property
    def stopped(self) -> list[int]:
        """Process ids of busy workers that are stopped, as by SIGSTOP."""
        return sorted(self._links[worker_id].pid for worker_id in self._stopped if worker_id in self._links)

    def arm(self, worker_id: int) -> None:
        """Begin to look; a worker was posted something."""
        if self._limit is not None:
            self._weighed_until[worker_id] = self._loop.now() + _AFTERWARDS
        self._wait()

    def _wait(self) -> None:
        if not self._armed:
            self._armed = True
            self._loop.after(LOOK_PERIOD if self._limit is not None else STATE_PERIOD, self._look)

    def _look(self) -> None:
        self._armed = False
        busy = {worker_id for worker_id, link in self._links.items() if link.cause is None and self._is_busy(worker_id)}
        now = self._loop.now()
        if self._limit is not None:
            self._weigh_all(busy, now, self._limit)
        if now >= self._states_at:
            self._states_at = now + STATE_PERIOD
            self.on_look()
            self._look_at_states(busy, now)
        if busy or self._weighed_until:
            self._wait()

    def _weigh_all(self, busy: set[int], now: float, limit: int) -> None:
        # For a moment after its last task too: threads of it may have gone on.
        until = self._weighed_until
        until.update(dict.fromkeys(busy, now + _AFTERWARDS))
        self._weighed_until = until = {key: end for key, end in until.items() if key in self._links and end > now}
        for worker_id in until:
            link = self._links[worker_id]
            if link.pid and not link.killed:
                self._weigh(link, limit)
        self._looks += 1

    def _weigh(self, link: WorkerLink, limit: int) -> None:
        if self._looks % _LOOKS_PER_TREE == 0 or link.id not in self._below:
            self._below[link.id] = descendants(link.pid)
            self._below = {worker_id: below for worker_id, below in self._below.items() if worker_id in self._links}
        below = self._below[link.id]
        size = resident_size(link.pid)
        if below:
            size += sum(resident_size(pid) for pid in below)
            if size > limit:
                # What a child shares with its parent was counted twice.
                size = sum(shared_fairly(pid) for pid in (link.pid, *below)) or size
        if size > limit:
            whose = f"its worker and {len(below)} processes below it" if below else "its worker"
            text = f"{whose} held {format_size(size)}, more than the memory limit of {format_size(limit)} per worker"
            self.on_exceeded(link.id, text)

    def _look_at_states(self, busy: set[int], now: float) -> None:
        stopped = {}
        for worker_id in busy:
            link = self._links[worker_id]
            if link.pid and not link.killed and state_of(link.pid) == "T":
                stopped[worker_id] = self._stopped.get(worker_id, now)
                if now - stopped[worker_id] >= STOPPED_LIMIT:
                    self.on_stopped(
                        worker_id, f", since it was stopped for {STOPPED_LIMIT:g} s and nobody let it go on"
                    )
        before, self._stopped = self._stopped, stopped
        if before.keys() != stopped.keys():
            self.on_change()
