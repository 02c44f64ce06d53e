"""Whether a failed attempt is tried again.

A task is final at its first raised exception, timeout or memory kill when `max_retries`
is None; with a number, those are retried that many times. A lost worker is retried until
`crash_limit` started attempts were lost or `max_retries` is used up, whichever comes
first. The loss of a whole slave is not charged to the crash budget and ends at
`slave_loss_limit`. `max_retries=0` means at most once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.ids import Failure, Outcome

if TYPE_CHECKING:
    from concurro.records import TaskRecord

_OWN_FAULTS = (Outcome.RAISED, Outcome.TIMEOUT, Outcome.MEMORY)
_HOPELESS = (Outcome.NOT_PICKLABLE, Outcome.NOT_LOADED, Outcome.CANCELLED)


def is_tried_again(task: TaskRecord, crash_limit: int, slave_loss_limit: int) -> bool:
    """Decide after an attempt that failed; `task.outcome` says how."""
    outcome, limit = task.outcome, task.task_class.max_retries
    if outcome in _HOPELESS:
        return False
    if outcome in _OWN_FAULTS:
        return limit is not None and task.attempt <= limit
    if limit is not None and task.attempt > limit:
        return False
    if outcome is Outcome.LOST:
        return task.crashes < crash_limit
    return task.slave_losses < slave_loss_limit


def failure_of(outcome: Any, value: Any) -> Failure:
    """Return the failure of a result.

    Raises:
        ProtocolError: It is none.
    """
    try:
        Outcome(outcome)
        type_name, message, *rest = value
    except (ValueError, TypeError):
        type_name = message = None
        rest = []
    if not (isinstance(type_name, str) and isinstance(message, str)):
        text = f"a result says neither that the task is done nor how it failed: {outcome!r}"
        raise ProtocolError(text)
    return Failure(type_name, message, *rest[:2])
