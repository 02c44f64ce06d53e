"""What a master's journal keeps of a task manager, and how it comes back.

Keys are `kind/length of the label/label/rest`; values are plain. What is large is written once: the
parts of parameters and results have rows of their own, which only come and go with their task.

    queue              origin, numbers in use, terminated, dropped
    task/ID            the task, without its values
    parameters/ID/N    a part of them            result/ID/N    alike
    process/ID         a registered process
    data/NAME          number of its parts       value/N/NAME   a part of a data item
    answer/SESSION/N   what was answered to a request that changed something
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from concurro_tagqueue.records import Process, State, TaggedTask

if TYPE_CHECKING:
    from concurro_tagqueue.core import TaskManagerCore

RESERVED = 10_000
"""So many ids are written down as used at once: a restart begins behind them."""


class Kept(NamedTuple):
    """What the journal had of one label.

    Attributes:
        facts: Row `queue`: origin, next task, next process, terminated, dropped.
        tasks: Its tasks.
        processes: Its processes.
        stored: Its data items.
        answers: Session and number of a request to its answer.
    """

    facts: list[Any]
    tasks: list[TaggedTask]
    processes: list[Process]
    stored: dict[str, list[bytes]]
    answers: dict[tuple[str, int], list[Any]]


class Rows:
    """Writes what changed in a core as rows of one label.

    Args:
        label: Of the task manager.
        core: It.
        origin: A name that no other task manager has, before or after.
    """

    def __init__(self, label: str, core: TaskManagerCore, origin: str) -> None:
        self.core = core
        self.origin = origin
        self._label = label
        self._used = (0, 0)
        self._parts: dict[str, int] = {}

    def key(self, kind: str, rest: str = "") -> str:
        """Return the key of a row."""
        return f"{kind}/{len(self._label)}/{self._label}/{rest}"

    def changes(self) -> dict[str, Any]:
        """Return the rows of what changed since the last call; None removes one."""
        core = self.core
        rows: dict[str, Any] = {}
        changed, core.changed = core.changed or set(), set()
        if changed and self._reserve():
            changed.add(("counters", None))
        for kind, name in changed:
            if kind == "task":
                self._task(rows, name, core.tasks.get(name))
            elif kind == "process":
                process = core.processes.get(name)
                row = None if process is None else [process.info, process.period, process.session]
                rows[self.key("process", str(name))] = row
            elif kind == "data":
                self._data(rows, name, core.stored.get(name))
            else:
                rows[self.key("queue")] = [self.origin, *self._used, core.terminated, core.dropped]
        return rows

    def erased(self) -> dict[str, Any]:
        """Return the rows that remove all there is, but for answers."""
        core = self.core
        core.changed = {("task", task_id) for task_id in core.tasks}
        core.changed |= {("process", process_id) for process_id in core.processes}
        core.changed |= {("data", name) for name in core.stored}
        core.tasks.clear()
        core.processes.clear()
        core.stored.clear()
        return self.changes() | {self.key("queue"): None}

    def remember(self, kept: Kept) -> None:
        """Learn what the journal has already."""
        for task in kept.tasks:
            for kind, parts in (("parameters", task.parameters), ("result", task.result)):
                if parts:
                    self._parts[f"{kind}/{task.task_id}"] = len(parts)
        for name, parts in kept.stored.items():
            self._parts[f"value/{name}"] = len(parts)
        self._used = (int(kept.facts[1]), int(kept.facts[2]))

    def _reserve(self) -> bool:
        """Write ahead which ids are used; return whether that changed."""
        core, (tasks, processes) = self.core, self._used
        if core.next_task <= tasks and core.next_process <= processes:
            return False
        self._used = (max(tasks, core.next_task + RESERVED), max(processes, core.next_process + RESERVED))
        return True

    def _task(self, rows: dict[str, Any], task_id: str, task: TaggedTask | None) -> None:
        key = self.key("task", task_id)
        if task is None:
            rows[key] = None
        else:
            rows[key] = [
                task.tag,
                task.priority,
                task.requester,
                task.state.value,
                task.place,
                task.handed_out,
                task.process_id,
                task.session,
                task.raised,
                task.losses,
                task.given_up,
            ]
        self._values(rows, "parameters", task_id, None if task is None else task.parameters)
        self._values(rows, "result", task_id, None if task is None else task.result)

    def _values(self, rows: dict[str, Any], kind: str, name: str, parts: list[bytes] | None) -> None:
        """Write the parts of a value once, and remove them once."""
        count = self._parts.get(f"{kind}/{name}", 0)
        if parts is None:
            for index in range(count):
                rows[self.key(kind, f"{index}/{name}")] = None
            self._parts.pop(f"{kind}/{name}", None)
        elif not count:
            for index, part in enumerate(parts):
                rows[self.key(kind, f"{index}/{name}")] = part
            self._parts[f"{kind}/{name}"] = len(parts)

    def _data(self, rows: dict[str, Any], name: str, parts: list[bytes] | None) -> None:
        self._values(rows, "value", name, None)
        if parts is not None:
            self._parts.pop(f"value/{name}", None)
            self._values(rows, "value", name, parts)
        rows[self.key("data", name)] = None if parts is None else len(parts)


def read(kept: dict[str, Any]) -> dict[str, Kept]:
    """Return what the journal has of each label.

    Args:
        kept: Every row of the service.
    """
    by_label: dict[str, dict[str, dict[str, Any]]] = {}
    for key, value in kept.items():
        kind, length, text = key.split("/", 2)
        label, rest = text[: int(length)], text[int(length) + 1 :]
        by_label.setdefault(label, {}).setdefault(kind, {})[rest] = value
    return {label: _kept(kinds) for label, kinds in by_label.items() if "queue" in kinds}


def _kept(kinds: dict[str, dict[str, Any]]) -> Kept:
    facts = kinds["queue"][""]
    values: dict[str, dict[str, dict[int, bytes]]] = {}
    for kind in ("parameters", "result", "value"):
        for rest, part in kinds.get(kind, {}).items():
            index, name = rest.split("/", 1)
            values.setdefault(kind, {}).setdefault(name, {})[int(index)] = part

    def parts(kind: str, name: str) -> list[bytes] | None:
        found = values.get(kind, {}).get(name)
        return None if found is None else [found[index] for index in sorted(found)]

    tasks = []
    for task_id, row in kinds.get("task", {}).items():
        tag, priority, requester, state, place, handed_out, process_id, session, raised = row[:9]
        task = TaggedTask(task_id, tag, parts("parameters", task_id), priority, requester, State(state), place)
        task.handed_out, task.process_id, task.session, task.raised = handed_out, process_id, session, raised
        task.losses, task.given_up = row[9:11] or (0, False)
        task.result = parts("result", task_id)
        tasks.append(task)
    processes = [Process(int(number), row[0], row[1], 0.0, row[2]) for number, row in kinds.get("process", {}).items()]
    stored = {name: parts("value", name) or [] for name in kinds.get("data", {})}
    answers = {}
    for rest, row in kinds.get("answer", {}).items():
        session, _, number = rest.rpartition("/")
        answers[session, int(number)] = row
    return Kept(facts, tasks, processes, stored, answers)
