"""Two attempts of one task: which of them is the current one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurro.records import TaskRecord


def keep_other(task: TaskRecord, lease: int) -> None:
    """Forget one of the two leases of a task; the other is the current one."""
    copy, task.copy = task.copy, None
    if copy is not None and lease != copy.lease:
        task.lease = copy.lease
        task.slave_id = copy.slave_id
        task.attempt = copy.attempt
        task.leased_at = copy.leased_at
        task.charged = 0.0  # both were charged; what the other was stands


def keep_only(task: TaskRecord, lease: int) -> tuple[str, int]:
    """Make one of the two leases of a task the only one.

    Return slave and lease of the other.
    """
    copy = task.copy
    if copy is None:
        return "", 0
    other = (task.slave_id or "", task.lease) if lease == copy.lease else (copy.slave_id, copy.lease)
    keep_other(task, other[1])
    return other
