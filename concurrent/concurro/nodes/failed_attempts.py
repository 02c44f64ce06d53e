"""The first failures of a system, saved for `concurrent replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.errors import NotPicklableError, TaskCancelled

if TYPE_CHECKING:
    from concurro.errors import TaskError
    from concurro.system import TaskSystem

SAVED_LIMIT = 20
"""Most failed attempts of one system that are saved."""


class FailedAttempts:
    """Saves the first failures, where that is wanted.

    Args:
        folder: Where to; empty to save nothing.

    Attributes:
        left: How many more are saved.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.left = SAVED_LIMIT

    def take(self, error: TaskError) -> str:
        """Save a failure, if it is one of the first.

        Return what people should know of it.
        """
        if not self._folder or not self.left or isinstance(error, TaskCancelled):
            return ""
        file = f"{self._folder}/{str(error.task_id).replace(':', '-')}.task"
        first = self.left == SAVED_LIMIT
        self.left -= 1
        try:
            error.save(file)
        except (OSError, NotPicklableError) as fault:
            self.left = 0
            return f"failed tasks are not saved in {self._folder}: {fault}"
        return f"a failed task is saved: concurrent replay {file} runs it again; so are the next {self.left}" * first


def save_failures_of(system: TaskSystem, folder: str) -> None:
    """Let failures of a system be saved in `folder`.

    Unless it names another itself.
    """
    if folder and not system.save_failed:
        system.save_failed = folder
