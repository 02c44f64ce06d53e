"""Every public interface, with its contract.

An interface says who calls what, when, and what must hold before and after;
implementations say only what they do differently. Plugin authors import
`Interface`, `Attribute` and `implementer` from `concurro`, never from zope.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface, implementer
from zope.interface.interface import InterfaceClass

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable, Collection, Iterable

    from concurro.errors import TaskError
    from concurro.ids import Failure, ServiceWorker
    from concurro.records import SlaveRecord, SystemRecord, TaskRecord
    from concurro.task import Task

__all__ = [
    "Attribute",
    "ICommandGroup",
    "ILifecycle",
    "IMaster",
    "IMasterService",
    "IMasterServiceHost",
    "ISchedulerHost",
    "IServicePeer",
    "ITaskManager",
    "ITaskScheduleStrategy",
    "ITaskScheduler",
    "ITaskSystem",
    "IWorkerService",
    "IWorkerServiceHost",
    "Interface",
    "implementer",
]


class _TaskSystemInterface(InterfaceClass):
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

    def init_system(master: IMaster) -> None:
        """Prepare the system. Called once in the host, before everything else."""

    def get_system_id() -> str:
        """Return `system_id`."""

    def generate_tasks(master: IMaster) -> Iterable[Task] | None:
        """Return an iterable of tasks; None is an empty one. It is pulled lazily."""

    def task_finished(master: IMaster, task: Task, result: Any, error: TaskError | None) -> None:
        """Take a final task: `error` is None, or a `TaskError` and `result` None."""

    def gather_result(master: IMaster) -> tuple[Any, Any]:
        """Return `(result, error)`; `error` is None, an exception or any value."""

    def is_complete(master: IMaster) -> bool:
        """Say whether the computation has finished.

        Never asked before the first pull.
        """


class IMaster(Interface):
    """What a task system sees of the master.

    Only for use inside its callbacks.
    """

    system_id = Attribute("Id of the system (str).")
    log = Attribute("A `logging.Logger` for the system; from INFO on it is shown at the application.")
    num_workers = Attribute("Workers of all slaves (int), as of some recent input.")
    slaves = Attribute("Tuple of `SlaveView` records, as of some recent input.")

    def push_task(task: Task) -> str:
        """Emit one more task; return its task id.

        Raises:
            InvalidTaskError: It is no usable task.
            NotPicklableError: It cannot travel; names the culprit.
        """

    def push_tasks(tasks: Iterable[Task]) -> list[str]:
        """Emit more tasks; return the list of their ids.

        Raises as `push_task` does.
        """

    def cancel_task(task_id: str) -> None:
        """Cancel a task; one that runs is killed.

        It then reaches `task_finished` with a `TaskCancelled` error. One that is final already
        is left alone.

        Raises:
            ValueError: The id is none, or of another system's task.
        """

    def report_progress(done: int, total: int | None = None, message: str = "") -> None:
        """Tell the application how far the system is.

        Whole numbers in any unit; the last ones count.

        Raises:
            ValueError: A number of more than 64 bits, or a message that is no valid text.
        """

    def publish(value: Any) -> None:
        """Stream a partial result to the application.

        It comes out of `SystemHandle.partial_results`.

        Raises:
            NotPicklableError: It cannot travel; names the culprit.
        """

    def now() -> float:
        """Return the time of the current input, seconds since the epoch [s]."""

    random = Attribute("A `random.Random`, the same again under recovery.")


class ITaskManager(Interface):
    """Runs tasks on this machine. Usable alone, without any node.

    The owner calls `init`, `start`, `stop`, in this order; the kernel never does.
    Thread-safe.
    """

    def init(identity: str, address: str) -> None:
        """Learn whose manager this is. Both texts may be empty."""

    def get_num_workers() -> int:
        """Return how many tasks can run at once (int)."""

    def start() -> None:
        """Start the workers. Tasks may be pushed from now on."""

    def stop() -> None:
        """End the workers at once; what was not finished ends as cancelled.

        Idempotent.
        """

    def update_pool(num_workers: int) -> None:
        """Change the number of workers (int, 1 or more).

        Running tasks are not disturbed.

        Raises:
            ValueError: Fewer than one.
        """

    def push_task(task: Task) -> None:
        """Queue a task; a task without an id gets one."""

    def wait_for_all(timeout: float | None = None) -> None:
        """Wait until every pushed task is final.

        Raises:
            TimeoutError: After `timeout` seconds [s].
        """

    def get_results_queue() -> queue.Queue[tuple[Task, Any, TaskError | None]]:
        """Return the `queue.Queue` of `(task, result, error)`."""

    def create_task(task_class: type[Task], *args: Any, **kwargs: Any) -> Task:
        """Return `task_class(*args, **kwargs)` with a unique `task_id`."""

    def task_finished(task: Task, result: Any, error: TaskError | None) -> None:
        """Notice a final task. Called once per task, just before it is queued."""

    def cancel(task_id: str) -> bool:
        """Cancel a task, running or not; return whether it was still open."""

    def drain() -> list[Task]:
        """Take nothing new, give back the tasks that have not started (list).

        Let the rest end.
        """


class ITaskScheduler(Interface):
    """Decides which task runs where, and what is tried again.

    It lives in the master's loop. `task` is a `TaskRecord`, `task_system` a `SystemRecord`,
    `slave` a `SlaveRecord`: nothing here is ever unpickled. Calls between two ticks only
    note what happened; `tick` decides.
    """

    def setup(master: ISchedulerHost) -> None:
        """Learn the `ISchedulerHost`. Called once, before everything else."""

    def rate_slaves() -> None:
        """Rate again every slave whose state changed."""

    def start_system(task_system: SystemRecord) -> None:
        """Notice a new system.

        An ended one is recognised by its `state` at the next tick.
        """

    def push_tasks(tasks: list[TaskRecord]) -> None:
        """Queue tasks of one system, in this order."""

    def push_task(task: TaskRecord) -> None:
        """Queue one task."""

    def handle_task(task: TaskRecord) -> None:
        """Take a task that lost its lease.

        Queue it back, or `finish` it with an error.

        `task.outcome` is None when it was handed back unstarted (never charged), else how the
        attempt failed; `task.failure`, `task.crashes` and `task.slave_losses` are up to date.
        """

    def task_pushed(slave_id: str) -> None:
        """Notice that a slave acquired a task."""

    def _tasked_pushed(slave_id: str) -> None:
        """Do as `task_pushed`, under its historical name."""

    def task_finished(task: TaskRecord, result: Any, error: Failure | None) -> None:
        """Notice a final task.

        `result` is an opaque payload, `error` a Failure or None. A scheduler that has a method
        `tasks_done(tasks)` is told of tasks without an error in lists instead.
        """

    def slave_joined(slave: SlaveRecord) -> None:
        """Notice a new slave."""

    def slave_left(slave_id: str, reason: str) -> None:
        """Forget a slave. Its tasks come through `handle_task`."""

    def cancel(task_id: str) -> None:
        """Forget a queued task; the host has cancelled it already."""

    def explain(task_id: str) -> str:
        """Return one true sentence: why the task is where it is."""

    def tick(now: float) -> None:
        """Decide: lease queued tasks, take back badly placed ones.

        `now` is monotonic [s].
        """


class ISchedulerHost(Interface):
    """What a scheduler sees of the master. Loop thread only."""

    slaves = Attribute("Dict of slave id to `SlaveRecord`.")
    systems = Attribute("Dict of system number to `SystemRecord`.")

    def lease(task: TaskRecord, slave_id: str) -> int:
        """Give the slave the right to run the task; return the lease (int)."""

    def lease_run(tasks: list[TaskRecord], slave_id: str) -> None:
        """Give the slave the right to run tasks of one class, one at least."""

    def lease_copy(task: TaskRecord, slave_id: str) -> int:
        """Let a leased task run once more; return the copy's lease (int).

        The first result wins, the other attempt is killed. A task has one copy at most.
        """

    def take_back(leases: Iterable[int], slave_id: str = "") -> None:
        """Ask for leases back. What has not started returns through `handle_task`.

        `slave_id`: who holds them all, if that is known; it spares the search.
        """

    def finish(task: TaskRecord, error: Failure | None) -> None:
        """End a task for good with a `Failure`; `task.outcome` says of which kind."""

    def warn(system: SystemRecord, text: str) -> None:
        """Tell the applications that follow a system, once."""

    def now() -> float:
        """Return the time of the current batch, monotonic [s]."""

    random = Attribute("A `random.Random`.")


class ITaskScheduleStrategy(Interface):
    """Rates slaves and picks the next one. Loop thread only."""

    def setup(scheduler: ITaskScheduler, master: ISchedulerHost) -> None:
        """Learn the scheduler and its `ISchedulerHost`. Called once."""

    def rate(slave: SlaveRecord) -> float:
        """Return the slave's rating (float, less is better).

        Called when the slave's state changed, never per task per slave. Remember what
        `get_next_slave` needs.
        """

    def get_next_slave(task: TaskRecord | None = None, slaves: Collection[str] | None = None) -> str | None:
        """Return the id of the slave for the next task, or None.

        `slaves`: ids that may be chosen, None for all: a collection whose `in` costs O(1), while
        its `len` and `iter` may cost O(slaves). The answer is one of them; None means that the
        task should rather wait. A strategy that lets tasks wait bounds it, and has an attribute
        `wake_at`: when it wants to be asked again although nothing happened, monotonic [s].
        """


class ILifecycle(Interface):
    """A component that the kernel starts and stops, in order of dependency."""

    def start() -> None:
        """Start. Everything that this component selects has started already."""

    def stop() -> None:
        """Stop. Called once for each `start` that returned."""


class IMasterService(Interface):
    """A named service of the master, for plugins.

    Every application reaches it by `service(name)`, also from inside tasks, callbacks and services in
    workers. It lives in the master's loop, which it must not block, and unpickles nothing: what its
    methods take and give are plain values (None, numbers, texts, bytes, lists and dicts of them). It is
    built when somebody first asks for it, or with the master: `[master] services`.
    """

    methods = Attribute("Names of the methods that peers may call (collection of str).")

    def setup(host: IMasterServiceHost) -> None:
        """Learn the `IMasterServiceHost`. Called once, before everything else."""

    def peer_left(peer: IServicePeer, reason: str) -> None:
        """Notice that a peer that called is gone, or closed its line."""


class IWorkerService(Interface):
    """A named service in every worker for services.

    Those are processes of their own, as many as a slave runs tasks at once, started when somebody
    first asks for one. The service is built in such a process when somebody first reaches for it
    there by `service(name, worker)`, and lives as long as the process. Its methods are called in the
    process's loop, in the order in which each peer called; whatever takes long belongs into threads of
    the service: a method may return a `concurrent.futures.Future`, and the peer is answered when that
    is resolved. What they take and give is anything that travels.
    """

    methods = Attribute("Names of the methods that peers may call (collection of str).")

    def setup(host: IWorkerServiceHost) -> None:
        """Learn the `IWorkerServiceHost`. Called once, before everything else."""

    def peer_left(peer: IServicePeer, reason: str) -> None:
        """Notice that a peer that called is gone, or closed its line."""


class IServicePeer(Interface):
    """Somebody who calls a service: one line, from its opening to its end.

    The first argument of every method that peers call. Hashable.
    """

    name = Attribute("Who it is, for people (str).")
    gone = Attribute("Why it is gone (str); empty while it is there.")

    def tell(method: str, *arguments: Any) -> None:
        """Call what the peer gave to `ServiceProxy.on_told`. Thread-safe.

        A peer that is gone is told nothing.

        Raises:
            NotPicklableError: An argument cannot travel.
        """

    def close(reason: str) -> None:
        """End the line; calls that have no answer yet fail there. Thread-safe."""


class IMasterServiceHost(Interface):
    """What a service of the master sees of it.

    Loop thread only, but for `post`.
    """

    log = Attribute("A `logging.Logger`.")
    workers = Attribute("Dict of address to `ServiceWorker`: workers for services that live; see `hire`.")

    durable = Attribute("Whether the master has a journal (bool): what `keep` writes survives its restart.")
    kept = Attribute("Dict of key to value: what the service had written with `keep` when it was built.")
    ending = Attribute("Whether the master ends (bool): its peers must leave, and may come back to the next.")

    def keep(key: str, value: Any, done: Callable[[], object] | None = None) -> None:
        """Write a plain value to the journal; None removes it.

        `done` is called in the loop once it is on disk. Without a journal it is forgotten.

        Raises:
            NotPicklableError: It is not plain, or too large.
        """

    def keep_all(values: dict[str, Any], done: Callable[[], object] | None = None) -> None:
        """Write plain values to the journal, all or none; None removes one.

        Else as `keep`.

        Raises:
            NotPicklableError: One is not plain, or too large; nothing is written.
        """

    def now() -> float:
        """Return the monotonic time [s]."""

    def post(callback: Callable[[], object]) -> None:
        """Call once in the master's loop. Thread-safe."""

    def after(delay: float, callback: Callable[[], object]) -> Any:
        """Call once after `delay` seconds [s]; the answer has `cancel()`."""

    def hire() -> None:
        """Let every slave, now and later, keep workers for services."""

    def status() -> dict[str, Any]:
        """Return the state of the master, as `ApplicationNode.status` does."""

    def on_worker_joined(callback: Callable[[ServiceWorker], object]) -> None:
        """Call with each worker for services, those that live first."""

    def on_worker_left(callback: Callable[[ServiceWorker, str], object]) -> None:
        """Call with each worker for services that is gone from now on, and why."""

    def on_slave_joined(callback: Callable[[str], object]) -> None:
        """Call with the id of each slave from now on, and of those that are here."""

    def on_slave_left(callback: Callable[[str, str], object]) -> None:
        """Call with the id of each slave that leaves from now on, and why."""


class IWorkerServiceHost(Interface):
    """What a service in a worker sees of its process.

    Loop thread only but where it is said.

    Code of a service in any of its threads may use `current_application()`.
    """

    log = Attribute("A `logging.Logger`.")
    address = Attribute("The address of this worker (str): what `service(name, worker)` takes.")

    def now() -> float:
        """Return the monotonic time [s]."""

    def post(callback: Callable[[], object]) -> None:
        """Call once in this process's loop. Thread-safe."""

    def after(delay: float, callback: Callable[[], object]) -> Any:
        """Call once after `delay` seconds [s]; the answer has `cancel()`."""

    def pack(value: Any) -> Any:
        """Return a `Parcel`: a value, packed once. Thread-safe.

        Raises:
            NotPicklableError: It cannot travel; names the culprit.
        """


class ICommandGroup(Interface):
    """Adds a group of commands to `concurrent`."""

    def command() -> Any:
        """Return a click command or group; its name is the component's."""
