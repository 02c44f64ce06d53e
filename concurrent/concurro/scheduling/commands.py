"""What a table of systems wants done: sends, hosts, blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.wire.messages import Kind


@dataclass(slots=True)
class Send:
    """Send a message to a peer."""

    peer: Hashable
    kind: Kind
    body: list[Any]


@dataclass(slots=True)
class StartHost:
    """Start the process that runs a system."""

    system: int


@dataclass(slots=True)
class StopHost:
    """End the process of a system; its peer is gone from now on."""

    system: int


@dataclass(slots=True)
class Acknowledge:
    """Tell a slave that results are safe."""

    slave_id: str
    leases: list[int]


@dataclass(slots=True)
class Spool:
    """Fetch blobs into the spool, then call `SystemTable.spooled(token)`."""

    peer: Hashable
    blobs: list[Any]
    token: Any
    owner: Hashable


@dataclass(slots=True)
class OfferBlobs:
    """Note who can serve blobs."""

    peer: Hashable
    blobs: list[Any]
    owner: Hashable


@dataclass(slots=True)
class DropBlobs:
    """Forget the blobs of an owner."""

    owner: Hashable
