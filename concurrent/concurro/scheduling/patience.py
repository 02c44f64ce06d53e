"""How long a task may wait for a better slave than those that are free.

Waiting is bounded per attempt, by a deadline that is set when it waits first. A
scheduler asks the strategy again at `wake_at`, although nothing else happened.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurro.records import TaskRecord

MOST_WAITING = 4096
"""Attempts whose waiting is remembered; while all of those wait, no other does."""

_Key = tuple[int, int, int]


class Patience:
    """Who waits, and until when."""

    __slots__ = ("_deadlines", "_host", "_queue")

    def __init__(self, host: Any) -> None:
        self._host = host
        self._deadlines: dict[_Key, float] = {}
        self._queue: list[tuple[float, _Key]] = []

    def grants(self, task: TaskRecord, seconds: float, now: float) -> bool:
        """Say whether a task may wait, or go on waiting.

        Args:
            task: Who would wait.
            seconds: How long in all, counted from the first time that it is granted [s].
            now: The time, monotonic [s].
        """
        key = (task.system.number, task.number, task.attempt)
        deadline = self._deadlines.get(key)
        if deadline is None:
            if seconds <= 0.0 or not self._has_room():
                return False
            deadline = self._deadlines[key] = now + seconds
            heapq.heappush(self._queue, (deadline, key))
        return now < deadline

    def wake_at(self, now: float) -> float | None:
        """Return when somebody's patience ends next, monotonic [s]."""
        queue = self._queue
        while queue and (queue[0][0] <= now or not self._is_waiting(queue[0][1])):
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def _has_room(self) -> bool:
        """Make room for one more; the oldest goes, unless it is still waiting."""
        if len(self._deadlines) < MOST_WAITING:
            return True
        oldest = next(iter(self._deadlines))
        deadline = self._deadlines.pop(oldest)
        if not self._is_waiting(oldest):
            return True
        self._deadlines[oldest] = deadline  # now the newest: another is looked at next time
        return False

    def _is_waiting(self, key: _Key) -> bool:
        number, task_number, attempt = key
        system = self._host.systems.get(number)
        task = None if system is None else system.open.get(task_number)
        return task is not None and not task.lease and task.attempt == attempt
