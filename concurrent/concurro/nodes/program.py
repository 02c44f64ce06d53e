"""Runs an application that is a class of one's own, to its end.

get_task_system --> a system: submitted --> work_finished
--> None: start_processing pushes tasks --> task_finished for each, until shutdown
"""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurro.nodes.application import ApplicationNode
    from concurro.nodes.handle import SystemHandle


class Program:
    """What happens to an application, for who runs it. Thread-safe."""

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def task_ended(self, task: Any, result: Any, error: Any) -> None:
        """Notice that a pushed task is final."""
        self._inbox.put(("task", task, result, error))

    def shut_down(self) -> None:
        """Let `run` return."""
        self._inbox.put(("shutdown",))

    def run(self, application: ApplicationNode) -> None:
        """Call what a connected application overrides, until it is done."""
        system = application.get_task_system()
        if system is None:
            application.start_processing()
        else:
            handle = application.submit(system)
            handle.add_done_callback(lambda done: self._inbox.put(("system", done)))
        while True:
            kind, *facts = self._inbox.get()
            if kind == "shutdown":
                return
            if kind == "task":
                application.task_finished(*facts)
                continue
            application.work_finished(_outcome_of(facts[0]), facts[0].system_id)
            return


def _outcome_of(handle: SystemHandle) -> tuple[Any, Any]:
    if handle.gathered is not None:
        gathered: tuple[Any, Any] = handle.gathered
        return gathered
    if handle.cancelled():
        return None, "cancelled"
    error = handle.exception()
    return (handle.result(), None) if error is None else (None, error)
