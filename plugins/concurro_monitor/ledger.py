"""The state of nodes, workers, tasks and tesserae.

And what was told of them.

    reports, events, profiles --> Ledger --update_node, update_task, update_tessera--> strategy

What ended is kept for a while, for people to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro_monitor.network import KINDS
from concurro_monitor.records import TASK_ENDS, TESSERA_ENDS, MonitoredNode, MonitoredTask, MonitoredTessera

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from concurro_monitor.network import WorkerPlace

ENDED_KEPT = 1000
"""So many tasks, and tesserae, that ended are kept."""

LISTED = 1000
"""So many tasks, and tesserae, are listed; the newest."""

_SUMMED = ("running", "queued", "done", "failed", "tesserae", "memory", "committed", "cpu_load")


class Ledger:
    """What is known. Not thread-safe: one thread's.

    Args:
        tell: Called with the name of a method of the strategy, and what changed.

    Attributes:
        nodes: Uid to node, of those that live.
        tasks: Uid to task, of those that are known by name.
        tesserae: Uid to tessera.
    """

    def __init__(self, tell: Callable[[str, Any], object]) -> None:
        self.nodes: dict[str, MonitoredNode] = {}
        self.tasks: dict[str, MonitoredTask] = {}
        self.tesserae: dict[str, MonitoredTessera] = {}
        self._tell = tell
        self._ended_tasks: dict[str, None] = {}
        self._ended_tesserae: dict[str, None] = {}

    # Nodes and workers

    def node_joined(self, uid: str) -> None:
        """Note a node."""
        if uid not in self.nodes:
            self.nodes[uid] = MonitoredNode(uid)
            self._tell("update_node", self.nodes[uid])

    def node_left(self, uid: str, reason: str) -> None:
        """Forget a node."""
        node = self.nodes.pop(uid, None)
        if node is not None:
            node.state, node.facts["reason"] = "left", reason
            self._tell("update_node", node)

    def worker_joined(self, node: str, worker: str) -> None:
        """Note a worker of a node."""
        self.node_joined(node)
        self.nodes[node].sub_resources[worker] = MonitoredNode(worker)
        self._sum_up(self.nodes[node])

    def worker_left(self, node: str, worker: str) -> None:
        """Forget a worker, and let the calls there be lost."""
        found = self.nodes.get(node)
        if found is not None and found.sub_resources.pop(worker, None) is not None:
            self._sum_up(found)
        for task in [task for task in self.tasks.values() if task.worker == worker and task.state not in TASK_ENDS]:
            task.state = "lost"
            self._task_changed(task)

    def update_node(self, sender_id: str, update: Mapping[str, Any], sub_resources: Mapping[str, Any]) -> None:
        """Note figures of a node, and of its workers: by uid, or by kind and uid."""
        node = self.nodes.setdefault(sender_id, MonitoredNode(sender_id))
        node.facts.update(update)
        for uid, facts in _flat(sub_resources):
            node.sub_resources.setdefault(uid, MonitoredNode(uid)).facts.update(facts)
        self._tell("update_node", node)

    def report(self, place: WorkerPlace, report: Mapping[str, Any]) -> None:
        """Take the report of a worker that lives."""
        node = self.nodes.get(place.node)
        worker = node.sub_resources.get(place.uid) if node is not None else None
        if node is None or worker is None:
            return
        worker.facts.update(report.get("facts", {}))
        worker.facts["reports"] = worker.facts.get("reports", 0) + 1
        self._sum_up(node)
        for uid, unfinished in report.get("tesserae", ()):
            tessera = self.tesserae.get(uid)
            if tessera is not None and tessera.worker == place.uid and tessera.unfinished != unfinished:
                tessera.unfinished = unfinished
                self._tell("update_tessera", tessera)
        for uid, tessera_uid, method, state in report.get("tasks", ()):
            known = self.tasks.get(uid)
            if known is None or known.state != state:
                self._note_task(
                    place.uid, {"uid": uid, "tessera": tessera_uid, "method": method, "state": state}, place.uid
                )

    def _sum_up(self, node: MonitoredNode) -> None:
        told = [worker.facts for worker in node.sub_resources.values()]
        node.facts["workers"] = len(told)
        for name in _SUMMED:
            node.facts[name] = sum(facts.get(name, 0) for facts in told)
        available = [facts["memory_available"] for facts in told if "memory_available" in facts]
        if available:
            node.facts["memory_available"] = min(available)
        self._tell("update_node", node)

    # Tesserae

    def tessera_changed(self, tessera: MonitoredTessera) -> None:
        """Note where a tessera is, or that it is gone."""
        self.tesserae[tessera.uid] = tessera
        if tessera.state in TESSERA_ENDS:
            _keep_few(tessera.uid, self._ended_tesserae, self.tesserae)
        else:
            self._ended_tesserae.pop(tessera.uid, None)
        self._tell("update_tessera", tessera)

    def add_tessera_event(self, sender_id: str, msgs: Any) -> None:
        """Note what happened to tesserae: one message, or a list.

        A message is a dict with `uid`, and with what it says: `state`, `class_name`, `worker` ...

        Raises:
            ValueError: It has no uid.
        """
        for message in _each(msgs):
            uid = _uid_of(message, "tessera")
            record = self.tesserae.get(uid) or MonitoredTessera(uid, worker=sender_id)
            _apply(record, message, ("state", "class_name", "worker", "incarnation", "unfinished"))
            record.events.append({"sender": sender_id, **message})
            self.tessera_changed(record)

    def add_tessera_profile(self, sender_id: str, msgs: Any) -> None:
        """Note measurements of tesserae: one message, or a list.

        Raises:
            ValueError: A message has no uid.
        """
        for message in _each(msgs):
            uid = _uid_of(message, "tessera")
            record = self.tesserae.get(uid) or MonitoredTessera(uid, worker=sender_id)
            record.profiles.append({"sender": sender_id, **message})
            self.tessera_changed(record)

    # Tasks

    def add_task_event(self, sender_id: str, msgs: Any) -> None:
        """Note what happened to tasks: one message, or a list.

        A message is a dict with `uid`, and with what it says: `state`, `tessera`, `worker`, `method` ...

        Raises:
            ValueError: It has no uid.
        """
        for message in _each(msgs):
            self._note_task(sender_id, message, "")

    def add_task_profile(self, sender_id: str, msgs: Any) -> None:
        """Note measurements of tasks: one message, or a list.

        Raises:
            ValueError: A message has no uid.
        """
        for message in _each(msgs):
            record = self._task(_uid_of(message, "task"))
            record.profiles.append({"sender": sender_id, **message})
            self._task_changed(record)

    def _note_task(self, sender_id: str, message: Mapping[str, Any], worker: str) -> None:
        record = self._task(_uid_of(message, "task"))
        record.worker = worker or record.worker
        _apply(record, message, ("state", "tessera", "worker", "method"))
        record.events.append({"sender": sender_id, **message})
        self._task_changed(record)

    def _task(self, uid: str) -> MonitoredTask:
        record = self.tasks.get(uid)
        if record is None:
            record = self.tasks[uid] = MonitoredTask(uid)
        return record

    def _task_changed(self, task: MonitoredTask) -> None:
        if task.state in TASK_ENDS:
            _keep_few(task.uid, self._ended_tasks, self.tasks)
        self._tell("update_task", task)

    @property
    def pending_tasks(self) -> int:
        """How many calls have not ended, as far as workers have told."""
        workers = (worker for node in self.nodes.values() for worker in node.sub_resources.values())
        return sum(worker.facts.get("running", 0) + worker.facts.get("queued", 0) for worker in workers)

    # For people

    def describe(self, places: Iterable[WorkerPlace]) -> dict[str, Any]:
        """Return everything as plain values."""
        workers = []
        for place in places:
            node = self.nodes.get(place.node)
            worker = node.sub_resources.get(place.uid) if node is not None else None
            facts = worker.facts if worker is not None else {}
            workers.append({"uid": place.uid, "node": place.node, "address": place.address, "pid": place.pid, **facts})
        tesserae, tasks = list(self.tesserae.values())[-LISTED:], list(self.tasks.values())[-LISTED:]
        return {
            "nodes": [{"uid": node.uid, "state": node.state, **node.facts} for node in self.nodes.values()],
            "workers": workers,
            "tesserae": [_described(one, "class_name", "worker", "incarnation", "unfinished") for one in tesserae],
            "tasks": [_described(one, "tessera", "worker", "method") for one in tasks],
        }


def _described(record: Any, *names: str) -> dict[str, Any]:
    described = {"uid": record.uid, "state": record.state, **{name: getattr(record, name) for name in names}}
    return {**described, "events": list(record.events), "profiles": list(record.profiles)}


def _apply(record: Any, message: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if name in message:
            setattr(record, name, message[name])


def _keep_few(uid: str, ended: dict[str, None], records: dict[str, Any]) -> None:
    """Forget the one that ended longest ago when there are too many."""
    ended.pop(uid, None)
    ended[uid] = None
    while len(ended) > ENDED_KEPT:
        oldest = next(iter(ended))
        del ended[oldest]
        records.pop(oldest, None)


def _each(msgs: Any) -> list[Any]:
    return list(msgs) if isinstance(msgs, list | tuple) else [msgs]


def _uid_of(message: Any, what: str) -> str:
    uid = message.get("uid") or message.get(f"{what}_id") if isinstance(message, dict) else None
    if not isinstance(uid, str):
        text = f"a message about a {what} is a dict with its uid, got {message!r:.200}"
        raise ValueError(text)  # noqa: TRY004 - a wrong value, whatever its type
    return uid


def _flat(sub_resources: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return uids and figures, of a mapping by uid or by kind and uid."""
    flat = []
    for name, facts in sub_resources.items():
        if name.partition(":")[0] in KINDS and ":" in name:
            flat.append((name, facts))
        else:
            flat += list(facts.items())
    return flat
