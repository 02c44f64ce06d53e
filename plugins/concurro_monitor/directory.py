"""Where each tessera lives.

    creator --place(uid, class, runtime)--> strategy --> [address, worker uid, incarnation]
    anybody --locate(uid, incarnation)----> the same, once that incarnation is placed
    home ----collected(uid)---------------> forgotten

A tessera whose worker is gone is lost, unless its creator, who alone has its constructor's
arguments, places it again.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from concurro_monitor.records import MonitoredTessera

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro_monitor.network import WorkerPlace

UNKNOWN_PATIENCE = 1.5
"""A uid that nobody placed may still be on its way for so long [s]."""

GONE_KEPT = 10_000
"""So many tesserae that are no more are remembered, to say so."""


@dataclass(slots=True)
class _Entry:
    """A tessera in the directory."""

    record: MonitoredTessera
    creator: Hashable
    address: str
    restarts: int
    lost: str = ""
    curious: list[tuple[int, Future[list[Any]]]] = field(default_factory=list)

    @property
    def place(self) -> list[Any]:
        return [self.address, self.record.worker, self.record.incarnation]


class Directory:
    """Uid of a tessera to where it is. Not thread-safe: one thread's.

    Args:
        changed: Called with the record of a tessera that was placed, collected, or lost.
        after: Calls later, `after(seconds, callback)`.
    """

    def __init__(
        self, changed: Callable[[MonitoredTessera], object], after: Callable[[float, Callable[[], object]], object]
    ) -> None:
        self._changed = changed
        self._after = after
        self._entries: dict[str, _Entry] = {}
        self._unknown: dict[str, list[Future[list[Any]]]] = {}

    def address_of(self, uid: str) -> str:
        """Return where a tessera is, or was before it was lost; empty for none."""
        entry = self._entries.get(uid)
        return entry.address if entry is not None else ""

    def place(  # noqa: PLR0913 - the facts of a tessera
        self, creator: Hashable, uid: str, class_name: str, place: WorkerPlace, restarts: int, incarnation: int
    ) -> list[Any]:
        """Note where a tessera is; tell whoever looked for it.

        Return what `locate` gives.
        """
        known = self._entries.get(uid)
        if known is None:
            record = MonitoredTessera(uid, class_name, place.uid, incarnation=incarnation)
            known = self._entries[uid] = _Entry(record, creator, place.address, restarts)
        else:
            known.record.worker, known.record.incarnation, known.record.state = place.uid, incarnation, "placed"
            known.address, known.restarts, known.lost = place.address, restarts, ""
        self._changed(known.record)
        self._tell_curious(known)
        for waiting in self._unknown.pop(uid, ()):
            waiting.set_result(known.place)
        return known.place

    def locate(self, uid: str, incarnation: int) -> Future[list[Any]]:
        """Return where that incarnation of a tessera, or a later one, lives.

        `[address, worker uid, incarnation]`. The future raises KeyError when nobody placed it, and
        ConnectionError when it is lost, and nobody constructs it again.
        """
        future: Future[list[Any]] = Future()
        entry = self._entries.get(uid)
        if entry is None:
            self._unknown.setdefault(uid, []).append(future)
            self._after(UNKNOWN_PATIENCE, lambda: self._end_unknown(uid, future))
        elif entry.record.incarnation >= incarnation and not entry.lost:
            future.set_result(entry.place)
        elif entry.lost and entry.restarts <= 0:
            future.set_exception(ConnectionError(entry.lost))
        else:
            entry.curious.append((incarnation, future))
        return future

    def collected(self, uid: str, incarnation: int) -> None:
        """Forget a tessera."""
        entry = self._entries.get(uid)
        if entry is not None and entry.record.incarnation == incarnation:
            del self._entries[uid]
            entry.record.state = "collected"
            self._changed(entry.record)
            self._end_curious(entry, f"tessera {uid} was collected: nothing referred to it")

    def given_up(self, uid: str, reason: str) -> None:
        """Learn that a creator constructs a tessera no more."""
        entry = self._entries.get(uid)
        if entry is not None:
            entry.restarts, entry.lost = 0, reason
            self._end_curious(entry, reason)

    def creator_left(self, creator: Hashable, reason: str) -> None:
        """Give up what only that creator could construct again."""
        for entry in self._entries.values():
            if entry.creator is creator:
                entry.restarts = 0
                if entry.lost:
                    self._end_curious(entry, f"{entry.lost}; its creator is gone too: {reason}")

    def worker_left(self, place: WorkerPlace, reason: str) -> None:
        """Let the tesserae of a worker be lost."""
        for entry in self._entries.values():
            if entry.address == place.address and not entry.lost:
                entry.lost = f"tessera {entry.record.class_name or entry.record.uid} is lost with {place.uid}: {reason}"
                entry.record.state = "lost"
                self._changed(entry.record)
                if entry.restarts <= 0:
                    self._end_curious(entry, entry.lost)
        gone = [uid for uid, entry in self._entries.items() if entry.lost and entry.restarts <= 0]
        for uid in gone[: max(0, len(gone) - GONE_KEPT)]:
            del self._entries[uid]

    def _tell_curious(self, entry: _Entry) -> None:
        curious, entry.curious = entry.curious, []
        for incarnation, future in curious:
            if entry.record.incarnation >= incarnation:
                future.set_result(entry.place)
            else:
                entry.curious.append((incarnation, future))

    def _end_curious(self, entry: _Entry, reason: str) -> None:
        curious, entry.curious = entry.curious, []
        for _, future in curious:
            future.set_exception(ConnectionError(reason))

    def _end_unknown(self, uid: str, future: Future[list[Any]]) -> None:
        waiting = self._unknown.get(uid)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._unknown[uid]
            future.set_exception(KeyError(f"no tessera {uid!r} is known"))
