"""Failures that nobody awaited: shown once for each kind.

Task failed --dropped, or the run ends--> sweeper --a little later, unless somebody heard of it--> log

A kind is a class, a method and a type of exception. A call whose tessera could not be constructed
fails as the constructor did: who hears of one of them has heard of all.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from weakref import ref

from concurro_monitor import RuntimeDisconnectedError
from concurro_tessera.failures import CallCancelledError
from concurro_tessera.records import class_of

if TYPE_CHECKING:
    from concurro_tessera.calls import Task

TELL_AFTER = 0.3
"""Whoever hears of the same fault by another call does it within this [s]."""

KINDS = 64
"""So many kinds are shown."""

FAULTS = 256
"""So many faults that were heard of are remembered."""

TEXT = 500
"""Characters of a message that are shown."""

HERE = __package__ or "concurro_tessera"

log = logging.getLogger("concurro.tessera")


class Failure(NamedTuple):
    """A call that failed, and that nobody awaited.

    Attributes:
        tessera: Uid of the tessera.
        method: What was called.
        worker: Its address; empty when that is not known.
        error: What it raised.
    """

    tessera: str
    method: str
    worker: str
    error: BaseException

    @property
    def fault(self) -> tuple[str, str, str]:
        """What calls of one tessera have in common that fail for one reason."""
        return fault_of(self.tessera, self.error)

    @property
    def kind(self) -> tuple[str, str, str]:
        """What is shown once."""
        return class_of(self.tessera), self.method, type(self.error).__name__

    def __str__(self) -> str:
        """Return what failed, how, and where."""
        name = class_of(self.tessera)
        what = f"{name}()" if self.method == "__init__" else f"{name}.{self.method.removeprefix(chr(0))}()"
        text = str(self.error)[:TEXT]
        said = f"{type(self.error).__name__}: {text}" if text else type(self.error).__name__
        where = ", ".join(filter(None, [self.worker and f"worker {self.worker}", _line_of(self.error)]))
        place = f" ({where})" if where else ""
        return f"{what} failed, and nobody awaited it; further failures of this kind are not shown\n{said}{place}"


def fault_of(tessera: str, error: BaseException) -> tuple[str, str, str]:
    """Return what says that two errors of calls are one fault."""
    return tessera, type(error).__name__, str(error)


def _line_of(error: BaseException) -> str:
    """Return where it was raised, as its traceback says.

    Empty for not in code of users.
    """
    frames = [line.strip() for line in str(error.__cause__ or "").splitlines() if line.lstrip().startswith('File "')]
    return "" if not frames or HERE in frames[-1] else frames[-1]


class Unheard:
    """What failed in calls from here, until somebody hears of it.

    Thread-safe but for `add`, `tell` and `end`.

    Args:
        losses: Whether a lost worker is worth telling.
    """

    def __init__(self, *, losses: bool) -> None:
        self._losses = losses
        self._tasks: dict[str, ref[Task]] = {}
        self._heard: dict[tuple[str, str, str], None] = {}
        self._told: set[tuple[str, str, str]] = set()
        self._due: dict[tuple[str, str, str], tuple[float, Failure]] = {}
        self._over = False

    @property
    def waiting(self) -> bool:
        """Whether something is to be told soon."""
        return bool(self._due)

    def failed(self, task: Task, error: BaseException) -> None:
        """Notice that a call failed."""
        if not self._over and not isinstance(error, CallCancelledError):
            self._tasks[task.uid] = ref(task)

    def heard(self, task: Task, error: BaseException) -> None:
        """Notice that somebody awaited a call that failed."""
        self._tasks.pop(task.uid, None)
        while len(self._heard) >= FAULTS:
            self._heard.pop(next(iter(self._heard)), None)
        self._heard[fault_of(task.tessera, error)] = None

    def dropped(self, uid: str) -> bool:
        """Notice that a task is gone; return whether that is to be told."""
        return self._tasks.pop(uid, None) is not None and not self._over

    def add(self, failure: Failure) -> None:
        """Let a failure be told soon. In the sweeper."""
        if not self._losses and isinstance(failure.error, RuntimeDisconnectedError):
            return
        if failure.kind not in self._told:
            self._due.setdefault(failure.kind, (monotonic() + TELL_AFTER, failure))

    def tell(self, *, now: bool = False) -> None:
        """Tell what is due, or all of it. In the sweeper, or when that has ended."""
        for kind, (due, failure) in list(self._due.items()):
            if not now and monotonic() < due:
                continue
            del self._due[kind]
            if failure.fault not in self._heard and kind not in self._told and len(self._told) < KINDS:
                self._told.add(kind)
                log.warning("%s", failure)

    def end(self) -> None:
        """Tell what was not heard of until now; nothing from now on."""
        for found in list(self._tasks.values()):
            task = found()
            if task is not None and not task.is_heard:
                self.add(task.failure())
        self._over = True
        self._tasks.clear()
        self.tell(now=True)
