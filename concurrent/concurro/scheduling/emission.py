"""What OUT lists, made into records: classes of tasks, and tasks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.records import TaskClass, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from concurro.records import SystemRecord


def learn_classes(system: SystemRecord, entries: Iterable[list[Any]]) -> None:
    """Add task classes to a system, as an OUT message lists them."""
    for number, name, priority, timeout, max_retries, requires, payload, blobs in entries:
        task_class = system.classes[number] = TaskClass(
            number,
            name,
            priority=priority,
            timeout=timeout,
            max_retries=max_retries,
            requires=requires,
            code=(payload, blobs),
        )
        task_class.join(system.kinds.setdefault(task_class.slave_key, task_class))


def open_tasks(system: SystemRecord, first: int, entries: list[list[Any]]) -> list[TaskRecord]:
    """Add tasks to the open ones of a system; return them.

    All, or none.

    Args:
        system: It.
        first: Number of the first.
        entries: As an OUT message lists them: `[class, payload]` or `[class, payload, blobs]`.

    Raises:
        ProtocolError: A task's class was never announced, or its number is that of an open one.
    """
    classes = system.classes
    tasks: dict[int, TaskRecord] = {}
    with_blobs: list[list[Any]] = []
    size = 0
    number = first
    for entry in entries:
        task_class = classes.get(entry[0])
        if task_class is None:
            message = f"task {system.system_id}:{number} is of class {entry[0]}, which was never announced"
            raise ProtocolError(message)
        blobs = entry[2] if len(entry) > 2 else None  # noqa: PLR2004 - [class, payload, blobs]
        tasks[number] = TaskRecord(system, number, task_class, entry[1], blobs)
        size += len(entry[1])
        if blobs is not None:
            with_blobs.append(blobs)
        number += 1
    if not system.open.keys().isdisjoint(tasks):
        message = f"system {system.system_id} emits a task under the number of an open one"
        raise ProtocolError(message)
    system.open.update(tasks)
    system.open_bytes += size + sum(system.blob_use.add(blobs) for blobs in with_blobs)
    return list(tasks.values())
