"""Ids, enums and records that several layers share.

Ids on the wire are integers; `task_id`, `system_id` and a slave's id are texts for
people. These records are frozen; those of the master's tables are in `records`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple

LEASE_COUNTER_BITS = 40


def make_lease(epoch: int, counter: int) -> int:
    """Return the lease number: never reused, not even by a later master."""
    return epoch << LEASE_COUNTER_BITS | counter


def format_task_id(system_id: str, number: int) -> str:
    """Return the id of a task as people see it."""
    return f"{system_id}:{number}"


def parse_task_id(task_id: str) -> tuple[str, int]:
    """Split a task id into system id and number.

    Raises:
        ValueError: `task_id` is not of the form `<system_id>:<number>`.
    """
    system_id, colon, number = task_id.rpartition(":") if isinstance(task_id, str) else ("", "", "")
    if not colon or not number.isdigit():
        message = f"{task_id!r} is not a task id; one looks like <system_id>:<number>"
        raise ValueError(message)
    return system_id, int(number)


class Role(Enum):
    """What a peer is to the master."""

    SLAVE = "slave"
    APPLICATION = "application"
    HOST = "host"
    ADMIN = "admin"


class Outcome(IntEnum):
    """How an attempt ended. The numbers are on the wire."""

    DONE = 0
    RAISED = 1
    TIMEOUT = 2
    LOST = 3  # the worker died while it ran the task
    MEMORY = 4
    CANCELLED = 5
    NOT_PICKLABLE = 6  # the task ran, its result cannot travel
    NOT_LOADED = 7  # the task could not be rebuilt on the worker
    SLAVE_LOST = 8  # the whole slave went away; not charged to the crash budget


class SystemState(Enum):
    """Where a task system stands."""

    STARTING = "starting"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (SystemState.STARTING, SystemState.RUNNING)


class BlobRef(NamedTuple):
    """The name of immutable bytes: BLAKE2b-256 digest and size [B]."""

    digest: bytes
    size: int


MOST_OF_A_LINE = 200
"""Characters of an error's message that fit into a sentence."""


class Failure(NamedTuple):
    """Why an attempt failed, as it travels.

    All plain, never unpickled on the way.
    """

    type_name: str
    message: str
    traceback: str = ""
    pickled: bytes | None = None  # the exception, when it survives a round trip

    @property
    def brief(self) -> str:
        """Type and first line of the message, for sentences."""
        line, *more = self.message.strip().split("\n", 1)
        if len(line) > MOST_OF_A_LINE:
            line, more = line[:MOST_OF_A_LINE].rstrip(), [line]
        return f"{self.type_name}: {line}{' ...' if more else ''}" if line else self.type_name


class ServiceWorker(NamedTuple):
    """A worker for services.

    Attributes:
        address: Names this very process, for good: what `service(name, worker)` takes.
        slave_id, pid: Its slave, its process id.
    """

    address: str
    slave_id: str
    pid: int


class Ending(NamedTuple):
    """How a task ended that was not done.

    Attributes:
        outcome: Of its last attempt.
        reason: Type and first line of the error; empty when nobody told it.
        slave_id: Slave of the last attempt; None when there was none.
        attempt: Its number; 0 when there was none.
    """

    outcome: Outcome
    reason: str
    slave_id: str | None
    attempt: int


MOST_ENDINGS = 100
"""Of so many tasks of one system that were not done it is kept how they ended."""


@dataclass(frozen=True, slots=True)
class SlaveView:
    """A slave as a task system, a user or the command line sees it.

    Attributes:
        id: Unique name, made by the master from the host name.
        host: Host name.
        workers: Worker processes.
        running: Tasks that run now (at most `workers`).
        queued: Tasks sent ahead that have not started.
        rating: The strategy's rating; less is better.
        resources: Name to amount offered.
    """

    id: str
    host: str
    workers: int
    running: int = 0
    queued: int = 0
    rating: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """How far a task system is.

    Attributes:
        done: As `report_progress` said; without it, finished tasks.
        total: As `report_progress` said; None when unknown.
        message: As `report_progress` said.
        counts: Tasks by state: `queued, leased, done, failed, cancelled`.
        elapsed: Seconds since the master accepted the system [s].
    """

    done: int = 0
    total: int | None = None
    message: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    elapsed: float = 0.0
