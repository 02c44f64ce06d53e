"""Snapshots in virtual time: pickled at once, told after a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.errors import NotPicklableError
from concurro.nodes.snapshot import SnapshotTaker, fault_of, owner_of, pickle_state
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from concurro.nodes.host_core import HostCore

DELAY = 0.05
"""What pickling takes [s]."""


class SimulatedTaker(SnapshotTaker):
    """Takes snapshots of a simulated host.

    A fork would copy the whole simulation.
    """

    def take(self, core: HostCore, n: int) -> None:
        """Answer SNAPSHOT_GET n, behind IN n."""
        fault = fault_of(core)
        if not fault:
            try:
                payload, blobs = pickle_state(core, self._packer, owner_of(n))
            except (NotPicklableError, ValueError) as error:
                fault = str(error)
        body = [core.number, n, b"", None, 0, fault] if fault else [core.number, n, payload, blobs, core.published, ""]
        self._loop.after(DELAY, lambda: self._send(Kind.SNAPSHOT, body))
