"""Which worker gets the next tessera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro import Attribute, Component, Interface, implementer

if TYPE_CHECKING:
    from concurro_monitor.records import MonitoredNode, MonitoredTask, MonitoredTessera


class IMonitorStrategy(Interface):
    """Chooses workers for tesserae, in the master's loop.

    It must be quick, and never wait.
    """

    name = Attribute("How `[monitor] strategy` names it (str).")
    monitor = Attribute("What it chooses for: `workers` are the uids of those that live, in order.")

    def update_node(updated: MonitoredNode) -> None:
        """Learn the state of a node."""

    def update_task(updated: MonitoredTask) -> None:
        """Learn the state of a task."""

    def update_tessera(updated: MonitoredTessera) -> None:
        """Learn the state of a tessera."""

    def select_worker(sender_id: str) -> str:
        """Return the uid of one of `monitor.workers`.

        Of which there is at least one.
        """


class MonitorStrategy(Component):
    """What strategies have in common.

    They know their monitor, and may ignore news.

    Args:
        monitor: What it chooses for; set later by the monitor that was configured with it.
    """

    def __init__(self, monitor: Any = None) -> None:
        super().__init__()
        self.monitor = monitor

    def update_node(self, updated: MonitoredNode) -> None:
        """Learn the state of a node."""

    def update_task(self, updated: MonitoredTask) -> None:
        """Learn the state of a task."""

    def update_tessera(self, updated: MonitoredTessera) -> None:
        """Learn the state of a tessera."""

    def select_worker(self, sender_id: str) -> str:
        """Return the uid of a worker."""
        raise NotImplementedError


@implementer(IMonitorStrategy)
class RoundRobin(MonitorStrategy):
    """One worker after the other, in the order in which they came."""

    name = "round-robin"

    def __init__(self, monitor: Any = None) -> None:
        super().__init__(monitor)
        self._next = 0

    def select_worker(self, sender_id: str) -> str:  # noqa: ARG002 - the contract's signature
        """Return the uid of the next worker."""
        workers = self.monitor.workers
        chosen: str = workers[self._next % len(workers)]
        self._next += 1
        return chosen
