"""The error tree: everything that Concurrent raises on purpose.

Every error is a `ConcurroError` and also the builtin that a caller would catch
anyway (`LookupError`, `TimeoutError`, `ValueError`, ...). Errors keep their facts
as attributes; the message says what happened, to whom, where, and what to do.
"""

from __future__ import annotations

import concurrent.futures
import pickle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence


class ConcurroError(Exception):
    """Root of every error that Concurrent raises on purpose."""


# Configuration and components


class ConfigError(ConcurroError, ValueError):
    """A configuration, or an argument of a call, that cannot be used.

    Attributes:
        where: `file:line`, the environment variable or the option at fault.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class AddressError(ConfigError):
    """An address that is malformed, or that a node must not use."""


class KeyFileError(ConfigError):
    """A file or folder of keys that cannot be used."""


class ComponentError(ConcurroError):
    """Something is wrong with a component."""


class ComponentNotFoundError(ComponentError, LookupError):
    """No enabled component of that interface has that name."""


class DuplicateComponentError(ComponentError, ValueError):
    """Two components of one interface have the same name."""


class ContractError(ComponentError, TypeError):
    """A component does not keep its interface's contract.

    Attributes:
        faults: One line per fault, each with file and line.
    """

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *(f"  - {fault}" for fault in faults)]))
        self.faults = tuple(faults)


class BrokenPluginError(ComponentError, ImportError):
    """A plugin did not import; the traceback of the import is its cause."""


class StrategyError(ComponentError, RuntimeError):
    """A strategy raised, or answered what cannot be used; its master ends.

    Attributes:
        strategy: Its name and class.
        traceback: Of what it raised; empty when it raised nothing.
    """

    def __init__(self, message: str, strategy: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.strategy = strategy
        self.traceback = traceback


class DependencyCycleError(ComponentError, ValueError):
    """Components need one another in a circle."""


# Jobs as they are written


class InvalidTaskError(ConcurroError, TypeError):
    """Something that is not a usable `Task` was emitted or pushed."""


class NotPicklableError(ConcurroError, pickle.PicklingError, TypeError):
    """A value cannot travel.

    Attributes:
        path: Where in the value the culprit sits, e.g. `task.options['lock']`.
        culprit: Type name of the culprit.
    """

    def __init__(self, message: str, path: str = "", culprit: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.culprit = culprit

    def __reduce__(self) -> tuple[type[NotPicklableError], tuple[str, str, str]]:
        """Pickle with every constructor argument."""
        return type(self), (str(self), self.path, self.culprit)


class SystemLoadError(ConcurroError, ImportError):
    """A submitted task system could not be rebuilt where it should run."""


# Tasks and systems as they end


class TaskError(ConcurroError):
    """The failure of a task, as `task_finished` receives it.

    Attributes:
        task_id: The task, `<system_id>:<number>`.
        type_name: Class name of what was raised.
        message: Text of what was raised; where that does not survive pickling, with why.
        traceback: The remote traceback as text; empty when there is none.
        slave_id: The slave of the last attempt; None when none ran.
        attempt: Number of the last attempt, from 1.
        cause: The original exception if it can be rebuilt, else None.
        task: Name of the task with what it was given, as `scale-4 (n=4, offset=1)`, or a call with its arguments, as
            `scale(4, offset=1)`; bounded, and empty where it is not known.
    """

    task = ""

    def __init__(  # noqa: PLR0913 - the facts of a failure, all of them plain
        self,
        task_id: str | None,
        type_name: str,
        message: str,
        traceback: str = "",
        slave_id: str | None = None,
        attempt: int = 0,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(f"{type_name}: {message}")  # one: of several an `OSError`, as a timeout is, makes its own
        self.task_id = task_id
        self.type_name = type_name
        self.message = message
        self.traceback = traceback
        self.slave_id = slave_id
        self.attempt = attempt
        self.cause = cause
        self.saver: Callable[[TaskError, str | os.PathLike[str]], None] | None = None

    def __str__(self) -> str:
        """Return which task failed, where and how, and the remote traceback."""
        task = f", {self.task}" if self.task else ""
        where = f" on slave {self.slave_id}" if self.slave_id else ""
        which = f", attempt {self.attempt}" if self.attempt else ""
        text = f"task {self.task_id}{task}{which}{where}: {self.type_name}: {self.message}"
        return f"{text}\n{self.traceback}" if self.traceback else text

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the failed attempt to a file, for `concurrent replay`.

        Class, code and arguments are in it, for its owner alone to read. It is the task as it is
        beside its system now. Possible where the error arrived: in `task_finished` or `finished`,
        and as long as the error is kept there.

        Args:
            path: The file; one of that name is replaced. In callbacks of a task system it is on
                the machine of the master.

        Raises:
            NothingToSaveError: The error was made by hand, or has travelled since.
            NotPicklableError: The task has changed, and cannot travel any more.
            OSError: The file cannot be written.
        """
        if self.saver is None:
            message = (
                f"nothing is known of task {self.task_id} here any more; save it where task_finished gets its error"
            )
            raise NothingToSaveError(message)
        self.saver(self, path)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with every fact but the cause when that does not pickle."""
        cause = self.cause
        try:
            pickle.dumps(cause)
        except Exception:  # noqa: BLE001 - a cause may fail in any way; the text stays
            cause = None
        facts = (self.task_id, self.type_name, self.message, self.traceback)
        return type(self), (*facts, self.slave_id, self.attempt, cause), {"task": self.task}


class NothingToSaveError(ConcurroError, LookupError):
    """There is no failed attempt here that could be saved."""


class SavedAttemptError(ConcurroError, ValueError):
    """A file that holds no saved attempt, or none that can be used here."""


class TaskTimeout(TaskError, TimeoutError):  # noqa: N818 - a fixed public name
    """The attempt ran longer than the task's `timeout` and was killed."""


