"""Sentences about tasks and systems: why something is where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.ids import Outcome, parse_task_id
from concurro.scheduling.resources import covers, format_amounts

if TYPE_CHECKING:
    from concurro.ids import SystemRecord, TaskRecord
    from concurro.scheduling.queue import FairQueue


def find_task(host: Any, task_id: str) -> tuple[SystemRecord | None, TaskRecord | None]:
    """Return the live system of a task and its record, if it is open."""
    system_id, number = parse_task_id(task_id)
    for system in host.systems.values():
        if system.system_id == system_id:
            return system, system.open.get(number)
    return None, None


def explain_queued(task_id: str, host: Any, queue: FairQueue) -> str:
    """Return one true sentence about an open task."""
    system, task = find_task(host, task_id)
    if system is None:
        return f"No running system has a task {task_id}."
    if task is None:
        return f"Task {task_id} is final, or was not emitted yet."
    if task.lease:
        retry = f", attempt {task.attempt}" if task.attempt > 1 else ""
        return f"Task {task_id} is leased to slave {task.slave_id}{retry}{explain_wait(host, task)}."
    hindrance = explain_hindrance(host, task)
    if hindrance:
        return f"Task {task_id} waits: {hindrance}."
    again = f" again after attempt {task.attempt}" if task.attempt else ""
    workers = "every worker is busy" if _all_busy(host) else "a worker is free"
    return f"Task {task_id} is queued{again}: {workers}, and {_count_ahead(system, task, queue)} before it."


def explain_wait(host: Any, task: TaskRecord) -> str:
    """Say for what a leased task waits, its slot lent; empty when it does not."""
    slave = host.slaves.get(task.slave_id)
    what = slave.waits.get(task.lease) if slave is not None else None
    return f"; it waits for {what}, its slot is lent" if what else ""


def explain_hindrance(host: Any, task: TaskRecord) -> str:
    """Say why no slave could take the task even with free workers.

    Empty when one could.
    """
    if not host.slaves:
        return "no slave is connected"
    unfit = explain_requires(host, task)
    if unfit:
        return unfit
    slaves = list(host.slaves.values())
    fitting = [slave for slave in slaves if covers(slave.resources, task.requires)]
    usable = [slave for slave in fitting if not slave.sick and not slave.draining]
    if not usable:
        reasons = ", ".join(f"{slave.id} ({slave.sick or 'it is leaving'})" for slave in fitting)
        which = "every slave" if len(fitting) == len(slaves) else "every slave that offers what it requires"
        state = "is sick" if all(slave.sick for slave in fitting) else "is sick or leaving"
        return f"{which} {state}: {reasons}"
    if not any(covers(slave.free, task.requires) for slave in usable):
        return f"other tasks have taken the {format_amounts(task.requires)} that it requires"
    return ""


def explain_requires(host: Any, task: TaskRecord) -> str:
    """Say which requirement no connected slave can meet; empty when one can."""
    requires = task.requires
    slaves = host.slaves.values()
    if not requires or any(covers(slave.resources, requires) for slave in slaves):
        return ""
    offered = sorted({name for slave in slaves for name in slave.resources})
    names = ", ".join(offered) if offered else "nothing but workers"
    return f"no slave offers {format_amounts(requires)}; {len(host.slaves)} connected, they offer {names}"


def _all_busy(host: Any) -> bool:
    usable = (slave for slave in host.slaves.values() if not slave.sick and not slave.draining)
    return all(len(slave.leases) >= slave.workers for slave in usable)


def _count_ahead(system: SystemRecord, task: TaskRecord, queue: FairQueue) -> str:
    """Say how many tasks of its system stand before a task."""
    queued = queue.systems.get(system.number)
    ahead = 0
    for class_queue in queued.by_class.values() if queued is not None else ():
        priority = class_queue.task_class.priority
        if priority >= task.priority:
            ahead += sum(
                1
                for other in class_queue.tasks
                if other.outcome is not Outcome.CANCELLED and (priority > task.priority or other.number < task.number)
            )
    return f"{ahead} task of its system is" if ahead == 1 else f"{ahead} tasks of its system are"
