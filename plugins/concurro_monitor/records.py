"""What the monitor knows of nodes, tasks and tesserae."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

EVENTS_KEPT = 32
"""So many events, and profiles, of one task or tessera are kept."""

TASK_ENDS = frozenset({"done", "failed", "lost"})
TESSERA_ENDS = frozenset({"collected", "lost"})


def _few() -> deque[dict[str, Any]]:
    return deque(maxlen=EVENTS_KEPT)


@dataclass(slots=True)
class MonitoredNode:
    """A node, or a worker of one.

    Attributes:
        uid: Its name.
        state: `alive` or `left`.
        sub_resources: Its workers that live, by uid.
        facts: What is measured there, by name. Of a worker: `running`, `queued`, `done` and `failed`
            calls, `tesserae`, `memory` (held, or promised to calls), `memory_limit`, `committed` and, of
            the machine, `memory_available` [B], `cpu_load` [%], and `reports`, how often it has told
            them. Of a node: the sums.
    """

    uid: str
    state: str = "alive"
    sub_resources: dict[str, MonitoredNode] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class MonitoredTask:
    """A call of a tessera.

    Attributes:
        uid: Its name.
        tessera: Uid of the tessera.
        state: `pending`, `queued`, `running`, `done`, `failed`, or `lost` with its worker.
        worker: Uid of the worker, where that is known.
        method: What is called.
        events: What was told of it last, the newest at the end.
        profiles: The same of its measurements.
    """

    uid: str
    tessera: str = ""
    state: str = "pending"
    worker: str = ""
    method: str = ""
    events: deque[dict[str, Any]] = field(default_factory=_few)
    profiles: deque[dict[str, Any]] = field(default_factory=_few)


@dataclass(slots=True)
class MonitoredTessera:
    """A tessera.

    Attributes:
        uid: Its name.
        class_name: Its class.
        worker: Uid of its worker.
        state: `placed`, `collected` or `lost`.
        incarnation: How often it was constructed, from 1.
        unfinished: How many of its calls have not ended, as its worker told last.
        events: What was told of it last, the newest at the end.
        profiles: The same of its measurements.
    """

    uid: str
    class_name: str = ""
    worker: str = ""
    state: str = "placed"
    incarnation: int = 1
    unfinished: int = 0
    events: deque[dict[str, Any]] = field(default_factory=_few)
    profiles: deque[dict[str, Any]] = field(default_factory=_few)
