"""`MasterProcess`: asks for tasks, and takes their results.

run()  request_task --> task manager --> slave processes: do_<tag>
       retrieve_result <-- results, or TaskRaisedException
"""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from concurro import ConcurroError, Config, ConfigError
from concurro_tagqueue.assignment import Assignment
from concurro_tagqueue.errors import TaskManagerTermination, UnknownProcessError, WaitTimeoutError
from concurro_tagqueue.global_states import delete_state, store_state
from concurro_tagqueue.launching import LaunchedSlaves
from concurro_tagqueue.places import MASTER_MARK, open_for_master
from concurro_tagqueue.registration import Registration, describe_process
from concurro_tagqueue.slave_program import PROGRAM_LABEL, store_script

if TYPE_CHECKING:
    from types import TracebackType


log = logging.getLogger(__name__)

TELL_AFTER = 10.0
"""How long to wait in silence for a result, or for slaves that end [s]."""

END_PATIENCE = 10.0
"""How long a slave process may take to end once it has nothing to do [s]."""

_LOOK_AGAIN = 0.05


class MasterProcess:
    """The part of a job that asks for tasks.

    Write a subclass with `run`, and call `start`.

    Thread-safe, but for `start` and `shutdown`. As a context manager it shuts down at the end.

    Args:
        label: Label of the job: slave processes find it by this.
        master: Address of a master, or a `LocalCluster`; None for the one that is configured or runs on the
            default address, else one that is started for this job, and ends with it. A `TaskManager` of this
            process will do too: slaves are threads then.
        config: What `Config.load` takes.

    Attributes:
        label: Label of the job.
        task_manager: The job's task manager.
        master_url: Address of the master.

    Raises:
        LabelInUseError: Such a job runs already.
        MasterUnreachable: The master does not answer.
    """

    def __init__(self, label: str, master: Any = None, *, config: Any = None) -> None:
        self.label = label
        self._settings = Config.load(config)
        self._slaves = LaunchedSlaves()
        self._over = False
        with contextlib.ExitStack() as stack:
            self.task_manager, self.master_url = open_for_master(stack, label, master, self._settings)
            self._registration = Registration(self.task_manager, None, MASTER_MARK + describe_process())
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        """Return it; it is connected since it was constructed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Shut down."""
        if error is None:
            self.shutdown()
        else:
            self._end(0.0)

    @property
    def process_id(self) -> int:
        """Our id at the task manager."""
        return self._registration.process_id

    # Tasks

    def request_task(self, tag: str, *parameters: Any) -> str:
        """Ask for a task; return its id.

        A slave process calls its `do_<tag>` with the parameters.

        Raises:
            NotPicklableError: A parameter cannot travel.
            TaskManagerTermination: The job was ended.
        """
        self._check_running()
        while True:
            process_id = self.process_id
            try:
                return self.task_manager.add_task_request(tag, parameters, process_id)
            except UnknownProcessError:  # we were cut off for so long that the master took us for dead
                self._registration.renew(process_id)

    def retrieve_result(self, tag: str | None = None, timeout: float | None = None) -> tuple[str, str, Any]:
        """Return id, tag and result of a task that has ended; wait for one.

        Args:
            tag: Of tasks with this tag; None for any.
            timeout: How long to wait [s]; None for ever.

        Raises:
            TaskRaisedException: The task raised: the exception and its traceback.
            TimeoutError: After `timeout`.
            TaskManagerTermination: The job was ended.
        """
        self._check_running()
        deadline = None if timeout is None else time.monotonic() + timeout
        if timeout is None or timeout > TELL_AFTER:
            with contextlib.suppress(WaitTimeoutError):
                return self._take_result(tag, TELL_AFTER)
            self._tell_what_is_missing(tag)
        return self._take_result(tag, None if deadline is None else max(0.0, deadline - time.monotonic()))

    # Values for all tasks

    def set_global_state(self, **values: Any) -> int:
        """Store values that many tasks share; return their state's id.

        `GlobalStateValue(state_id, name)` as a parameter stands for one: each slave process fetches it
        once.
        """
        return store_state(self.task_manager, values)

    def delete_global_state(self, state_id: int) -> None:
        """Delete the values of a global state.

        Raises:
            LookupError: There is none of that id.
        """
        delete_state(self.task_manager, state_id)

    # Life

    def run(self) -> Any:
        """Ask for tasks and take results: override it."""
        message = f"{type(self).__name__} has no method run: write what the job does there"
        raise NotImplementedError(message)

    def start(self) -> Any:
        """Call `run`, then `shutdown`; return what `run` returned.

        When `run` raises, what runs in slaves is not waited for.
        """
        with self:
            return self.run()

    def set_slave_script(self, script: str | Path, *arguments: str) -> None:
        """Say what launched slaves run; `run_job` says it by itself.

        Args:
            script: A script that starts a `SlaveProcess` with the job's label.
            arguments: Its arguments.

        Raises:
            OSError: It cannot be read.
        """
        store_script(self.task_manager, Path(script), list(arguments))

    def launch_slave_jobs(self, n: int = 1) -> None:
        """Start slave processes on this machine, which end with the job.

        Raises:
            ConfigError: Neither `run_job` nor `set_slave_script` told what a slave runs.
        """
        if not self.master_url:
            message = f"job {self.label!r} lives in this process alone: start its slaves as threads"
            raise ConfigError(message)
        try:
            self.task_manager.retrieve_data(PROGRAM_LABEL)
        except KeyError:
            message = (
                f"no slave process of job {self.label!r} can be launched: it has no script. "
                "Start the job by run_job in a script, or name one by set_slave_script"
            )
            raise ConfigError(message) from None
        assignment = Assignment(self.label, self.master_url, self._settings.to_plain())
        for _ in range(n):
            self._slaves.launch(assignment)

    def shutdown(self) -> None:
        """End the job: its slaves finish what they do, and end. Idempotent."""
        self._end(END_PATIENCE)

    def _end(self, patience: float) -> None:
        """End the job.

        Args:
            patience: How long slaves that were launched may take to end, once they have done what they do
                [s]; 0 to end them as they are.
        """
        if self._over:
            return
        self._over = True
        with self._stack:
            try:
                with contextlib.suppress(ConcurroError):  # the master is gone: so is all of it
                    self.task_manager.terminate()
                    self._registration.end()
                    if patience:
                        self._wait_for_slaves()
            except BaseException:
                patience = 0.0  # Ctrl-C
                raise
            finally:
                self._slaves.stop(patience)

    def _wait_for_slaves(self) -> None:
        started, told = time.monotonic(), False
        while count := self.task_manager.number_of_active_processes():
            if not told and time.monotonic() - started > TELL_AFTER:
                told = True
                log.warning("job %r ends as soon as %d slave processes have done what they do", self.label, count)
            time.sleep(_LOOK_AGAIN)

    # How

    def _check_running(self) -> None:
        if self._over:
            message = f"job {self.label!r} was shut down"
            raise TaskManagerTermination(message)

    def _take_result(self, tag: str | None, timeout: float | None) -> tuple[str, str, Any]:
        if tag is None:
            return self.task_manager.get_any_result(timeout=timeout)
        task_id, result = self.task_manager.get_result_with_tag(tag, timeout=timeout)
        return task_id, tag, result

    def _tell_what_is_missing(self, tag: str | None) -> None:
        """Say why a result does not come, if it cannot."""
        self._slaves.report_ended()
        waiting, running, _ = self.task_manager.number_of_tasks()
        wanted = [counts.get(tag, 0) if tag is not None else sum(counts.values()) for counts in (waiting, running)]
        if not any(wanted):
            what = "no task" if tag is None else f"no task with tag {tag!r}"
            log.warning("job %r waits for a result, but %s was requested", self.label, what)
        elif self.task_manager.number_of_active_processes() <= 1:
            log.warning(
                "job %r waits for a result, but no slave process works for it; start one: concurrent tags slave %s",
                self.label,
                self.label,
            )

    # As ScientificPython has it

    def requestTask(self, tag: str, *parameters: Any) -> str:  # noqa: N802 - a fixed public name
        """Ask for a task; see `request_task`."""
        return self.request_task(tag, *parameters)

    def retrieveResult(self, tag: str | None = None, timeout: float | None = None) -> tuple[str, str, Any]:  # noqa: N802 - as above
        """Return a result; see `retrieve_result`."""
        return self.retrieve_result(tag, timeout)

    def setGlobalState(self, **values: Any) -> int:  # noqa: N802 - as above
        """Store values that many tasks share; see `set_global_state`."""
        return self.set_global_state(**values)

    def deleteGlobalState(self, state_id: int) -> None:  # noqa: N802 - as above
        """Delete the values of a global state; see `delete_global_state`."""
        self.delete_global_state(state_id)

    def setSlaveScript(self, script: str | Path, *arguments: str) -> None:  # noqa: N802 - as above
        """Say what slave processes run that are launched; see `set_slave_script`."""
        self.set_slave_script(script, *arguments)

    def launchSlaveJobs(self, n: int = 1) -> None:  # noqa: N802 - as above
        """Start slave processes on this machine; see `launch_slave_jobs`."""
        self.launch_slave_jobs(n)
