"""Every public interface, with its contract.

An interface says who calls what, when, and what must hold before and after;
implementations say only what they do differently. Plugin authors import
`Interface`, `Attribute` and `implementer` from `concurro`, never from zope.
"""

from __future__ import annotations

import importlib

from zope.interface import Attribute, Interface, implementer
from zope.interface.interface import InterfaceClass

__all__ = [
    "Attribute",
    "ICommandGroup",
    "ILifecycle",
    "IMaster",
    "IMasterService",
    "ISchedulerHost",
    "ITaskManager",
    "ITaskScheduleStrategy",
    "ITaskScheduler",
    "ITaskSystem",
    "IWorkerService",
    "Interface",
    "implementer",
]


class _TaskSystemInterface(InterfaceClass):  # type: ignore[misc]  # zope's stubs give it no type
    """The interface that a job may name as its base class.

    `class Job(ITaskSystem)` yields a subclass of `TaskSystem` (PEP 560). The import is
    made by name when a class statement needs it: `TaskSystem` lives two layers up.
    """

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (importlib.import_module("concurro.system").TaskSystem,)


class ITaskSystem(Interface, metaclass=_TaskSystemInterface):
    """A job that decides as it goes.

    It is constructed by the application, pickled, and lives in a host process of its own.
    The host calls every method, never two at once. An exception raised by any of them ends
    the system with that error.

    1. `init_system`, once. 2. `generate_tasks`, then its iterable is pulled as fast as tasks
    are consumed. 3. Per finished task: `task.finished`, `task_finished`, `is_complete`.
    4. Complete: what is left is cancelled and `gather_result` is asked. Not complete, the
    iterable exhausted and nothing outstanding: `is_complete` is asked, then `generate_tasks`
    again. A round that yields nothing ends the system with `StalledSystemError`.
    """

    system_id = Attribute("Unique id (str), made when the system is constructed.")

    def init_system(master):  # type: ignore[no-untyped-def]
        """Prepare the system. Called once in the host, before everything else."""

    def get_system_id():  # type: ignore[no-untyped-def]
        """Return `system_id`."""

    def generate_tasks(master):  # type: ignore[no-untyped-def]
        """Return an iterable of tasks; None is an empty one. It is pulled lazily."""

    def task_finished(master, task, result, error):  # type: ignore[no-untyped-def]
        """Take a final task: `error` is None, or a `TaskError` and `result` None."""

    def gather_result(master):  # type: ignore[no-untyped-def]
        """Return `(result, error)`; `error` is None, an exception or any value."""

    def is_complete(master):  # type: ignore[no-untyped-def]
        """Say whether the computation has finished. Never asked before the first pull."""


class IMaster(Interface):
    """What a task system sees of the master. Only for use inside its callbacks."""

    system_id = Attribute("Id of the system (str).")
    log = Attribute("A `logging.Logger` for the system.")
    num_workers = Attribute("Workers of all slaves (int).")
    slaves = Attribute("Tuple of `SlaveView` records.")

    def push_task(task):  # type: ignore[no-untyped-def]
        """Emit one more task; return its task id."""

    def push_tasks(tasks):  # type: ignore[no-untyped-def]
        """Emit more tasks; return the list of their ids."""

    def cancel_task(task_id):  # type: ignore[no-untyped-def]
        """Cancel a task; it then reaches `task_finished` with a `TaskCancelled` error."""

    def report_progress(done, total=None, message=""):  # type: ignore[no-untyped-def]
        """Tell the application how far the system is."""

    def publish(value):  # type: ignore[no-untyped-def]
        """Stream a partial result to the application."""

    def now():  # type: ignore[no-untyped-def]
        """Return the time of the current input, seconds since the epoch [s]."""

    random = Attribute("A `random.Random`, the same again under recovery.")


