"""What a master answers when people ask.

Plain values, fit for msgpack and JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.ids import format_task_id, parse_task_id
from concurro.nodes.standing import explain_past, explain_system, find_stuck
from concurro.scheduling.explain import explain_final

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.life import SystemLife
    from concurro.scheduling.systems import SystemTable

STATUS_VERSION = 1

OPERATOR_REQUESTS = frozenset({"remove_slave"})
"""Questions that change what belongs to everybody: for admins only."""


def describe_slaves(core: SchedulerCore, pids: dict[str, tuple[int, list[int]]]) -> list[dict[str, Any]]:
    """Return every slave; `pids` has its agent's and its workers' process ids."""
    return [
        {
            "id": slave.id,
            "host": slave.host,
            "pid": pids.get(slave.id, (0, []))[0],
            "workers": slave.workers,
            "lent": slave.lent,
            "worker_pids": list(pids.get(slave.id, (0, []))[1]),
            "running": slave.running,
            "queued": slave.queued,
            "finished": slave.finished,
            "rating": slave.rating,
            "resources": slave.resources,
            "sick": slave.sick,
            "draining": slave.draining,
            "stopped": slave.stopped,
        }
        for slave in core.slaves.values()
    ]


def describe_system(life: SystemLife, now: float) -> dict[str, Any]:
    """Return one system."""
    record = life.record
    return {
        "system_id": record.system_id,
        "name": record.name,
        "state": record.state.value,
        "implicit": life.implicit,
        "detached": bool(life.options.get("detach")),
        "application": record.application,
        "weight": record.weight,
        "open": len(record.open),
        "leased": record.leased,
        "done": record.done,
        "failed": record.failed,
        "cancelled": record.cancelled,
        "progress": life.progress,
        "elapsed": (life.ended_at or now) - life.submitted_at,
        "age": now - life.submitted_at,
        "host_pid": life.host_pid,
        "restarts": life.restarted,
    }


def describe_status(
    core: SchedulerCore, table: SystemTable, pids: dict[str, tuple[int, list[int]]], now: float, facts: dict[str, Any]
) -> dict[str, Any]:
    """Return the whole state of a master."""
    return {
        "version": STATUS_VERSION,
        **facts,
        "slaves": describe_slaves(core, pids),
        "systems": [describe_system(life, now) | {"stuck": find_stuck(core, life.record)[1]} for life in table.lives()],
        "stale_results": core.stale_results,
        "shadow": getattr(core.scheduler, "shadow_report", None),
    }


def explain(
    core: SchedulerCore,
    table: SystemTable,
    wanted: str,
    now: float,
    callback: Callable[[int], str] = lambda number: "",  # noqa: ARG005 - who has no hosts knows none
) -> str:
    """Return why a task, or a system, is where it is.

    Args:
        core: The master's.
        table: The master's.
        wanted: Id of a task or a system, or the beginning of that.
        now: Monotonic time [s].
        callback: Says in which callback the host of a system is, by the system's number.

    Raises:
        LookupError: There is no such system, and was none lately.
        ValueError: `wanted` has a colon and is no task id.
    """
    system_id, number = parse_task_id(wanted) if ":" in wanted else (wanted, None)
    life = table.find(system_id)
    if life is None:
        return explain_past(table, system_id, number, now)
    if number is None:
        return explain_system(core, table, life, now, callback(life.record.number))
    if number not in life.record.open:
        return explain_final(life.record, number)
    sentence: str = core.scheduler.explain(format_task_id(life.record.system_id, number))
    return sentence
