"""The tasks of a soak."""

from __future__ import annotations

import copy
import os
import sys
import time
from typing import Any

from concurro.task import Task


def leave_trace(path: str, *words: object) -> None:
    """Append one line to a file, whole even when several processes write."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, (" ".join(str(word) for word in words) + "\n").encode())
    os.close(fd)


class Number(Task):
    """Takes a moment, and gives its number."""

    def __init__(self, number: int, seconds: float = 0.0, **fields: Any) -> None:
        super().__init__(f"number-{number}", **fields)
        self.number = number
        self.seconds = seconds

    def __call__(self) -> Any:
        """Sleep, and return the number."""
        time.sleep(self.seconds)
        return self.number


class Traced(Number):
    """Leaves a line in a file, before everything else."""

    def __init__(self, number: int, seconds: float, path: str, **fields: Any) -> None:
        super().__init__(number, seconds, **fields)
        self.path = path

    def __call__(self) -> Any:
        """Leave the line, then do the work."""
        leave_trace(self.path, self.number, os.getpid(), self.attempt, self.slave_id)
        return super().__call__()


class Reverses(Task):
    """Gives many bytes back in reverse."""

    def __init__(self, content: bytes) -> None:
        super().__init__(f"reverses-{len(content)}")
        self.content = content

    def __call__(self) -> bytes:
        """Return the bytes."""
        return self.content[::-1]


class Refuses(Number):
    """Raises."""

    def __call__(self) -> Any:
        """Raise."""
        message = f"number {self.number} is refused"
        raise ValueError(message)


class Sleeper(Number):
    """Takes long, and nobody cares."""


class Exits(Number):
    """Takes its worker with it."""

    def __call__(self) -> Any:
        """End the process."""
        os._exit(3)


class Prints(Number):
    """Says much."""

    def __call__(self) -> Any:
        """Print."""
        for line in range(50):
            sys.stdout.write(f"{self.name} line {line}\n")
        return self.number


def again(task: Any) -> Any:
    """Return the task as if it had never run."""
    fresh = copy.copy(task)
    for name in ("task_id", "system_id", "client_id", "slave_id", "attempt", "duration"):
        fresh.__dict__.pop(name, None)
    return fresh
