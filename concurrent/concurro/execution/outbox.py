"""What a slave tells its master, and results until the master has them.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.execution.slave_records import Command, Entry, Release, Tell
from concurro.ids import Outcome
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

_ERRORS = {
    Outcome.TIMEOUT: "TaskTimeout",
    Outcome.MEMORY: "TaskMemoryExceeded",
    Outcome.NOT_LOADED: "SystemLoadError",
}


class Outbox:
    """Collects what is to be told at the end of a turn.

    Attributes:
        kept: Results that were told and not acknowledged, by lease.
        results: Results that are untold.
        returned: Leases that go back, untold.
        started: Leases that were to go back but had started, untold.
    """

    def __init__(self) -> None:
        self.kept: dict[int, Entry] = {}
        self.results: list[Entry] = []
        self.returned: list[int] = []
        self.started: list[int] = []

    def fail(self, lease: int, outcome: Outcome, message: str, trace: str = "") -> None:
        """Give a lease a failure as its result."""
        failure = [_ERRORS.get(outcome, "WorkerLost"), message, trace, None]
        self.results.append([lease, int(outcome), failure, None, 0])

    def forget(self, leases: Iterable[int]) -> list[Command]:
        """Forget results that were told; return what is to be released."""
        released: list[Command] = []
        for lease in leases:
            result = self.kept.pop(lease, None)
            if result is not None and result[3]:
                released.append(Release(("result", lease)))
        return released

    def clear(self) -> list[Command]:
        """Forget everything; return what is to be released."""
        self.results, self.returned, self.started = [], [], []
        return self.forget(list(self.kept))

    def take(self, reason: str) -> list[Command]:
        """Return what is to be told now; `reason` is why leases go back."""
        told: list[Command] = []
        if self.results:
            for result in self.results:
                self.kept[result[0]] = result
            told.append(Tell(Kind.RESULTS, self.results))
            self.results = []
        if self.returned:
            told.append(Tell(Kind.RETURNED, [self.returned, reason]))
            self.returned = []
        if self.started:
            told.append(Tell(Kind.STARTED, [self.started]))
            self.started = []
        return told
