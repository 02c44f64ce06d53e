"""A task system from its submission until its result is forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any

from concurro.ids import Failure, Outcome, SystemRecord
from concurro.scheduling.flow import InputFlow
from concurro.scheduling.news import News

if TYPE_CHECKING:
    from collections.abc import Hashable

DEFAULT_TTL = 86_400.0
"""How long the result of a detached system is kept [s]."""


@dataclass(slots=True)
class SystemLife:
    """A task system from its submission until its result is forgotten.

    Attributes:
        notices: What its listeners are to be told.
        noticed: Hashes of the notices that there were: each is told once.
        told: The counts that its followers were told.
        known_to: Peers that follow or own it, or did.
        shortest: Duration of its shortest task class when that was looked for [s].
        shortest_at: When that was [s].
    """

    record: SystemRecord
    payload: bytes
    blobs: list[Any] | None
    options: dict[str, Any]
    owner: Hashable | None
    submitted_at: float
    seed: int
    implicit: bool = False
    followers: set[Hashable] = field(default_factory=set)
    flow: InputFlow = field(default_factory=InputFlow)
    result: list[Any] | None = None
    ended_at: float | None = None
    orphan_since: float | None = None
    cancel_by: float | None = None
    progress: list[Any] | None = None
    client: str = ""
    notices: list[str] = field(default_factory=list)
    idle_noticed: bool = False
    told: tuple[int, ...] = ()
    view_at: float = -1e9
    accepted: bool = False
    spooling: int = 0
    news: News = field(default_factory=News)
    round: int = 0
    host_pid: int | None = None
    noticed: set[int] = field(default_factory=set)
    known_to: set[Hashable] = field(default_factory=set)
    shortest: float | None = None
    shortest_at: float = -inf

    @property
    def listeners(self) -> tuple[Hashable, ...]:
        """Who is told what it prints, what is odd about it, and its end."""
        if self.implicit:
            return () if self.owner is None else (self.owner,)
        return tuple(self.followers)

    @property
    def host(self) -> Hashable:
        """The peer that runs the system."""
        return self.owner if self.implicit else ("host", self.record.number)


def count_tasks(record: SystemRecord) -> dict[str, int]:
    """Return the tasks of a system by state."""
    return {
        "queued": len(record.open) - record.leased,
        "leased": record.leased,
        "done": record.done,
        "failed": record.failed,
        "cancelled": record.cancelled,
    }


def fault_of_options(options: dict[str, Any]) -> str:
    """Say what is wrong with the options of a submission; empty if nothing."""
    weight, ttl = options.get("weight", 1.0), options.get("ttl", DEFAULT_TTL)
    if not isinstance(weight, Real) or not 0 < float(weight) < inf:
        return f"weight must be a number above 0, got {weight!r}"
    if not isinstance(ttl, Real) or not float(ttl) >= 0:
        return f"ttl must be 0 seconds or more, got {ttl!r}"
    return ""


def failure_result(type_name: str, message: str) -> list[Any]:
    """Return the result of a system that failed, as ENDED carries it."""
    return [int(Outcome.RAISED), list(Failure(type_name, message)), None]
