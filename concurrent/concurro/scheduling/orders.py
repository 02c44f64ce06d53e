"""What follows from a batch of events in the scheduler core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurro.records import SystemRecord, TaskClass


class SlaveOrders:
    """What one slave is to be told."""

    __slots__ = ("classes", "forgets", "held", "kills", "leases", "recalls")

    def __init__(self) -> None:
        self.classes: list[list[Any]] = []
        self.leases: list[list[Any]] = []
        self.held: list[tuple[list[Any], int]] = []  # leases that wait for the journal, and the crashes of each task
        self.recalls: list[int] = []
        self.kills: list[int] = []
        self.forgets: list[int] = []


class Commands:
    """What follows from a batch of events.

    Attributes:
        orders: Slave id to what it is to be told.
        finished: System number to entries of final tasks, as in an IN message.
        leases_of: System number to the (slave id, lease) that each of them came with, to acknowledge; None where none.
        settled: Slave id to leases whose results nobody wants; acknowledge them at once.
        crashed: `(system, task, crashes, slave id, lease)` of attempts that took their worker with them and are
            tried again; acknowledge each once that is in the journal.
        warnings: System number and text for the applications that follow it.
    """

    __slots__ = ("crashed", "finished", "leases_of", "orders", "settled", "warnings")

    def __init__(self) -> None:
        self.orders: dict[str, SlaveOrders] = {}
        self.finished: dict[int, list[list[Any]]] = {}
        self.leases_of: dict[int, list[tuple[str, int] | None]] = {}
        self.crashed: list[tuple[int, int, int, str, int]] = []
        self.settled: dict[str, list[int]] = {}
        self.warnings: list[tuple[int, str]] = []

    def __bool__(self) -> bool:
        return bool(self.orders or self.finished or self.settled or self.crashed or self.warnings)

    def finals_of(self, system: int) -> tuple[list[list[Any]], list[tuple[str, int] | None]]:
        """Return the final tasks of a system and their leases.

        Both are to be added to.
        """
        finished = self.finished.get(system)
        if finished is None:
            finished = self.finished[system] = []
            self.leases_of[system] = []
        return finished, self.leases_of[system]


def class_entry(system: SystemRecord, task_class: TaskClass) -> list[Any]:
    """Return what CLASSES says of a class."""
    payload, blobs = task_class.code
    return [
        system.number,
        task_class.slave_number,
        task_class.name,
        task_class.timeout,
        task_class.requires,
        payload,
        blobs,
        system.system_id,
        system.generation,
        task_class.max_retries == 0,
    ]
