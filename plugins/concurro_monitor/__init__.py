"""The monitor: who is in the network, and where tesserae go.

service, ledger, directory, stock, relays    in the master: states, places, commands passed on
strategies, records                          which worker is next, and what that is told
runtime                                      a process's end; its parts stand on `foundation`
presence, attendance, reporting              which runtime a process has; what workers do and tell
remote, monitor, launching                   runtimes elsewhere; the monitor as programs have it
awaiting, looping, warehouse, shelves        what is awaited in any loop; async_for; values
"""

from __future__ import annotations

from concurro_monitor.awaiting import Answer, BackgroundLoop, Pending, refuse_in_a_loop
from concurro_monitor.errors import RuntimeDisconnectedError
from concurro_monitor.foundation import Residence
from concurro_monitor.monitor import Monitor
from concurro_monitor.network import WorkerPlace
from concurro_monitor.presence import enter, here, leave, use, worker_runtime
from concurro_monitor.profiles import ProfiledCall
from concurro_monitor.records import MonitoredNode, MonitoredTask, MonitoredTessera
from concurro_monitor.remote import RuntimeProxy
from concurro_monitor.reporting import Reporter
from concurro_monitor.runtime import Runtime
from concurro_monitor.strategies import IMonitorStrategy, LeastLoaded, MemoryAware, MonitorStrategy, RoundRobin
from concurro_monitor.warehouse import WarehouseRef, read_only

__all__ = [
    "Answer",
    "BackgroundLoop",
    "IMonitorStrategy",
    "LeastLoaded",
    "MemoryAware",
    "Monitor",
    "MonitorStrategy",
    "MonitoredNode",
    "MonitoredTask",
    "MonitoredTessera",
    "Pending",
    "ProfiledCall",
    "Reporter",
    "Residence",
    "RoundRobin",
    "Runtime",
    "RuntimeDisconnectedError",
    "RuntimeProxy",
    "WarehouseRef",
    "WorkerPlace",
    "enter",
    "here",
    "leave",
    "read_only",
    "refuse_in_a_loop",
    "use",
    "worker_runtime",
]