class ITaskManager(Interface):
    """Runs tasks on this machine. Usable alone, without any node.

    The owner calls `init`, `start`, `stop`, in this order; the kernel never does.
    Thread-safe.
    """

    def init(identity, address):  # type: ignore[no-untyped-def]
        """Learn whose manager this is. Both texts may be empty."""

    def get_num_workers():  # type: ignore[no-untyped-def]
        """Return how many tasks can run at once (int)."""

    def start():  # type: ignore[no-untyped-def]
        """Start the workers. Tasks may be pushed from now on."""

    def stop():  # type: ignore[no-untyped-def]
        """End the workers at once; what was not finished ends as cancelled. Idempotent."""

    def update_pool(num_workers):  # type: ignore[no-untyped-def]
        """Change the number of workers (int, 1 or more). Running tasks are not disturbed.

        Raises:
            ValueError: Fewer than one.
        """

    def push_task(task):  # type: ignore[no-untyped-def]
        """Queue a task; a task without an id gets one."""

    def wait_for_all(timeout=None):  # type: ignore[no-untyped-def]
        """Wait until every pushed task is final.

        Raises:
            TimeoutError: After `timeout` seconds [s].
        """

    def get_results_queue():  # type: ignore[no-untyped-def]
        """Return the `queue.Queue` of `(task, result, error)`."""

    def create_task(task_class, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Return `task_class(*args, **kwargs)` with a unique `task_id`."""

    def task_finished(task, result, error):  # type: ignore[no-untyped-def]
        """Notice a final task. Called once per task, just before it is queued."""

    def cancel(task_id):  # type: ignore[no-untyped-def]
        """Cancel a task, running or not; return whether it was still open."""

    def drain():  # type: ignore[no-untyped-def]
        """Take nothing new, give back the tasks that have not started (list), let the rest end."""


class ITaskScheduler(Interface):
    """Decides which task runs where, and what is tried again.

    It lives in the master's loop. `task` is a `TaskRecord`, `task_system` a `SystemRecord`,
    `slave` a `SlaveRecord`: nothing here is ever unpickled. Calls between two ticks only
    note what happened; `tick` decides.
    """

    def setup(master):  # type: ignore[no-untyped-def]
        """Learn the `ISchedulerHost`. Called once, before everything else."""

    def rate_slaves():  # type: ignore[no-untyped-def]
        """Rate again every slave whose state changed."""

    def start_system(task_system):  # type: ignore[no-untyped-def]
        """Notice a new system. An ended one is recognised by its `state` at the next tick."""

    def push_tasks(tasks):  # type: ignore[no-untyped-def]
        """Queue tasks of one system, in this order."""

    def push_task(task):  # type: ignore[no-untyped-def]
        """Queue one task."""

    def handle_task(task):  # type: ignore[no-untyped-def]
        """Take a task that lost its lease: queue it back, or `finish` it with an error.

        `task.outcome` is None when it was handed back unstarted (never charged), else how the
        attempt failed; `task.failure`, `task.crashes` and `task.slave_losses` are up to date.
        """

    def task_pushed(slave_id):  # type: ignore[no-untyped-def]
        """Notice that a slave acquired a task."""

    def _tasked_pushed(slave_id):  # type: ignore[no-untyped-def]
        """Do as `task_pushed`, under its historical name."""

    def task_finished(task, result, error):  # type: ignore[no-untyped-def]
        """Notice a final task: `result` is an opaque payload, `error` a Failure or None."""

    def slave_joined(slave):  # type: ignore[no-untyped-def]
        """Notice a new slave."""

    def slave_left(slave_id, reason):  # type: ignore[no-untyped-def]
        """Forget a slave. Its tasks come through `handle_task`."""

    def cancel(task_id):  # type: ignore[no-untyped-def]
        """Forget a queued task; the host has cancelled it already."""

    def explain(task_id):  # type: ignore[no-untyped-def]
        """Return one true sentence: why the task is where it is."""

    def tick(now):  # type: ignore[no-untyped-def]
        """Decide: lease queued tasks, take back badly placed ones. `now` is monotonic [s]."""


class ISchedulerHost(Interface):
    """What a scheduler sees of the master. Loop thread only."""

    slaves = Attribute("Dict of slave id to `SlaveRecord`.")
    systems = Attribute("Dict of system number to `SystemRecord`.")

    def lease(task, slave_id):  # type: ignore[no-untyped-def]
        """Give the slave the right to run the task; return the lease (int)."""

    def take_back(leases):  # type: ignore[no-untyped-def]
        """Ask for leases back. What has not started returns through `handle_task`."""

    def finish(task, error):  # type: ignore[no-untyped-def]
        """End a task for good with a `Failure`; `task.outcome` says of which kind."""

    def now():  # type: ignore[no-untyped-def]
        """Return the time of the current batch, monotonic [s]."""

    random = Attribute("A `random.Random`.")


class ITaskScheduleStrategy(Interface):
    """Rates slaves and picks the next one. Loop thread only."""

    def setup(scheduler, master):  # type: ignore[no-untyped-def]
        """Learn the scheduler and its `ISchedulerHost`. Called once."""

    def rate(slave):  # type: ignore[no-untyped-def]
        """Return the slave's rating (float, less is better).

        Called when the slave's state changed, never per task per slave. Remember what
        `get_next_slave` needs.
        """

    def get_next_slave(task=None, slaves=None):  # type: ignore[no-untyped-def]
        """Return the id of the slave for the next task, or None.

        `slaves`: ids that may be chosen, None for all. The answer is one of them.
        """


class ILifecycle(Interface):
    """A component that is started and stopped by the kernel, in order of dependency."""

    def start():  # type: ignore[no-untyped-def]
        """Start. Everything that this component selects has started already."""

    def stop():  # type: ignore[no-untyped-def]
        """Stop. Called once for each `start` that returned."""


class IMasterService(Interface):
    """A named service of the master, reached with `ApplicationNode.service(name)`."""

    def call(peer_id, method, arguments):  # type: ignore[no-untyped-def]
        """Answer one call of a peer; `arguments` and the answer are plain msgpack values."""

    def peer_left(peer_id):  # type: ignore[no-untyped-def]
        """Notice that a peer is gone."""


class IWorkerService(Interface):
    """A named service inside every worker process."""

    def call(method, arguments):  # type: ignore[no-untyped-def]
        """Answer one call; `arguments` and the answer are plain msgpack values."""


class ICommandGroup(Interface):
    """Adds a group of commands to `concurrent`."""

    def command():  # type: ignore[no-untyped-def]
        """Return a click command or group; its name is the component's."""
