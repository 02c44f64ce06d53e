"""When a dead worker is replaced, and when a slave gives up for a while."""

from __future__ import annotations

SICK_DEATHS = 5
"""Deaths in a row of workers that did nothing, after which the slave is sick."""

SICK_PAUSE = 10.0
"""Seconds between two tries of a sick slave [s]."""

WELL_AFTER = 1.0
"""Seconds that a worker must live to show that workers can live here [s]."""

_BACK_OFF = 0.05


class Restarts:
    """Counts deaths of workers that did nothing; pure.

    Attributes:
        at: Not before this time is a worker started [s].
        sick: Why the slave must not get tasks; empty when it may.
    """

    def __init__(self) -> None:
        self.at = 0.0
        self.sick = ""
        self._deaths = 0

    def worked(self) -> None:
        """Notice that a worker did something, or lived for a while."""
        self._deaths = 0
        self.sick = ""

    def died(self, cause: str, now: float) -> None:
        """Notice the death of a worker that had done nothing."""
        self._deaths += 1
        if self._deaths < SICK_DEATHS:
            self.at = now + _BACK_OFF * 2 ** (self._deaths - 1)
            return
        self.at = now + SICK_PAUSE
        self.sick = f"{self._deaths} workers in a row ended before they did anything; the last: {cause}"
