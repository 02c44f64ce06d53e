"""What the monitor knows of nodes, tasks and tesserae."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class MonitoredNode:
    """A node, or a worker of one.

    Attributes:
        uid: Its name.
        state: `alive` or `left`.
        sub_resources: Its workers by uid.
        facts: What is measured there, by name.
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
        state: `pending`, `queued`, `done` or `failed`.
    """

    uid: str
    tessera: str = ""
    state: str = "pending"


@dataclass(slots=True)
class MonitoredTessera:
    """A tessera.

    Attributes:
        uid: Its name.
        class_name: Its class.
        worker: Uid of its worker.
        state: `placed`, `collected` or `lost`.
        incarnation: How often it was constructed, from 1.
    """

    uid: str
    class_name: str = ""
    worker: str = ""
    state: str = "placed"
    incarnation: int = 1
