"""Hosts in virtual time: the real host in a process that is simulated.

SimulatedHosts (the master's real book of hosts) == link == Host (real) in a Process
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.nodes.host import Host
from concurro.nodes.hosts import HostProcesses
from concurro.testing.simulated_snapshots import SimulatedTaker

if TYPE_CHECKING:
    from concurro.testing.simulated_network import Network
    from concurro.testing.simulated_processes import Process


class SimulatedHosts(HostProcesses):
    """Starts hosts whose channels are simulated; the rest is the real thing."""

    network: Network

    def start(self, number: int) -> None:
        """Start the host of a system."""
        loop: Any = self._loop
        link, far = self.network.connect((loop, None), ("", ""), f"host {number}", ordered=True)
        service, far_service = self.network.connect((loop, None), ("", ""), f"callbacks {number}", ordered=True)
        channels: Any = self._links
        channels[number] = link
        link.on_message = lambda frames: self._take(number, frames)
        self.on_service(number, service)  # type: ignore[arg-type]  # a link as any
        child_id = self._children[number] = next(self._child_ids)
        self._numbers[child_id] = number

        def born(process: Process) -> None:
            loop_of_host: Any = process.loop
            process.node = Host(loop_of_host, far, far_service, taker=SimulatedTaker)  # type: ignore[arg-type]  # as links, see the world
            far.hand_to(process.loop)
            far_service.hand_to(process.loop)

        self._launcher.execute_host(child_id, [str(number)], [born])  # type: ignore[list-item]  # a simulated launcher
