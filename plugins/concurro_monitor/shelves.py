"""The worker's side of the warehouse: values, packed, by name.

keep --> shelf --> hand_out
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING

from concurro import (
    Component,
    ConcurroError,
    IWorkerService,
    IWorkerServiceHost,
    PathOption,
    SizeOption,
    current_application,
    implementer,
)

if TYPE_CHECKING:
    from concurro import IServicePeer, Parcel


WAIT_LIMIT = 30.0
"""A value that was announced is waited for so long [s]."""


@implementer(IWorkerService)
class WarehouseService(Component):
    """Keeps values in a worker, unopened."""

    name = "warehouse"
    methods = ("keep", "hand_out", "forget", "fetch", "copied", "usage")
    budget = SizeOption(
        "1 GiB", "What the values kept in a worker may hold in memory; the rest is in files.", minimum=1
    )
    folder = PathOption("", "Where those files are, without names; empty for the system's folder.")

    def __init__(self) -> None:
        super().__init__()
        self._kept: OrderedDict[str, Parcel] = OrderedDict()
        self._spilled: set[str] = set()
        self._held = 0
        self._wanted: dict[str, list[Future[Parcel]]] = {}
        self._copies: dict[str, list[str]] = {}

    def setup(self, host: IWorkerServiceHost) -> None:
        """Learn the host."""
        self._host = host

    def peer_left(self, peer: IServicePeer, reason: str) -> None:
        """Do nothing: values stay until they are dropped."""

    def keep(self, peer: IServicePeer, uid: str, parcel: Parcel) -> None:
        """Keep a value; one that was kept already, as its copy, makes room for it."""
        self.forget(peer, uid)
        self._kept[uid] = parcel
        self._held += parcel.size
        for wanted in self._wanted.pop(uid, ()):
            if not wanted.done():
                wanted.set_result(parcel)
        self._make_room(uid)

    def hand_out(self, peer: IServicePeer, uid: str) -> Parcel | Future[Parcel]:  # noqa: ARG002 - every method is given who calls
        """Return a value; one that is on its way is waited for."""
        parcel = self._kept.get(uid)
        if parcel is not None:
            self._take_back(uid, parcel)
            return parcel
        wanted: Future[Parcel] = Future()
        self._wanted.setdefault(uid, []).append(wanted)
        self._host.after(WAIT_LIMIT, lambda: self._did_not_come(uid, wanted))
        return wanted

    def forget(self, peer: IServicePeer, uid: str) -> None:  # noqa: ARG002 - as above
        """Forget a value, and its copies elsewhere."""
        copies = self._copies.pop(uid, None)
        if copies:
            threading.Thread(target=_forget_copies, args=(uid, copies), daemon=True).start()
        parcel = self._kept.pop(uid, None)
        if parcel is not None and uid not in self._spilled:
            self._held -= parcel.size
        self._spilled.discard(uid)

    def fetch(self, peer: IServicePeer, uid: str, home: str) -> Future[None]:
        """Get a copy from another worker."""
        future: Future[None] = Future()

        def get() -> None:
            try:
                parcel = current_application().service("warehouse", home).hand_out(uid).result(WAIT_LIMIT)
            except Exception as error:  # noqa: BLE001 - who asked is told
                future.set_exception(error)
                return
            self._host.post(lambda: self.keep(peer, uid, parcel))
            future.set_result(None)

        threading.Thread(target=get, daemon=True).start()
        return future

    def copied(self, peer: IServicePeer, uid: str, addresses: list[str]) -> None:  # noqa: ARG002 - as above
        """Note which workers have copies of a value."""
        if uid in self._kept:
            self._copies[uid] = addresses
        else:  # it was dropped meanwhile
            threading.Thread(target=_forget_copies, args=(uid, addresses), daemon=True).start()

    def usage(self, peer: IServicePeer) -> list[int]:  # noqa: ARG002 - as above
        """Return how many values are kept, how many of them in files.

        And what the others hold [B].
        """
        return [len(self._kept), len(self._spilled), self._held]

    def _make_room(self, newest: str) -> None:
        """Move what was wanted longest ago to files.

        Until the rest is within the budget.
        """
        budget = self.budget or 0
        for uid, parcel in list(self._kept.items()):
            if self._held <= budget:
                return
            if uid in self._spilled or (uid == newest and len(self._kept) > len(self._spilled) + 1):
                continue
            try:
                parcel.spill(tempfile.TemporaryFile(dir=self.folder or None))  # noqa: SIM115 - it is the parcel's
            except OSError as error:
                self.log.warning("values of the warehouse cannot be moved to files, they stay in memory: %s", error)
                return
            self._spilled.add(uid)
            self._held -= parcel.size

    def _take_back(self, uid: str, parcel: Parcel) -> None:
        self._kept.move_to_end(uid)
        if uid in self._spilled:
            parcel.take_back()
            self._spilled.discard(uid)
            self._held += parcel.size
            self._make_room(uid)

    def _did_not_come(self, uid: str, wanted: Future[Parcel]) -> None:
        if not wanted.done():
            self._wanted.get(uid, [wanted]).remove(wanted)
            wanted.set_exception(KeyError(f"the value {uid!r} was announced to the warehouse, and did not come"))


def _forget_copies(uid: str, addresses: list[str]) -> None:
    """Let other workers forget a value; those that are gone have none."""
    for address in addresses:
        with contextlib.suppress(ConcurroError):
            current_application().service("warehouse", address).tell("forget", uid)
