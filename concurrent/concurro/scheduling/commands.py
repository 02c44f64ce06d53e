"""What a table of systems wants done: sends, hosts, blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from concurro.scheduling.rows import Row
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
class Reread:
    """Read the recorded course of a system, then call `SystemTable.reread`."""

    system: int


@dataclass(slots=True)
class HostBack:
    """Ask a host again for the blobs that the one before it was asked for."""

    system: int


@dataclass(slots=True)
class KeepBlobs:
    """Let blobs that are in the spool stay there for another owner."""

    owner: Hashable
    blobs: list[bytes]


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


@dataclass(slots=True)
class Record:
    """Write rows to the journal, then call `SystemTable.recorded(token)`.

    Attributes:
        token: What to call it with.
        rows: What to write.
        blobs: Digests of what must be kept with them; the spool has their bytes.
        system: Whose rows they are.
        size: Bytes of the rows, about, without the blobs [B].
    """

    token: int
    rows: list[Row]
    blobs: list[bytes]
    system: int
    size: int = 0


def offers_of(peer: Hashable, system: int, classes: list[list[Any]], tasks: list[list[Any]]) -> list[OfferBlobs]:
    """Return what notes that a host has the large parts of what it emitted."""
    blobs = [blob for entry in classes for blob in entry[7] or ()]
    blobs += [blob for entry in tasks if len(entry) > 2 for blob in entry[2] or ()]  # noqa: PLR2004 - [class, payload, blobs]
    return [OfferBlobs(peer, blobs, system)] if blobs else []


def acknowledgements(leases: Iterable[tuple[str, int] | None]) -> list[Acknowledge]:
    """Return what tells each slave that its results are safe.

    Args:
        leases: Slave id and lease of each result; None of what ended without one.
    """
    by_slave: dict[str, list[int]] = {}
    slave_id: str | None = None
    mine: list[int] = []
    for reported in leases:
        if reported is None:
            continue
        if reported[0] != slave_id:
            slave_id = reported[0]
            mine = by_slave.setdefault(slave_id, [])
        mine.append(reported[1])
    return [Acknowledge(slave_id, mine) for slave_id, mine in by_slave.items()]
