"""Wait for what a test expects, never longer than a deadline."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, TypeVar

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

POLL_INTERVAL = 0.01

LONGEST_WAIT = 10.0 if os.environ.get("CONCURRO_WITHOUT") else 30.0
"""Deadline of a wait [s]; a test that passes takes a fraction of it, and one without its mechanism all of it."""

LOSS_LIMIT = 5.0 if os.environ.get("CONCURRO_WITHOUT") else 30.0
"""The same for what does not come without its mechanism: such a test waits for all of it [s]."""


def wait_until(predicate: Callable[[], T], timeout: float = 30.0, what: str = "the condition") -> T:
    """Return the first true answer of `predicate`.

    Args:
        predicate: Asked again and again.
        timeout: Seconds until it must be true [s].
        what: What is waited for, in words that fit the message.

    Raises:
        AssertionError: The deadline passed; the message holds the last answer.
    """
    deadline = time.monotonic() + (min(timeout, LONGEST_WAIT) if os.environ.get("CONCURRO_WITHOUT") else timeout)
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            message = f"waited {timeout:g} s for {what}; the last answer was {answer!r}"
            raise AssertionError(message)
        time.sleep(POLL_INTERVAL)


def has_ended(pid: int) -> bool:
    """Say whether a process has ended, reaped or not: an orphan's parent may take its time."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
