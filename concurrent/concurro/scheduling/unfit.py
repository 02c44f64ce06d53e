"""Tasks that nobody can run: their application is told after a while."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from concurro.scheduling.explain import explain_requires
from concurro.scheduling.queue import Standing

if TYPE_CHECKING:
    from concurro.scheduling.queue import ClassQueue

WARN_AFTER = 30.0
"""How long nobody can run a task before its application is told [s]."""


class UnfitWatch:
    """Class queues that no connected slave can serve. Loop thread only."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._due: deque[tuple[float, ClassQueue, int]] = deque()

    def note(self, queue: ClassQueue) -> None:
        """Note that from now on nobody can run what is queued."""
        self._due.append((self._host.now() + WARN_AFTER, queue, queue.version))

    def look(self, now: float) -> float | None:
        """Tell the applications that are due; return when the next is [s]."""
        due = self._due
        while due:
            time, queue, version = due[0]
            if queue.version != version or queue.standing is not Standing.UNFIT or queue.head() is None:
                due.popleft()
            elif time > now:
                return time
            else:
                due.popleft()
                if self._host.slaves:
                    self._host.warn(queue.owner.record, _describe(queue, self._host))
                else:
                    due.append((now + WARN_AFTER, queue, version))  # that there is no slave is said already
        return None


def _describe(queue: ClassQueue, host: Any) -> str:
    task, *more = queue.wanted()
    others = f" and {len(more)} more wait" if more else " waits"
    return f"task {task.id} ({queue.task_class.name}){others}: {explain_requires(host, task)}"
