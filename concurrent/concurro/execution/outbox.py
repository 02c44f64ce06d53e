"""What a slave tells its master, and results until the master has them.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.execution.slave_records import Command, Entry, Release, Tell
from concurro.ids import Outcome
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_ERRORS = {
    Outcome.TIMEOUT: "TaskTimeout",
    Outcome.MEMORY: "TaskMemoryExceeded",
    Outcome.NOT_LOADED: "SystemLoadError",
}


class Outbox:
    """Collects what is to be told at the end of a turn.

    Attributes:
        kept: Results that were told and not acknowledged, by lease.
        keeps: Whether leases behind results are noted: the master has a journal.
        ended: Leases behind the results, until these are acknowledged; empty unless they are noted.
        results: Results that are untold.
        returned: Leases that go back, untold.
        started: Leases that were to go back but had started, untold.
    """

    def __init__(self) -> None:
        self.kept: dict[int, Entry] = {}
        self.keeps = False
        self.ended: dict[int, Entry] = {}
        self.results: list[Entry] = []
        self.returned: list[int] = []
        self.started: list[int] = []

    def fail(self, lease: int, outcome: Outcome, message: str, trace: str = "") -> None:
        """Give a lease a failure as its result."""
        failure = [_ERRORS.get(outcome, "WorkerLost"), message, trace, None]
        self.results.append([lease, int(outcome), failure, None, 0])

    def forget(self, leases: Iterable[int]) -> list[Command]:
        """Forget results that were told; return what is to be released."""
        kept, ended = self.kept, self.ended
        released: list[Command] = []
        for lease in leases:
            result = kept.pop(lease, None)
            if result is not None and result[3]:
                released.append(Release(("result", lease)))
            if ended:
                ended.pop(lease, None)
        return released

    def clear(self) -> list[Command]:
        """Forget everything; return what is to be released."""
        self.results, self.returned, self.started = [], [], []
        self.ended.clear()
        return self.forget(list(self.kept))

    def note(self, entries: list[Entry], killed: Collection[int] = ()) -> list[Entry]:
        """Notice which leases have a result; return them."""
        if self.keeps:
            self.ended.update((entry[0], entry) for entry in entries if entry[0] not in killed)
        return entries

    def tell_again(self) -> None:
        """Tell every result once more that was not acknowledged."""
        self.results = [*self.kept.values(), *self.results]

    def take(self, reason: str) -> list[Command]:
        """Return what is to be told now; `reason` is why leases go back."""
        told: list[Command] = []
        if self.results:
            self.kept.update((result[0], result) for result in self.results)
            told.append(Tell(Kind.RESULTS, self.results))
            self.results = []
        if self.returned:
            told.append(Tell(Kind.RETURNED, [self.returned, reason]))
            self.returned = []
        if self.started:
            told.append(Tell(Kind.STARTED, [self.started]))
            self.started = []
        return told
