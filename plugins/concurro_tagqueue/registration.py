"""A process's entry at a task manager.

Kept by pings of a thread of its own, and made again when it was lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import threading
from typing import TYPE_CHECKING, Self

from concurro import ClosedError, ConcurroError

if TYPE_CHECKING:
    from types import TracebackType

    from concurro_tagqueue.surface import TaskManagerMethods

log = logging.getLogger(__name__)

PINGS_PER_PERIOD = 2
"""One that comes late is made up for by the next."""

END_PATIENCE = 1.0
"""How long a ping that is under way may take at the end [s]."""


def describe_process() -> str:
    """Return what a process tells of itself: machine, kind, process id."""
    return f"{platform.node()} ({platform.machine()}), process {os.getpid()}"


class Registration:
    """Keeps a process registered. Thread-safe.

    Args:
        manager: The task manager.
        period: It promises to ping so often [s]; None for never.
        info: What it tells of itself.

    Attributes:
        process_id: Its id now.
    """

    def __init__(self, manager: TaskManagerMethods, period: float | None, info: str = "") -> None:
        self._manager = manager
        self._period = period
        self._info = info or describe_process()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.process_id: int = manager.register_process(period, self._info)
        self._thread: threading.Thread | None = None
        if period is not None:
            self._thread = threading.Thread(target=self._ping, name="concurro-pings", daemon=True)
            self._thread.start()

    def renew(self, lost: int) -> None:
        """Register again, if the id that was lost is still ours.

        A process that was stopped, or cut off, for too long is not known any more.
        """
        with self._lock:
            if self.process_id != lost or self._ended.is_set():
                return
            self.process_id = self._manager.register_process(self._period, self._info)
        log.warning(
            "process %d was taken for dead, and what it ran goes elsewhere; it is registered again as %d",
            lost,
            self.process_id,
        )

    def __enter__(self) -> Self:
        """Return it; the process is registered since it was constructed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unregister, unless the master is gone; what runs in its name goes back."""
        self._ended.set()
        if kind is None or not issubclass(kind, ConnectionError | ClosedError):
            self.end()
        if self._thread is not None:
            self._thread.join(END_PATIENCE)

    def end(self) -> None:
        """Unregister."""
        self._ended.set()
        with self._lock, contextlib.suppress(ConcurroError):  # it is not known any more, or its master is gone
            self._manager.unregister_process(self.process_id)

    def _ping(self) -> None:
        assert self._period is not None  # noqa: S101 - else there is no such thread
        while not self._ended.wait(self._period / PINGS_PER_PERIOD):
            known = self.process_id
            try:
                self._manager.ping(known)
            except LookupError:
                self._renew_quietly(known)
            except ConcurroError as error:
                log.debug("no ping of process %d: %s", known, error)  # whoever works here is told by its own call

    def _renew_quietly(self, lost: int) -> None:
        try:
            self.renew(lost)
        except ConcurroError as error:
            log.debug("process %d is not registered again: %s", lost, error)
