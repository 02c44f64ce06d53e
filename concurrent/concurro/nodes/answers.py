"""What a master answers when people ask.

Plain values, fit for msgpack and JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.life import SystemLife
    from concurro.scheduling.systems import SystemTable

STATUS_VERSION = 1


def describe_slaves(core: SchedulerCore, pids: dict[str, tuple[int, list[int]]]) -> list[dict[str, Any]]:
    """Return every slave; `pids` has its agent's and its workers' process ids."""
    return [
        {
            "id": slave.id,
            "host": slave.host,
            "pid": pids.get(slave.id, (0, []))[0],
            "workers": slave.workers,
            "worker_pids": list(pids.get(slave.id, (0, []))[1]),
            "running": slave.running,
            "queued": slave.queued,
            "finished": slave.finished,
            "rating": slave.rating,
            "resources": slave.resources,
            "sick": slave.sick,
            "draining": slave.draining,
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
        "weight": record.weight,
        "open": len(record.open),
        "leased": record.leased,
        "done": record.done,
        "failed": record.failed,
        "cancelled": record.cancelled,
        "progress": life.progress,
        "elapsed": (life.ended_at or now) - life.submitted_at,
        "host_pid": life.host_pid,
    }


def describe_status(
    core: SchedulerCore, table: SystemTable, pids: dict[str, tuple[int, list[int]]], now: float, facts: dict[str, Any]
) -> dict[str, Any]:
    """Return the whole state of a master."""
    return {
        "version": STATUS_VERSION,
        **facts,
        "slaves": describe_slaves(core, pids),
        "systems": [describe_system(life, now) for life in table.lives()],
        "stale_results": core.stale_results,
        "shadow": getattr(core.scheduler, "shadow_report", None),
    }


def explain(core: SchedulerCore, table: SystemTable, wanted: str, now: float) -> str:
    """Return why a task, or a system, is where it is.

    Raises:
        LookupError: There is no such system.
    """
    if ":" in wanted:
        sentence: str = core.scheduler.explain(wanted)
        return sentence
    life = table.find(wanted)
    if life is None:
        message = f"no system {wanted}"
        raise LookupError(message)
    return explain_system(core, life, now)


def explain_system(core: SchedulerCore, life: SystemLife, now: float) -> str:
    """Return one true sentence about a system."""
    record = life.record
    who = f"System {record.system_id} ({record.name})"
    if record.state.ended:
        if life.news.waiting:
            who = f"{who}, whose result waits until its partial results were taken,"
        return f"{who} ended: {record.state.value}; {record.done} tasks done, {record.failed} failed."
    if record.state.value == "starting":
        return f"{who} is starting its host."
    reason = _why_it_waits(core, life, now)
    if reason:
        return f"{who} {reason}."
    waiting = len(record.open) - record.leased
    ended = f"{record.done} done, {record.failed} failed"
    return f"{who} runs: {record.leased} tasks are leased, {waiting} queued, {ended}."


def _why_it_waits(core: SchedulerCore, life: SystemLife, now: float) -> str:
    """Say what a running system waits for; empty when its tasks run."""
    if life.news.waiting:
        followers = "application" if len(life.followers) == 1 else f"{len(life.followers)} applications"
        size = life.news.size / 2**20
        return f"waits: {size:.1f} MiB of its partial results were not taken by its {followers} yet"
    oldest = life.flow.oldest()
    if oldest is not None and now - oldest > 1.0:
        return f"is inside its own callbacks for {now - oldest:.0f} s (host process {life.host_pid})"
    tasks = f"{len(life.record.open)} tasks are open"
    if not core.slaves:
        return f"waits: no slave is connected; {tasks}"
    sick = [f"{slave.id} ({slave.sick})" for slave in core.slaves.values() if slave.sick]
    if len(sick) == len(core.slaves):
        return f"waits: every slave is sick: {', '.join(sick)}; {tasks}"
    return ""
