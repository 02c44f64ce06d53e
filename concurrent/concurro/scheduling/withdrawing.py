r"""Tasks that their emitter wants no more, unless they have started or not.

cancelled -------> forgotten, or killed where they run
unstarted, queued -> forgotten
unstarted, leased -> RECALL --> RETURNED: forgotten
                          \--> STARTED, or a result: it goes on, and ends as it ends
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.ids import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from concurro.records import SystemRecord
    from concurro.scheduling.core import SchedulerCore


def cancel_emitted(
    core: SchedulerCore, system: SystemRecord, cancelled: Sequence[int], unstarted: Iterable[int]
) -> None:
    """Cancel open tasks.

    Args:
        core: Has the leases.
        system: Whose tasks they are.
        cancelled: Numbers of those that are ended wherever they are.
        unstarted: Numbers of those that are ended unless they have started.
    """
    if cancelled:
        core.cancel_tasks(system, cancelled)
    found = [system.open[number] for number in unstarted if number in system.open]
    if not found:
        return
    core.cancel_tasks(system, [task.number for task in found if not task.lease])
    leased = [task for task in found if task.lease]
    for task in leased:
        task.outcome = Outcome.CANCELLED  # what it came to if it comes back: see `SchedulerCore.returned`
    core.take_back([task.lease for task in leased])
