"""What a table of systems wants done: sends, hosts, blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from concurro.records import SystemRecord
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
class DropUnused:
    """Forget some blobs of an owner."""

    owner: Hashable
    digests: list[bytes]


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


def offers_of(
    peer: Hashable, system: SystemRecord, classes: list[list[Any]], first: int, tasks: list[list[Any]]
) -> list[OfferBlobs]:
    """Return what notes that a host has the large parts of what it emitted.

    Those of a class stay as long as its system, those of tasks while one that is open uses them.
    """
    code = [blob for entry in classes for blob in entry[7] or ()]
    parts = [
        blob
        for number, entry in enumerate(tasks, first)
        if len(entry) > 2 and entry[2] and number in system.open  # noqa: PLR2004 - [class, payload, blobs]
        for blob in entry[2]
    ]
    owners = ((system.number, code), (tasks_of(system.number), parts))
    return [OfferBlobs(peer, blobs, owner) for owner, blobs in owners if blobs]


def unused_of(system: SystemRecord) -> list[DropUnused]:
    """Return what forgets the large parts that no open task uses any more.

    Whatever offered them is to be done before.
    """
    unused, system.unused = system.unused, []
    gone = [digest for digest in unused if digest not in system.blob_use]
    return [DropUnused(tasks_of(system.number), gone)] if gone else []


def tasks_of(system: int) -> Hashable:
    """Return who owns the large parts of a system's open tasks."""
    return "tasks", system


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
