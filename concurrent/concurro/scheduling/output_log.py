"""The last output of recent tasks, within a bound."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

TASK_LIMIT = 16 * 1024
"""Characters that are kept of one task."""

TOTAL_LIMIT = 16 * 1024 * 1024
"""Characters that are kept of all tasks; those that wrote longest ago go first."""

COUNT_LIMIT = 20_000
"""Most tasks of which something is kept."""

CALLBACKS = -1
"""Stands for the number of a task where a system's own callbacks wrote."""

PAGE = 256 * 1024
"""Characters of a page, beyond which no further piece is put on it."""


class Written(NamedTuple):
    """A piece of output.

    Attributes:
        number: Of the task; `CALLBACKS` for the system's own.
        name: Of the task; empty when it is not known.
        text: What was written.
        gap: Whether something before it is kept no more.
    """

    number: int
    name: str
    text: str
    gap: bool


class _Kept:
    """What is kept of one task: its pieces, each with its turn."""

    __slots__ = ("forgotten", "name", "pieces", "size")

    def __init__(self) -> None:
        self.pieces: deque[tuple[int, str]] = deque()
        self.size = 0
        self.name = ""
        self.forgotten = 0  # turn of the last piece that is kept no more, or not as a whole


class OutputLog:
    """What tasks wrote lately. Loop thread only."""

    def __init__(self, task_limit: int = TASK_LIMIT, total_limit: int = TOTAL_LIMIT) -> None:
        self._task_limit = task_limit
        self._total_limit = total_limit
        self._tasks: OrderedDict[tuple[str, int], _Kept] = OrderedDict()  # who wrote last stands last
        self._size = 0
        self._turn = 1  # who has read everything stands behind 0, the beginning, also where nothing was written

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def size(self) -> int:
        """Characters that are kept."""
        return self._size

    def add(self, system_id: str, number: int, text: str, dropped: int, name: str = "") -> None:
        """Take text of a task, and how many bytes are missing before it."""
        task = self._tasks.get((system_id, number))
        if task is None:
            task = self._tasks[system_id, number] = _Kept()
        else:
            self._tasks.move_to_end((system_id, number))
        task.name = name or task.name
        if dropped:
            text = f"... {dropped} bytes of output dropped\n{text}"
        self._turn += 1
        if len(text) > self._task_limit:
            text = _last_lines(text, self._task_limit)
            self._size -= task.size
            task.size, task.forgotten = 0, self._turn
            task.pieces.clear()
        task.pieces.append((self._turn, text))
        task.size += len(text)
        self._size += len(text)
        while task.size - len(task.pieces[0][1]) >= self._task_limit:
            task.forgotten, oldest = task.pieces.popleft()
            task.size -= len(oldest)
            self._size -= len(oldest)
        while len(self._tasks) > 1 and (self._size > self._total_limit or len(self._tasks) > COUNT_LIMIT):
            _, forgotten = self._tasks.popitem(last=False)
            self._size -= forgotten.size

    def text_of(self, system_id: str, number: int) -> str | None:
        """Return the last lines of a task; None when nothing is kept."""
        task = self._tasks.get((system_id, number))
        if task is None:
            return None
        joined = "".join(text for _, text in task.pieces)
        if len(joined) <= self._task_limit:
            return joined
        return _last_lines(joined, self._task_limit)

    def written(self, system_id: str, after: int = 0, number: int | None = None) -> tuple[list[Written], int, bool]:
        """Return what a system wrote, in the order in which it came.

        Args:
            system_id: Its id.
            after: Where the page before ended; 0 for the beginning.
            number: Of the only task that is meant; None for all, and the callbacks.

        Returns:
            The pieces of a page, where it ends, and whether there is more.
        """
        found: list[tuple[int, Written]] = []
        for (system, task_number), task in reversed(self._tasks.items()):
            if task.pieces[-1][0] <= after:
                break  # nor did those before it write later
            if system == system_id and number in (None, task_number):
                found += self._pieces(task_number, task, after)
        found.sort(key=lambda piece: piece[0])
        size = 0
        for place, (turn, piece) in enumerate(found):
            size += len(piece.text)
            if size >= PAGE and place + 1 < len(found):
                return [each for _, each in found[: place + 1]], turn, True
        return [each for _, each in found], max(after, self._turn), False

    @staticmethod
    def _pieces(number: int, task: _Kept, after: int) -> list[tuple[int, Written]]:
        pieces = [(turn, text) for turn, text in task.pieces if turn > after]
        first = pieces[0][0] if pieces else 0
        return [
            (turn, Written(number, task.name, text, turn == first and task.forgotten > after)) for turn, text in pieces
        ]


def _last_lines(text: str, limit: int) -> str:
    """Return the last whole lines of a text; of one long line its end."""
    end = text[-limit:]
    return end.partition("\n")[2] or end
