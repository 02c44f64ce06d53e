"""A worker's reports to the monitor: how much it does and holds.

    a call arrives --wake--> thread --report(figures, tesserae, calls)--> monitor

At most ten a second while calls come, four while one runs, one in two seconds else. What is told
by name is what is here at that moment, and what ended last: quick calls are counted, not listed.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from concurro import ConcurroError

if TYPE_CHECKING:
    from concurro_monitor.runtime import Runtime

SPACING = 0.1
"""Between two reports [s]."""

BUSY_PERIOD = 0.25
"""A worker in which a call runs looks so often whether that ended [s]."""

IDLE_PERIOD = 2.0
"""A worker without calls tells its load and memory so often [s]."""

log = logging.getLogger("concurro.monitor")


class Reporter:
    """Tells the monitor of a worker. Thread-safe.

    Attributes:
        due: Whether a report is due already: `wake` would change nothing.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.due = False
        self._runtime = runtime
        self._waked = threading.Event()
        self._closed = threading.Event()
        self._last: tuple[Any, ...] = ()
        self._last_told = 0.0

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="concurro-reporter", daemon=True).start()

    def wake(self) -> None:
        """Have a report made soon: there is something new."""
        self.due = True
        self._waked.set()

    def close(self) -> None:
        """End. Idempotent."""
        self._closed.set()
        self._waked.set()

    def _run(self) -> None:
        period = 0.0
        while not self._closed.is_set():
            self._waked.wait(period)
            self._waked.clear()
            self.due = False
            if self._closed.is_set():
                return
            try:
                period = BUSY_PERIOD if self._report() else IDLE_PERIOD
            except ConcurroError as error:  # the master is gone, or the worker ends
                log.debug("nothing is reported: %s", error)
                period = IDLE_PERIOD
            except Exception:
                log.exception("a report to the monitor failed")
                period = IDLE_PERIOD
            self._closed.wait(SPACING)

    def _report(self) -> bool:
        """Tell what changed; return whether calls are here."""
        runtime = self._runtime
        tesserae, calls = runtime.residence.states() if runtime.residence is not None else ([], [])
        facts = runtime.figures()
        busy = bool(facts["running"] or facts["queued"])
        now = monotonic()
        seen = (facts["running"], facts["queued"], facts["done"], facts["failed"], facts["tesserae"], tesserae, calls)
        if seen != self._last or now - self._last_told >= IDLE_PERIOD:
            self._last, self._last_told = seen, now
            assert runtime.host is not None  # noqa: S101 - only workers report
            report = {"facts": facts, "tesserae": tesserae, "tasks": calls}
            monitor = runtime.application.service("monitor")
            monitor.tell("report", runtime.host.address, report)
            runtime.tell_profile()
        return busy
