"""Sentences about tasks and systems: why something is where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.ids import parse_task_id

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


def explain_queued(task_id: str, host: Any, queue: FairQueue) -> str:  # noqa: PLR0911 - one sentence per reason
    """Return one true sentence about an open task."""
    system, task = find_task(host, task_id)
    if system is None:
        return f"No running system has a task {task_id}."
    if task is None:
        return f"Task {task_id} is final, or was not emitted yet."
    if task.lease:
        retry = f", attempt {task.attempt}" if task.attempt > 1 else ""
        return f"Task {task_id} is leased to slave {task.slave_id}{retry}."
    if not host.slaves:
        return f"Task {task_id} waits: no slave is connected."
    unfit = explain_requires(host, task)
    if unfit:
        return f"Task {task_id} waits: {unfit}."
    sick = [f"{slave.id} ({slave.sick})" for slave in host.slaves.values() if slave.sick]
    if len(sick) == len(host.slaves):
        return f"Task {task_id} waits: every slave is sick: {', '.join(sick)}."
    ahead = _tasks_ahead(system, task, queue)
    again = f" again after attempt {task.attempt}" if task.attempt else ""
    return f"Task {task_id} is queued{again}: every worker is busy, and {ahead} tasks of its system are before it."


def explain_requires(host: Any, task: TaskRecord) -> str:
    """Say which requirement no connected slave can meet; empty when one can."""
    requires = task.requires
    slaves = host.slaves.values()
    if not requires or any(
        all(slave.resources.get(name, 0.0) >= amount for name, amount in requires.items()) for slave in slaves
    ):
        return ""
    offered = sorted({name for slave in slaves for name in slave.resources})
    wanted = ", ".join(f"{name}={amount:g}" for name, amount in sorted(requires.items()))
    names = ", ".join(offered) if offered else "nothing but workers"
    return f"no slave offers {wanted}; {len(host.slaves)} connected, they offer {names}"


def _tasks_ahead(system: SystemRecord, task: TaskRecord, queue: FairQueue) -> int:
    queued = queue.systems.get(system.number)
    if queued is None:
        return 0
    ahead = 0
    for class_queue in queued.order:
        if class_queue.task_class.priority > task.priority:
            ahead += len(class_queue.tasks)
        elif class_queue.task_class.priority == task.priority:
            ahead += sum(1 for other in class_queue.tasks if other.number < task.number)
    return ahead
