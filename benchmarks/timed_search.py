"""The reverse MD5 system, with the times of its beginning and end in its result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.reverse_md5 import search
from concurro import Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError


class TimedRange(Task):
    """Search a range."""

    def __init__(self, start: int, stop: int, digest: str) -> None:
        super().__init__(f"search-{start}")
        self.start = start
        self.stop = stop
        self.digest = digest

    def __call__(self) -> int | None:
        """Return the number with the digest, or None."""
        return search(self.start, self.stop, self.digest)


class TimedSearch(TaskSystem):
    """Search [1, `total`) in `jobs` pieces; measure inside the host."""

    def __init__(self, total: int, jobs: int, digest: str) -> None:
        super().__init__()
        self.total = total
        self.jobs = jobs
        self.digest = digest
        self.started = 0.0
        self.ended = 0.0
        self.number: int | None = None

    def init_system(self, master: IMaster) -> None:
        """Start the clock; CLOCK_MONOTONIC is one for every process of a machine."""
        self.started = time.monotonic()

    def generate_tasks(self, master: IMaster) -> Iterator[TimedRange]:
        """Cut the range into pieces of equal length."""
        length = self.total - 1
        for job in range(self.jobs):
            yield TimedRange(1 + job * length // self.jobs, 1 + (job + 1) * length // self.jobs, self.digest)

    def task_finished(self, master: IMaster, task: Task, result: int | None, error: TaskError | None) -> None:
        """Stop the clock at the find."""
        if error is not None:
            raise error
        if result is not None:
            self.number = result
            self.ended = time.monotonic()

    def is_complete(self, master: IMaster) -> bool:
        """Stop at the first find."""
        return self.number is not None

    def gather_result(self, master: IMaster) -> tuple[tuple[int | None, float, float], None]:
        """Return the number, and when it all began and ended [s]."""
        return (self.number, self.started, self.ended), None
