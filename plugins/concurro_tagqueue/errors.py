"""What goes wrong around a task manager."""

from __future__ import annotations

from typing import Any

from concurro import ConcurroError


class TaskManagerTermination(ConcurroError, RuntimeError):  # noqa: N818 - the seed's name
    """The task manager was terminated: no more tasks, no more results."""


class TaskRaisedException(ConcurroError, RuntimeError):  # noqa: N818 - the seed's name
    """A task raised; told where its result is taken.

    Attributes:
        task_id: The task.
        tag: Its tag.
        exception: What it raised, as it was given to `store_exception`; also the cause of this.
        traceback: The text of its traceback.
    """

    def __init__(self, task_id: str, tag: str, exception: Any, traceback: str) -> None:
        super().__init__(task_id, tag, exception, traceback)
        self.task_id = task_id
        self.tag = tag
        self.exception = exception
        self.traceback = traceback
        if isinstance(exception, BaseException):
            self.__cause__ = exception

    def __str__(self) -> str:
        raised = self.exception
        what = f"{type(raised).__name__}: {raised}" if isinstance(raised, BaseException) else repr(raised)
        text = f"task {self.task_id} with tag {self.tag!r} raised {what}"
        return f"{text}\n{self.traceback}" if self.traceback else text


class TakerLostError(ConcurroError, RuntimeError):
    """Those who took a task were gone before it had a result, too often."""


class UnknownProcessError(ConcurroError, LookupError):
    """No process with that id is registered.

    Attributes:
        process_id: What was asked for.
    """

    def __init__(self, message: str, process_id: Any = None) -> None:
        super().__init__(message)
        self.process_id = process_id


class UnknownTaskError(ConcurroError, LookupError):
    """No task with that id is running.

    Attributes:
        task_id: What was asked for.
    """

    def __init__(self, message: str, task_id: Any = None) -> None:
        super().__init__(message)
        self.task_id = task_id


class UnknownDataError(ConcurroError, KeyError):
    """No data item with that label is stored.

    Attributes:
        label: What was asked for.
    """

    def __init__(self, message: str, label: Any = None) -> None:
        super().__init__(message)
        self.label = label

    def __str__(self) -> str:
        return str(self.args[0])


class WaitTimeoutError(ConcurroError, TimeoutError):
    """Nothing came within the `timeout` of a call; nothing was taken."""


class QueueLostError(ConcurroError, ConnectionError):
    """The master that kept the tasks is gone, and they with it.

    There is another one, without them: it had no journal. Connect again to begin anew.
    """
