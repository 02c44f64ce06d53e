"""How a task manager must behave, whatever its workers are."""

from __future__ import annotations

import queue
import time
from typing import Any, Final

from concurro.errors import TaskCancelled, TaskError
from concurro.kernel.contracts import place_of
from concurro.task import Task

_PATIENCE: Final = 30.0  # longest wait for what should happen at once [s]
_MOMENT: Final = 0.02  # long enough for a task to be found running or queued [s]


class Double(Task):
    """Return twice a number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"double-{number}")
        self.number = number

    def __call__(self) -> int:
        """Return twice the number."""
        return 2 * self.number


class Fail(Task):
    """Raise."""

    def __init__(self) -> None:
        super().__init__("fail")

    def __call__(self) -> None:
        """Raise a ValueError."""
        raise ValueError("as the contract suite asks")  # noqa: EM101, TRY003 - its text is what is checked


class Pause(Task):
    """Take a moment."""

    def __init__(self, number: int) -> None:
        super().__init__(f"pause-{number}")

    def __call__(self) -> None:
        """Wait a moment."""
        time.sleep(_MOMENT)


def task_manager_faults(manager: Any) -> list[str]:
    """Start a task manager, run some tasks, stop it; return what is wrong."""
    return _Trial(manager).run()


class _Trial:
    """One task manager and some tasks."""

    def __init__(self, manager: Any) -> None:
        self.manager = manager
        self.faults: list[str] = []

    def run(self) -> list[str]:
        self.manager.init("", "")
        self.manager.start()
        try:
            self._run_some()
            self._run_one_that_fails()
            self._refuse_no_workers()
            self._cancel_one()
            left = self._push_pauses()
        finally:
            self.manager.stop()
            self.manager.stop()  # idempotent, or it raises
        self._check_pauses("stop", left, self._results(len(left)))
        return self.faults

    def _run_some(self) -> None:
        workers = self.manager.get_num_workers()
        if not isinstance(workers, int) or workers < 1:
            self._fault("get_num_workers", f"returns {workers!r}, which is not a number of workers")
        tasks = [self.manager.create_task(Double, number) for number in range(5)]
        if len({task.task_id for task in tasks}) < len(tasks) or any(not task.task_id for task in tasks):
            self._fault("create_task", "does not give each task an id of its own")
        for task in tasks:
            self.manager.push_task(task)
        self.manager.wait_for_all(timeout=_PATIENCE)
        results = self._results(len(tasks))
        if {task.task_id for task, _, _ in results} != {task.task_id for task in tasks}:
            self._fault("get_results_queue", "does not hold each task once after wait_for_all")
        for task, result, error in results:
            if error is not None or result != 2 * task.number:
                self._fault("push_task", f"ends {task.name} with {result!r} and error {error!r}")

    def _run_one_that_fails(self) -> None:
        self.manager.push_task(Fail())
        self.manager.wait_for_all(timeout=_PATIENCE)
        for task, result, error in self._results(1):
            if not isinstance(error, TaskError) or error.type_name != "ValueError" or result is not None:
                self._fault("push_task", f"ends a task that raises with {result!r} and error {error!r}")
            if not task.task_id:
                self._fault("push_task", "gives a task without an id none")

    def _refuse_no_workers(self) -> None:
        try:
            self.manager.update_pool(0)
        except ValueError:
            return
        self._fault("update_pool", "takes 0 workers without a ValueError")

    def _cancel_one(self) -> None:
        if self.manager.cancel("no-such-task"):
            self._fault("cancel", "says that an unknown task was open")
        tasks = self._push_pauses()
        was_open = self.manager.cancel(tasks[-1].task_id)
        self.manager.wait_for_all(timeout=_PATIENCE)
        results = self._results(len(tasks))
        self._check_pauses("cancel", tasks, results)
        for task, _, error in results:
            if task.task_id == tasks[-1].task_id and isinstance(error, TaskCancelled) is not bool(was_open):
                self._fault("cancel", f"returned {was_open!r} for a task that ended with error {error!r}")

    def _push_pauses(self) -> list[Any]:
        """Push more tasks than there are workers and return them."""
        count = 2 * self.manager.get_num_workers() + 1
        tasks = [self.manager.create_task(Pause, number) for number in range(count)]
        for task in tasks:
            self.manager.push_task(task)
        return tasks

    def _check_pauses(self, method: str, tasks: list[Any], results: list[tuple[Any, Any, Any]]) -> None:
        """Check that each ended once: done, or cancelled."""
        if sorted(task.task_id for task, _, _ in results) != sorted(task.task_id for task in tasks):
            self._fault(method, "does not lead to one result for each task")
        for task, _, error in results:
            if error is not None and not isinstance(error, TaskCancelled):
                self._fault(method, f"ends {task.name} with {error!r}")

    def _results(self, count: int) -> list[tuple[Any, Any, Any]]:
        results = self.manager.get_results_queue()
        found: list[tuple[Any, Any, Any]] = []
        try:
            while len(found) < count:
                found.append(results.get_nowait())
        except queue.Empty:
            self._fault("get_results_queue", f"holds {len(found)} results instead of {count}")
        return found

    def _fault(self, method: str, what: str) -> None:
        place = place_of(getattr(type(self.manager), method))
        self.faults.append(f"{place}: {type(self.manager).__name__}.{method} {what}")
