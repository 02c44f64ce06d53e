"""Lines of tasks, and of those who wait for them, by tag. Pure.

Every step takes constant time, however many tasks and tags there are; but a choice among several tags
looks at each of them, a pattern at each tag that has tasks, and each new tag that waits at each pattern.
"""

from __future__ import annotations

import fnmatch
import re
from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concurro_tagqueue.records import TaggedTask, Waiter


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tags a call wants.

    Attributes:
        tags: These; None for all that match the pattern.
        pattern: As of a shell: `*`, `?`, `[a-c]`; None for every tag.
    """

    tags: frozenset[str] | None = None
    pattern: str | None = None

    def takes(self, tag: str) -> bool:
        """Say whether it wants a tag."""
        if self.tags is not None:
            return tag in self.tags
        return self.pattern is None or _matcher(self.pattern)(tag)

    def __str__(self) -> str:
        if self.tags is not None:
            return f"tag {', '.join(map(repr, sorted(self.tags)))}"
        return "any tag" if self.pattern is None else f"tags {self.pattern!r}"


ANY = Choice()


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], bool]:
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda tag: match(tag) is not None


class _Ranks:
    """Tasks in order: the highest priority first, then as they came."""

    __slots__ = ("_by_priority", "_priorities", "count")

    def __init__(self) -> None:
        self.count = 0
        self._by_priority: dict[int, OrderedDict[str, TaggedTask]] = {}
        self._priorities: list[int] = []  # negative, in rising order

    def add(self, task: TaggedTask) -> None:
        rank = self._by_priority.get(task.priority)
        if rank is None:
            rank = self._by_priority[task.priority] = OrderedDict()
            insort(self._priorities, -task.priority)
        rank[task.task_id] = task
        self.count += 1

    def add_first(self, task: TaggedTask) -> None:
        self.add(task)
        self._by_priority[task.priority].move_to_end(task.task_id, last=False)

    def remove(self, task: TaggedTask) -> None:
        rank = self._by_priority[task.priority]
        del rank[task.task_id]
        self.count -= 1
        if not rank:
            del self._by_priority[task.priority]
            self._priorities.remove(-task.priority)

    def first(self) -> TaggedTask:
        rank = self._by_priority[-self._priorities[0]]
        return next(iter(rank.values()))

    def __iter__(self) -> Iterator[TaggedTask]:
        for priority in self._priorities:
            yield from self._by_priority[-priority].values()


class TaskLine:
    """Tasks in line, by tag and all together."""

    def __init__(self) -> None:
        self._all = _Ranks()
        self._by_tag: dict[str, _Ranks] = {}
        self._last = 0
        self._first = 0

    def __len__(self) -> int:
        return self._all.count

    def add(self, task: TaggedTask) -> None:
        """Put a task at the end."""
        self._last += 1
        task.place = self._last
        self._all.add(task)
        self._of(task.tag).add(task)

    def add_first(self, task: TaggedTask) -> None:
        """Put a task in front of all of its priority."""
        self._first -= 1
        task.place = self._first
        self._all.add_first(task)
        self._of(task.tag).add_first(task)

    def add_again(self, task: TaggedTask) -> None:
        """Put a task where it was; call it in the order of places."""
        self._last = max(self._last, task.place)
        self._first = min(self._first, task.place)
        self._all.add(task)
        self._of(task.tag).add(task)

    def remove(self, task: TaggedTask) -> None:
        """Take a task out."""
        self._all.remove(task)
        ranks = self._by_tag[task.tag]
        ranks.remove(task)
        if not ranks.count:
            del self._by_tag[task.tag]

    def first(self, choice: Choice) -> TaggedTask | None:
        """Return the first task that is wanted; it stays in line."""
        if not self._all.count:
            return None
        if choice.tags is None and choice.pattern is None:
            return self._all.first()
        wanted = self._by_tag if choice.tags is None else choice.tags
        heads = [self._by_tag[tag].first() for tag in wanted if tag in self._by_tag and choice.takes(tag)]
        return min(heads, key=_order) if heads else None

    def count(self, tag: str) -> int:
        """Return how many tasks of a tag are in line."""
        ranks = self._by_tag.get(tag)
        return 0 if ranks is None else ranks.count

    def counts(self) -> dict[str, int]:
        """Return how many tasks of each tag are in line; no zeros."""
        return {tag: ranks.count for tag, ranks in self._by_tag.items()}

    def with_tag(self, tag: str) -> list[TaggedTask]:
        """Return the tasks of a tag, in order."""
        return list(self._by_tag.get(tag, ()))

    def _of(self, tag: str) -> _Ranks:
        ranks = self._by_tag.get(tag)
        if ranks is None:
            ranks = self._by_tag[tag] = _Ranks()
        return ranks


def _order(task: TaggedTask) -> tuple[int, int]:
    return -task.priority, task.place


@dataclass(slots=True)
class WaitLine:
    """Those who wait, the longest first."""

    _number: int = 0
    _for_any: OrderedDict[int, Waiter] = field(default_factory=OrderedDict)
    _for_tag: dict[str, OrderedDict[int, Waiter]] = field(default_factory=dict)
    _for_pattern: OrderedDict[int, Waiter] = field(default_factory=OrderedDict)

    def add(self, waiter: Waiter) -> None:
        """Put somebody at the end."""
        self._number += 1
        waiter.number = self._number
        choice = waiter.choice
        if choice.tags is not None:
            for tag in choice.tags:
                self._for_tag.setdefault(tag, OrderedDict())[waiter.number] = waiter
        else:
            (self._for_any if choice.pattern is None else self._for_pattern)[waiter.number] = waiter

    def remove(self, waiter: Waiter) -> None:
        """Take somebody out. Idempotent."""
        choice = waiter.choice
        if choice.tags is None:
            (self._for_any if choice.pattern is None else self._for_pattern).pop(waiter.number, None)
            return
        for tag in choice.tags:
            line = self._for_tag.get(tag)
            if line is not None:
                line.pop(waiter.number, None)
                if not line:
                    del self._for_tag[tag]

    def first(self, tag: str) -> Waiter | None:
        """Return who waits longest for a task of that tag."""
        heads = [next(iter(line.values())) for line in (self._for_any, self._for_tag.get(tag)) if line]
        if self._for_pattern:
            heads += [waiter for waiter in self._for_pattern.values() if waiter.choice.takes(tag)][:1]
        return min(heads, key=lambda waiter: waiter.number) if heads else None

    def everybody(self) -> list[Waiter]:
        """Return all who wait."""
        by_tag = {waiter.number: waiter for line in self._for_tag.values() for waiter in line.values()}
        return [*self._for_any.values(), *by_tag.values(), *self._for_pattern.values()]
