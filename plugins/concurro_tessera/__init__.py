"""Tesserae: objects that live in workers and are called from anywhere.

decorating, running          what people write
proxies, calls, arrays       what they hold
callers, ways                how calls leave a process
service, home, residents     where tesserae live
"""

from __future__ import annotations

from concurro_monitor import Runtime, RuntimeDisconnectedError, RuntimeProxy, WarehouseRef
from concurro_tessera.arrays import ArrayProxy, TaskArray
from concurro_tessera.calls import Output, Outputs, Task
from concurro_tessera.decorating import tessera
from concurro_tessera.failures import (
    CallCancelledError,
    CallCycleError,
    MailboxFullError,
    MemoryLimitError,
    MultiError,
    RemoteError,
)
from concurro_tessera.parameters import ParameterMixin
from concurro_tessera.proxies import TesseraProxy
from concurro_tessera.residents import Tessera
from concurro_tessera.running import opened, run, runtime

__all__ = [
    "ArrayProxy",
    "CallCancelledError",
    "CallCycleError",
    "MailboxFullError",
    "MemoryLimitError",
    "MultiError",
    "Output",
    "Outputs",
    "ParameterMixin",
    "RemoteError",
    "Runtime",
    "RuntimeDisconnectedError",
    "RuntimeProxy",
    "Task",
    "TaskArray",
    "Tessera",
    "TesseraProxy",
    "WarehouseRef",
    "opened",
    "run",
    "runtime",
    "tessera",
]