class WorkerLost(TaskError, concurrent.futures.BrokenExecutor):  # noqa: N818 - a fixed public name
    """The worker, or its slave, died while it ran the task.

    A `BrokenExecutor` for those who expect one; the others' tasks, and the cluster, go on.
    """


class TaskMemoryExceeded(TaskError, MemoryError):  # noqa: N818 - a fixed public name
    """The attempt used more than `[slave] memory_limit` and was killed."""


class TaskCancelled(TaskError, concurrent.futures.CancelledError):  # noqa: N818 - a fixed public name
    """The task was cancelled before it finished."""


class ResultNotPicklable(TaskError, TypeError):  # noqa: N818 - a fixed public name
    """The task ran, but its result cannot travel back."""


class RemoteTraceback(ConcurroError):  # noqa: N818 - a fixed public name
    """The traceback of another process, as the cause of an exception here.

    Attributes:
        error: The failure of the task with all its facts; None when it is of no task.
    """

    error: TaskError | None = None

    def __str__(self) -> str:
        """Return the traceback, on lines of its own, and first whose it is."""
        if not self.args:
            return ""
        error = self.error
        if error is None or not error.task:
            return f"\n{self.args[0]}"
        where = f" on slave {error.slave_id}" if error.slave_id else ""
        return f"\nin {error.task}, task {error.task_id}, attempt {error.attempt}{where}\n{self.args[0]}"


class SystemFailedError(ConcurroError, RuntimeError):
    """A task system ended with an error that is not an exception to re-raise.

    Attributes:
        error: What `gather_result` gave as its error, or the failure's text.
    """

    def __init__(self, error: object, traceback: str = "") -> None:
        super().__init__(f"{error}\n{traceback}" if traceback else f"{error}")
        self.error = error
        self.traceback = traceback


class StalledSystemError(ConcurroError, RuntimeError):
    """A task system is not complete, and a whole round yielded no task."""


class HostLost(ConcurroError, RuntimeError):  # noqa: N818 - a fixed public name
    """The process that ran a task system died."""


# Nodes and the way between them


class ProtocolError(ConcurroError, ValueError):
    """Bytes that no peer of this protocol would send."""


class LinkClosedError(ConcurroError, ConnectionError):
    """The connection is closed."""


class MasterUnreachable(ConcurroError, ConnectionError, TimeoutError):  # noqa: N818 - a fixed public name
    """No master answered; the message lists what was tried."""


class RefusedError(ConcurroError, ConnectionRefusedError):
    """The master answered and refused.

    Attributes:
        code: Short reason, e.g. `python`, `protocol`, `role`.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class AuthenticationError(RefusedError, PermissionError):
    """Ours is not let in, or the master has not the key that we know.

    Attributes:
        code: `key` (ours was refused), `master` (it has another key than ours names), `missing` (we have none).
    """


class ClosedError(ConcurroError, RuntimeError):
    """The cluster, application or executor was closed."""


class WaitInCallbackError(ConcurroError, RuntimeError):
    """A call that waits was made in the thread that brings what it waits for."""


class NoApplicationError(ConcurroError, RuntimeError):
    """`current_application` was called where there is none."""


class SlotsLentError(ConcurroError, RuntimeError):
    """A task waits, and its slave has lent as many slots as it may.

    Attributes:
        waits_for: What it waits for, in words.
    """

    def __init__(self, message: str, waits_for: str = "") -> None:
        super().__init__(message)
        self.waits_for = waits_for

    def __reduce__(self) -> tuple[type[SlotsLentError], tuple[str, str]]:
        """Pickle with every constructor argument."""
        return type(self), (str(self), self.waits_for)


class UnknownSystemError(ConcurroError, LookupError):
    """The master knows no system of that id, or not any more."""


class ServiceError(ConcurroError, RuntimeError):
    """A call of a service has no answer.

    Attributes:
        service: Name of the service.
        worker: Address of its worker; empty for a service of the master.
    """

    def __init__(self, message: str, service: str = "", worker: str = "") -> None:
        super().__init__(message)
        self.service = service
        self.worker = worker

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with every constructor argument."""
        return type(self), (str(self), self.service, self.worker)


class UnknownServiceError(ServiceError, LookupError):
    """No such service or method, or it cannot be used."""


class ServiceLostError(ServiceError, ConnectionError):
    """The service, or the way to it, is gone.

    What was called may have run or not.
    """


class ServiceFailedError(ServiceError):
    """A service raised what cannot be rebuilt here.

    Attributes:
        type_name: Class name of what was raised.
        text: Text of what was raised.
        traceback: The remote traceback as text.
    """

    def __init__(self, type_name: str, text: str, traceback: str = "", service: str = "", worker: str = "") -> None:
        super().__init__(f"{type_name}: {text}" + (f"\n{traceback}" if traceback else ""), service, worker)
        self.type_name = type_name
        self.text = text
        self.traceback = traceback

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with every constructor argument."""
        return type(self), (self.type_name, self.text, self.traceback, self.service, self.worker)


class NodeStartError(ConcurroError, RuntimeError):
    """A process of a node did not start, or ended at once."""


# The journal


class JournalError(ConcurroError, RuntimeError):
    """A journal that cannot be used."""


class JournalDamagedError(JournalError):
    """A journal whose rows are not those that were written.

    Attributes:
        position: File and place at fault.
    """

    def __init__(self, message: str, position: str) -> None:
        super().__init__(message)
        self.position = position


class JournalInUseError(JournalError):
    """A journal that another master uses.

    Attributes:
        pid: Process id of that master, None if unknown.
    """

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid
