"""The monitor: who is in the network, and where tesserae go."""

from __future__ import annotations

from concurro_monitor.awaiting import Answer, BackgroundLoop, Pending, refuse_in_a_loop
from concurro_monitor.errors import RuntimeDisconnectedError
from concurro_monitor.network import WorkerPlace
from concurro_monitor.records import MonitoredNode, MonitoredTask, MonitoredTessera
from concurro_monitor.runtime import Runtime, RuntimeProxy, here, use
from concurro_monitor.strategies import IMonitorStrategy, MonitorStrategy, RoundRobin
from concurro_monitor.warehouse import WarehouseRef, read_only

__all__ = [
    "Answer",
    "BackgroundLoop",
    "IMonitorStrategy",
    "MonitorStrategy",
    "MonitoredNode",
    "MonitoredTask",
    "MonitoredTessera",
    "Pending",
    "RoundRobin",
    "Runtime",
    "RuntimeDisconnectedError",
    "RuntimeProxy",
    "WarehouseRef",
    "WorkerPlace",
    "here",
    "read_only",
    "refuse_in_a_loop",
    "use",
]
