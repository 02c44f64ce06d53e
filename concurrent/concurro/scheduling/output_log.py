"""The last output of recent tasks, within a bound."""

from __future__ import annotations

from collections import OrderedDict, deque

TASK_LIMIT = 16 * 1024
"""Characters that are kept of one task."""

TOTAL_LIMIT = 16 * 1024 * 1024
"""Characters that are kept of all tasks; those that wrote longest ago go first."""

COUNT_LIMIT = 20_000
"""Most tasks of which something is kept."""


class OutputLog:
    """What tasks wrote lately. Loop thread only."""

    def __init__(self, task_limit: int = TASK_LIMIT, total_limit: int = TOTAL_LIMIT) -> None:
        self._task_limit = task_limit
        self._total_limit = total_limit
        self._texts: OrderedDict[tuple[str, int], deque[str]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def size(self) -> int:
        """Characters that are kept."""
        return self._size

    def add(self, system_id: str, number: int, text: str, dropped: int) -> None:
        """Take text of a task, and how many bytes are missing before it."""
        texts = self._texts.setdefault((system_id, number), deque())
        self._texts.move_to_end((system_id, number))
        if dropped:
            text = f"... {dropped} bytes of output dropped\n{text}"
        text = text[-self._task_limit :]
        texts.append(text)
        self._size += len(text)
        kept = sum(map(len, texts))
        while kept - len(texts[0]) >= self._task_limit:
            kept -= len(texts[0])
            self._size -= len(texts.popleft())
        while len(self._texts) > 1 and (self._size > self._total_limit or len(self._texts) > COUNT_LIMIT):
            _, oldest = self._texts.popitem(last=False)
            self._size -= sum(map(len, oldest))

    def text_of(self, system_id: str, number: int) -> str | None:
        """Return the last lines of a task; None when nothing is kept."""
        texts = self._texts.get((system_id, number))
        if texts is None:
            return None
        joined = "".join(texts)
        if len(joined) <= self._task_limit:
            return joined
        return joined[-self._task_limit :].partition("\n")[2]
