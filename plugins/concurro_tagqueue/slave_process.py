"""`SlaveProcess`: takes tasks, and does each by a method of its tag.

until terminationTest(), or the end of the job
    take --> do_<tag>(*parameters) --> store the result, or what was raised
tasks of other tags it leaves to other slaves
Ctrl-C: the task goes back, for somebody else
pings come from a thread of their own (`registration`)
"""

from __future__ import annotations

import contextlib
import logging
import threading
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from concurro import (
    ClosedError,
    ConcurroError,
    ConfigError,
    MasterUnreachable,
    NotPicklableError,
    ServiceLostError,
)
from concurro_tagqueue.errors import QueueLostError, TaskManagerTermination, UnknownProcessError, UnknownTaskError
from concurro_tagqueue.global_states import KnownStates
from concurro_tagqueue.places import check_label, open_for_slave
from concurro_tagqueue.registration import Registration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro_tagqueue.surface import TaskManagerMethods

log = logging.getLogger(__name__)

PREFIX = "do_"

_GONE = (QueueLostError, MasterUnreachable, ServiceLostError, ClosedError)
"""What calls raise when the master has ended."""

_NO_TAGS = ("\0",)
"""Who has no handlers takes what nobody asks for."""


class SlaveProcess:
    """Does the tasks of a job. Write a subclass with a method for each tag.

    A task with tag `sqrt` and parameters `(2.0,)` calls `self.do_sqrt(2.0)`. What it returns is the task's
    result; what it raises is told where the result is taken. One object starts once.

    Args:
        label: Label of the job.
        master_host: Address of the master (`tcp://HOST:PORT`, `ipc://PATH`, or `HOST[:PORT]`); None
            for that of the job with this label on this machine, else the running master that is
            configured. A `TaskManager` of this process will do too.
        watchdog_period: How often a thread tells that this process lives [s]: after two periods without
            it is taken for dead. None for never: then only its end is noticed.
        config: What `Config.load` takes.
    """

    def __init__(
        self,
        label: str,
        master_host: Any = None,
        watchdog_period: float | None = 120.0,
        *,
        config: Any = None,
    ) -> None:
        if watchdog_period is not None and not watchdog_period > 0:
            message = f"watchdog_period must be a number of seconds above 0, or None, got {watchdog_period!r}"
            raise ConfigError(message)
        check_label(label)
        self.label = label
        self.watchdog_period = watchdog_period
        self._master_host = master_host
        self._config = config
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._manager: TaskManagerMethods | None = None

    @property
    def task_manager(self) -> TaskManagerMethods:
        """The job's task manager; connected to at first use.

        For handlers that ask for more tasks, say.
        """
        with self._lock:
            if self._manager is None:
                self._manager = open_for_slave(self._stack, self.label, self._master_host, self._config)
            return self._manager

    def termination_test(self) -> bool:
        """Say whether to end now. Called before each task is taken; override it."""
        return False

    def start(self, namespace: Mapping[str, Any] | object | None = None) -> None:
        """Do tasks until the job, or its master, ends, or `termination_test`.

        Args:
            namespace: A mapping, or a module, whose functions `do_<tag>` are handlers as well.

        Raises:
            KeyboardInterrupt: Ctrl-C; the task was handed back.
            MasterUnreachable: There is no master to begin with.
        """
        handlers = handlers_of(self, namespace)
        if not handlers:
            log.warning("%s has no method do_<tag>: it does nothing but wait for the end", type(self).__name__)
        with self._stack:
            manager = self.task_manager
            try:
                with Registration(manager, self.watchdog_period) as registration:
                    self._work(manager, handlers, registration)
            except _GONE as error:
                log.warning("the master of job %r has ended, and this slave with it: %s", self.label, error)
            except TaskManagerTermination:
                log.info("job %r has ended", self.label)

    def _work(
        self, manager: TaskManagerMethods, handlers: Mapping[str, Callable[..., Any]], registration: Registration
    ) -> None:
        states = KnownStates(manager)
        tags = handlers.keys() or _NO_TAGS
        while not self.terminationTest():
            process_id = registration.process_id
            try:
                task_id, tag, parameters = manager.get_task_with_tags(tags, process_id)
            except UnknownProcessError:
                registration.renew(process_id)
                continue
            _Attempt(manager, task_id, process_id).perform(handlers[tag], states, parameters)

    # As ScientificPython has it

    def terminationTest(self) -> bool:  # noqa: N802 - a fixed public name
        """Say whether to end now; see `termination_test`."""
        return self.termination_test()


def handlers_of(slave: SlaveProcess, namespace: Mapping[str, Any] | object | None) -> dict[str, Callable[..., Any]]:
    """Return what handles which tag, by the name of the method or function."""
    named = {name: getattr(slave, name) for name in dir(slave) if _names_tag(name)}
    if namespace is not None:
        given = namespace if isinstance(namespace, Mapping) else vars(namespace)
        named |= {name: value for name, value in given.items() if _names_tag(name)}
    return {name.removeprefix(PREFIX): handler for name, handler in named.items() if callable(handler)}


def _names_tag(name: str) -> bool:
    return name.startswith(PREFIX) and name != PREFIX


class _Attempt:
    """A task that this process has taken."""

    def __init__(self, manager: TaskManagerMethods, task_id: str, process_id: int) -> None:
        self._manager = manager
        self._task_id = task_id
        self._process_id = process_id

    def perform(self, handler: Callable[..., Any], states: KnownStates, parameters: Sequence[Any]) -> None:
        """Call the handler, and store how that ended."""
        try:
            result = handler(*states.put_in(parameters))
        except KeyboardInterrupt:
            self._hand_back()
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its task's, sys.exit too
            self._store(self._store_exception, error)
        else:
            self._store(self._store_result, result)

    def _store(self, store: Callable[[Any], None], outcome: Any) -> None:
        try:
            store(outcome)
        except UnknownTaskError as error:
            # We were taken for dead meanwhile, and somebody else does it.
            log.warning("nobody waits for what came of task %s any more: %s", self._task_id, error)

    def _store_result(self, result: Any) -> None:
        try:
            self._manager.store_result(self._task_id, result)
        except NotPicklableError as error:
            self._store_exception(error)

    def _store_exception(self, error: BaseException) -> None:
        text = "".join(traceback.format_exception(type(error), error, _own_frames(error)))
        try:
            self._manager.store_exception(self._task_id, error, text)
        except NotPicklableError:
            self._manager.store_exception(self._task_id, RuntimeError(f"{type(error).__name__}: {error}"), text)

    def _hand_back(self) -> None:
        try:
            self._manager.return_task(self._task_id, self._process_id)
        except ConcurroError as error:
            log.warning("task %s goes back by itself: %s", self._task_id, error)
        else:
            log.warning("interrupted: task %s was handed back", self._task_id)


def _own_frames(error: BaseException) -> Any:
    """Return the traceback from the handler on: ours says nothing to anybody."""
    frames = error.__traceback__
    return frames.tb_next if frames is not None and frames.tb_next is not None else frames
