"""The methods of every task manager, in process or at a master.

Each has two names: that of ScientificPython's `TaskManager` (`addTaskRequest`), and the same in
snake_case (`add_task_request`), which is the one to write. Arguments, answers and errors are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro_tagqueue import asking
from concurro_tagqueue.lines import ANY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from concurro_tagqueue.lines import Choice
    from concurro_tagqueue.records import TagCounts


class TaskManagerMethods:
    """What a task manager does. Thread-safe.

    A task is a tag, parameters and, at the end, a result. Who asks for tasks adds requests and takes
    results; who does them takes tasks by tag and stores results. Nothing looks at parameters and results.

    Calls that wait take a `timeout`: after so long they raise `WaitTimeoutError`, and nothing was taken
    [s]; None waits for ever, 0 not at all. Whoever waits longest is served first.
    """

    # Processes

    def register_process(self, watchdog_period: float | None = None, info: str | None = None) -> int:
        """Register a process; return its id, an int that no other one has.

        Args:
            watchdog_period: The process promises to call `ping` so often [s]. After two periods without,
                it is unregistered. None: it promises nothing.
            info: What it says of itself, e.g. its machine.
        """
        raise NotImplementedError

    def unregister_process(self, process_id: int) -> None:
        """Forget a process; its running tasks return to the front of the line.

        Raises:
            UnknownProcessError: It is not registered.
        """
        raise NotImplementedError

    def ping(self, process_id: int) -> None:
        """Say that a process lives; no other call counts as that.

        Raises:
            UnknownProcessError: It is not registered, or not any more.
        """
        raise NotImplementedError

    def number_of_active_processes(self) -> int:
        """Return how many processes are registered."""
        return len(self.active_processes())

    def active_process_info(self, pid: int) -> str:
        """Return what a process said of itself; empty for nothing.

        Raises:
            UnknownProcessError: It is not registered.
        """
        raise NotImplementedError

    def active_processes(self) -> dict[int, str]:
        """Return what each registered process said of itself, by id."""
        raise NotImplementedError

    # Tasks

    def add_task_request(self, tag: str, parameters: Any, process_id: int | None = None, *, priority: int = 0) -> str:
        """Put a task at the end of the line; return its id.

        Args:
            tag: Who handles it.
            parameters: What is to be done.
            process_id: The process that asks.
            priority: The highest is taken first; of equal ones the oldest.

        Raises:
            UnknownProcessError: That process is not registered.
            TaskManagerTermination: The task manager was terminated.
        """
        raise NotImplementedError

    def add_task_requests(
        self, tag: str, parameters: Iterable[Any], process_id: int | None = None, *, priority: int = 0
    ) -> list[str]:
        """Add many tasks of one tag, each with its parameters.

        Return their ids in order. As so many calls of `add_task_request`, but faster at a master.
        """
        return [self.add_task_request(tag, one, process_id, priority=priority) for one in parameters]

    def get_any_task(self, process_id: int | None = None, timeout: float | None = None) -> tuple[str, str, Any]:
        """Take the first task: its id, tag and parameters. Waits for one.

        Args:
            process_id: The process that will run it. When that is unregistered, the task returns.
            timeout: How long to wait [s].

        Raises:
            UnknownProcessError: That process is not registered, or not any more.
            WaitTimeoutError: There was none.
            TaskManagerTermination: The task manager was terminated.
        """
        return self._take(ANY, process_id, timeout)

    def get_task_with_tag(
        self, tag: str, process_id: int | None = None, timeout: float | None = None
    ) -> tuple[str, Any]:
        """Take the first task of a tag: its id and parameters.

        Else as `get_any_task`.
        """
        task_id, _, parameters = self._take(asking.with_tag(tag), process_id, timeout)
        return task_id, parameters

    def get_task_with_tags(
        self, tags: Iterable[str], process_id: int | None = None, timeout: float | None = None
    ) -> tuple[str, str, Any]:
        """Take the first task that has one of these tags. Else as `get_any_task`."""
        return self._take(asking.with_tags(tags), process_id, timeout)

    def get_task_matching(
        self, pattern: str, process_id: int | None = None, timeout: float | None = None
    ) -> tuple[str, str, Any]:
        """Take the first task whose tag matches `pattern`, e.g. `render-*`.

        Else as `get_any_task`. `*` stands for any text, `?` for a character, `[a-c]` for one of these.
        """
        return self._take(asking.matching(pattern), process_id, timeout)

    def return_task(self, task_id: str, process_id: int | None = None) -> None:
        """Put a running task back to the front: who took it cannot do it.

        Args:
            task_id: The task.
            process_id: Who gives it back: it stays where it is if another one runs it by now.

        Raises:
            UnknownTaskError: It is not running, and was not handed out again.
        """
        raise NotImplementedError

    def store_result(self, task_id: str, result: Any) -> None:
        """Store the result of a running task.

        One that comes too late, since the task was handed out again and has its result, is dropped and
        counted (`number_of_dropped_results`).

        Raises:
            UnknownTaskError: The task is not running, and was not handed out again.
        """
        raise NotImplementedError

    def store_exception(self, task_id: str, exception: Any, traceback: str) -> None:
        """Store what a running task raised.

        Who takes its result gets `TaskRaisedException`.

        Args:
            task_id: The task.
            exception: What was raised.
            traceback: The text of its traceback.

        Raises:
            UnknownTaskError: As `store_result`.
        """
        raise NotImplementedError

    # Results

    def get_any_result(self, timeout: float | None = None) -> tuple[str, str, Any]:
        """Take the oldest result: its task's id and tag, and it. Waits for one.

        Raises:
            TaskRaisedException: The task raised; it knows which task, and what.
            WaitTimeoutError: There was none.
            TaskManagerTermination: There is none, and the task manager was terminated.
        """
        return self._collect(ANY, timeout)

    def get_result_with_tag(self, tag: str, timeout: float | None = None) -> tuple[str, Any]:
        """Take the oldest result of a tag: its task's id, and it.

        Else as `get_any_result`.
        """
        task_id, _, result = self._collect(asking.with_tag(tag), timeout)
        return task_id, result

    def get_result_with_tags(self, tags: Iterable[str], timeout: float | None = None) -> tuple[str, str, Any]:
        """Take the oldest result of one of these tags. Else as `get_any_result`."""
        return self._collect(asking.with_tags(tags), timeout)

    def get_result_matching(self, pattern: str, timeout: float | None = None) -> tuple[str, str, Any]:
        """Take the oldest result whose tag matches a pattern.

        Else as `get_any_result`.
        """
        return self._collect(asking.matching(pattern), timeout)

    # Counts

    def number_of_tasks(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Return how many tasks wait, run, have a result, by tag.

        What there is none of is not in the dictionaries.
        """
        raise NotImplementedError

    def number_of_dropped_results(self) -> int:
        """Return how many results were dropped, since they came too late."""
        raise NotImplementedError

    def watch_tag(self, tag: str, seen: TagCounts | None = None, timeout: float | None = None) -> TagCounts:
        """Return how many tasks of a tag wait, run, are finished.

        As soon as that is not `seen`.

        Raises:
            WaitTimeoutError: Nothing has changed.
            TaskManagerTermination: Nothing has changed, and the task manager was terminated.
        """
        raise NotImplementedError

    def wait_for_tag(self, tag: str, timeout: float | None = None) -> TagCounts:
        """Wait until no task of a tag waits or runs; return the counts.

        Raises:
            WaitTimeoutError: Some still do.
            TaskManagerTermination: Some still do, and the task manager was terminated.
        """
        return asking.wait_until_done(self.watch_tag, tag, asking.check_seconds("timeout", timeout))

    def drain_tag(self, tag: str) -> list[tuple[str, Any]]:
        """Take all waiting tasks of a tag out of the line.

        Return their ids and parameters.

        Nobody else will get them, and they have no results. Those that run go on.
        """
        raise NotImplementedError

    # Data

    def store_data(self, /, **items: Any) -> None:
        """Store data items, for every process: `store_data(label=value)`."""
        raise NotImplementedError

    def retrieve_data(self, label: str) -> Any:
        """Return a data item.

        Raises:
            UnknownDataError: There is none of that label; it is a KeyError.
        """
        raise NotImplementedError

    def delete_data(self, label: str) -> None:
        """Forget a data item.

        Raises:
            UnknownDataError: There is none of that label; it is a KeyError.
        """
        raise NotImplementedError

    # The end

    def terminate(self) -> None:
        """Say that no more tasks and results are wanted. Idempotent.

        Everybody who waits gets `TaskManagerTermination`, and who asks for a task from now on. Tasks that
        run may still store their results, and results that are stored may be taken.
        """
        raise NotImplementedError

    # What they are made of

    def _take(self, choice: Choice, process_id: int | None, timeout: float | None) -> tuple[str, str, Any]:
        """Take the first task that is wanted: its id, tag and parameters."""
        raise NotImplementedError

    def _collect(self, choice: Choice, timeout: float | None) -> tuple[str, str, Any]:
        """Take the oldest result that is wanted: its task's id and tag, and it."""
        raise NotImplementedError

    # As ScientificPython has them

    def registerProcess(self, watchdog_period: float | None = None, info: str | None = None) -> int:  # noqa: N802 - the seed's name, as all below
        """Do as `register_process`."""
        return self.register_process(watchdog_period, info)

    def unregisterProcess(self, process_id: int) -> None:  # noqa: N802
        """Do as `unregister_process`."""
        self.unregister_process(process_id)

    def numberOfActiveProcesses(self) -> int:  # noqa: N802
        """Do as `number_of_active_processes`."""
        return self.number_of_active_processes()

    def activeProcessInfo(self, pid: int) -> str:  # noqa: N802
        """Do as `active_process_info`."""
        return self.active_process_info(pid)

    def activeProcesses(self) -> dict[int, str]:  # noqa: N802
        """Do as `active_processes`."""
        return self.active_processes()

    def addTaskRequest(self, tag: str, parameters: Any, process_id: int | None = None, *, priority: int = 0) -> str:  # noqa: N802
        """Do as `add_task_request`."""
        return self.add_task_request(tag, parameters, process_id, priority=priority)

    def addTaskRequests(  # noqa: N802
        self, tag: str, parameters: Iterable[Any], process_id: int | None = None, *, priority: int = 0
    ) -> list[str]:
        """Do as `add_task_requests`."""
        return self.add_task_requests(tag, parameters, process_id, priority=priority)

    def getAnyTask(self, process_id: int | None = None, timeout: float | None = None) -> tuple[str, str, Any]:  # noqa: N802
        """Do as `get_any_task`."""
        return self.get_any_task(process_id, timeout)

    def getTaskWithTag(self, tag: str, process_id: int | None = None, timeout: float | None = None) -> tuple[str, Any]:  # noqa: N802
        """Do as `get_task_with_tag`."""
        return self.get_task_with_tag(tag, process_id, timeout)

    def getTaskWithTags(  # noqa: N802
        self, tags: Iterable[str], process_id: int | None = None, timeout: float | None = None
    ) -> tuple[str, str, Any]:
        """Do as `get_task_with_tags`."""
        return self.get_task_with_tags(tags, process_id, timeout)

    def getTaskMatching(  # noqa: N802
        self, pattern: str, process_id: int | None = None, timeout: float | None = None
    ) -> tuple[str, str, Any]:
        """Do as `get_task_matching`."""
        return self.get_task_matching(pattern, process_id, timeout)

    def returnTask(self, task_id: str, process_id: int | None = None) -> None:  # noqa: N802
        """Do as `return_task`."""
        self.return_task(task_id, process_id)

    def storeResult(self, task_id: str, result: Any) -> None:  # noqa: N802
        """Do as `store_result`."""
        self.store_result(task_id, result)

    def storeException(self, task_id: str, exception: Any, traceback: str) -> None:  # noqa: N802
        """Do as `store_exception`."""
        self.store_exception(task_id, exception, traceback)

    def getAnyResult(self, timeout: float | None = None) -> tuple[str, str, Any]:  # noqa: N802
        """Do as `get_any_result`."""
        return self.get_any_result(timeout)

    def getResultWithTag(self, tag: str, timeout: float | None = None) -> tuple[str, Any]:  # noqa: N802
        """Do as `get_result_with_tag`."""
        return self.get_result_with_tag(tag, timeout)

    def getResultWithTags(self, tags: Iterable[str], timeout: float | None = None) -> tuple[str, str, Any]:  # noqa: N802
        """Do as `get_result_with_tags`."""
        return self.get_result_with_tags(tags, timeout)

    def getResultMatching(self, pattern: str, timeout: float | None = None) -> tuple[str, str, Any]:  # noqa: N802
        """Do as `get_result_matching`."""
        return self.get_result_matching(pattern, timeout)

    def numberOfTasks(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:  # noqa: N802
        """Do as `number_of_tasks`."""
        return self.number_of_tasks()

    def numberOfDroppedResults(self) -> int:  # noqa: N802
        """Do as `number_of_dropped_results`."""
        return self.number_of_dropped_results()

    def watchTag(self, tag: str, seen: TagCounts | None = None, timeout: float | None = None) -> TagCounts:  # noqa: N802
        """Do as `watch_tag`."""
        return self.watch_tag(tag, seen, timeout)

    def waitForTag(self, tag: str, timeout: float | None = None) -> TagCounts:  # noqa: N802
        """Do as `wait_for_tag`."""
        return self.wait_for_tag(tag, timeout)

    def drainTag(self, tag: str) -> list[tuple[str, Any]]:  # noqa: N802
        """Do as `drain_tag`."""
        return self.drain_tag(tag)

    def storeData(self, /, **items: Any) -> None:  # noqa: N802
        """Do as `store_data`."""
        self.store_data(**items)

    def retrieveData(self, label: str) -> Any:  # noqa: N802
        """Do as `retrieve_data`."""
        return self.retrieve_data(label)

    def deleteData(self, label: str) -> None:  # noqa: N802
        """Do as `delete_data`."""
        self.delete_data(label)
