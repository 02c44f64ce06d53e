"""What a slave tells a restarted master of the leases that it holds. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.wire.stamps import stamp_of

if TYPE_CHECKING:
    from concurro.execution.crew import Crew
    from concurro.execution.ready_queue import ReadyQueue
    from concurro.execution.slave_records import Entry, TaskCode


def describe_held(
    ended: dict[int, Entry], crew: Crew, ready: ReadyQueue, codes: dict[tuple[int, int], TaskCode]
) -> list[list[Any]]:
    """Return the entries of INVENTORY, without those of forgotten classes.

    Args:
        ended: Leases whose results were not acknowledged.
        crew: The workers, and what they were posted.
        ready: What waits for one.
        codes: Classes by (system, class).
    """
    killed = {lease for worker in crew for lease in worker.killed}
    entries = [*ended.values(), *(entry for worker in crew for entry in worker.outstanding()), *ready]
    held = []
    for lease, system, number_of_class, number, attempt, payload, blobs in entries:
        code = codes.get((system, number_of_class))
        if code is not None and lease not in killed:
            content, parts = code.announcement[3:5]
            stamp = stamp_of(code.name, (content, parts), payload, blobs)
            held.append([lease, system, code.generation, number, attempt, stamp])
    return held
