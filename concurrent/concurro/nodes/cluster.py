"""A cluster on this machine, for as long as a `with` block."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from concurro.errors import ClosedError, ConcurroError
from concurro.nodes.arguments import check_count
from concurro.nodes.executed import ExecutedCluster

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from concurro.nodes.application import ApplicationNode
    from concurro.nodes.embedded import EmbeddedCluster
    from concurro.nodes.futures import TaskFuture
    from concurro.nodes.handle import SystemHandle
    from concurro.nodes.inline import InlineApplication
    from concurro.nodes.service_proxy import ServiceProxy
    from concurro.nodes.waiting import Progress
    from concurro.system import TaskSystem
    from concurro.task import Task

DISPLAY_PATIENCE = 2.0
"""How long a notebook waits for what it shows of a cluster [s]."""

WORKER_PATIENCE = 2.0
"""How long `slaves` waits for workers that are being replaced [s]."""


class LocalSlave(NamedTuple):
    """A slave of a local cluster.

    Attributes:
        id: Its id.
        pid: Process id of its agent; of the master when it runs inside.
        workers: Process ids of its workers.
    """

    id: str
    pid: int
    workers: tuple[int, ...]


class LocalSlaves(tuple[LocalSlave, ...]):
    """The slaves of a local cluster: a tuple that a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from concurro.nodes.notebook import table  # noqa: PLC0415 - for notebooks only

        return table(("slave", "process", "workers"), [(one.id, one.pid, _listed(one.workers)) for one in self])


class LocalCluster:
    """A master and slaves as processes of this machine, none left behind.

    Thread-safe.

    Args:
        workers: Workers per slave; None for one per usable processor, shared by the slaves.
        slaves: How many slaves; a single one runs inside the master's process.
        config: What `Config.load` takes.
        plugins: Files and folders with components.
        inline: Do everything in this process and thread: for debuggers.
        main_file: The script whose neighbours travel with the code; None finds it.
    """

    def __init__(  # noqa: PLR0913 - the fixed public signature
        self,
        workers: int | None = None,
        slaves: int = 1,
        *,
        config: Any = None,
        plugins: Sequence[Any] = (),
        inline: bool = False,
        main_file: str | None = None,
    ) -> None:
        if workers is not None:
            workers = check_count("workers", workers)
        slaves = check_count("slaves", slaves)
        self._processes: EmbeddedCluster | None = None
        self._closed = False
        self._application: ApplicationNode | InlineApplication
        if inline:
            self._application = _open_inline(config, plugins)
        else:
            executed = ExecutedCluster.execute(slaves)
            # The new processes import while this one does.
            from concurro.nodes.embedded import EmbeddedCluster  # noqa: PLC0415

            self._processes = EmbeddedCluster(executed)
            try:
                self._application = _open_application(self._processes, workers, config, plugins, main_file)
            except BaseException:
                self._processes.stop()
                raise

    def __enter__(self) -> Self:
        """Return the cluster; it works since it was constructed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        where = self.master_url or "inline"
        return f"<{type(self).__name__} {where} {'closed' if self._closed else 'open'}>"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows; None for the plain form.

        That is for a cluster that does not answer soon.
        """
        from concurro.nodes.notebook import cluster_html  # noqa: PLC0415 - for notebooks only

        if self._closed:
            return None
        try:
            if self._processes is None:
                status = self._application.status()
            else:
                status = self._application.request("status", []).result(DISPLAY_PATIENCE)
        except (ConcurroError, LookupError, TimeoutError):
            return None
        return cluster_html(type(self).__name__, status)

    @property
    def master_url(self) -> str:
        """The address that others dial; empty for an inline cluster."""
        return self._processes.url if self._processes is not None else ""

    @property
    def application(self) -> ApplicationNode | InlineApplication:
        """The application through which everything is submitted."""
        return self._application

    @property
    def master_pid(self) -> int | None:
        """Process id of the master; None for an inline cluster."""
        return self._processes.master_pid if self._processes is not None else None

    @property
    def slaves(self) -> tuple[LocalSlave, ...]:
        """The slaves that are connected now.

        Workers that are just starting are waited for.
        """
        deadline = time.monotonic() + WORKER_PATIENCE
        while True:
            listed = self.status()["slaves"]
            missing = any(
                len(slave["worker_pids"]) < slave["workers"] - slave["lent"] and not slave["sick"] for slave in listed
            )
            if not missing or time.monotonic() > deadline or self._processes is None:
                return LocalSlaves(LocalSlave(one["id"], one["pid"], tuple(one["worker_pids"])) for one in listed)
            time.sleep(0.01)

    def close(self) -> None:
        """End everything; nothing is left when it returns. Idempotent."""
        self._closed = True
        self._application.close()
        if self._processes is not None:
            self._processes.stop()

    def add_slave(self, workers: int = 1) -> str:
        """Start one more slave; return its id once it joined.

        Raises:
            ConfigError: Fewer than one worker.
            ClosedError: The cluster was closed, or is inline.
        """
        count = check_count("workers", workers)
        return self._real().add_slave(count)

    def remove_slave(self, slave_id: str) -> None:
        """End a slave; its tasks run elsewhere.

        Raises:
            LookupError: There is no such slave here.
        """
        processes, pids = self._real(), {slave.id: slave.pid for slave in self.slaves}
        process = processes.take_slave(pids[slave_id]) if slave_id in pids else None
        if process is not None:
            process.stop()
        elif not self._application.request("remove_slave", [slave_id]).result():
            known = ", ".join(sorted(pids))
            message = f"this cluster started no slave {slave_id!r}; connected: {known}"
            raise LookupError(message)

    def run(
        self,
        system: TaskSystem,
        timeout: float | None = None,
        progress: Progress = False,  # noqa: FBT002 - the fixed public signature
    ) -> Any:
        """Run a task system to its result; see `ApplicationNode.run`."""
        return self._application.run(system, timeout, progress)

    def submit(
        self,
        system: TaskSystem,
        *,
        detach: bool = False,
        ttl: float = 86400.0,
        weight: float = 1.0,
        restarts: int = 0,
    ) -> SystemHandle:
        """Submit a task system; see `ApplicationNode.submit`."""
        return self._application.submit(system, detach=detach, ttl=ttl, weight=weight, restarts=restarts)

    def attach(self, system_id: str) -> SystemHandle:
        """Return a handle on a submitted system; see `ApplicationNode.attach`."""
        return self._application.attach(system_id)

    def push_task(self, task: Task) -> TaskFuture:
        """Push one task; see `ApplicationNode.push_task`."""
        return self._application.push_task(task)

    def push_tasks(self, tasks: Iterable[Task]) -> list[TaskFuture]:
        """Push tasks; see `ApplicationNode.push_tasks`."""
        return self._application.push_tasks(tasks)

    def executor(self) -> Any:
        """Return a `ClusterExecutor` that shares this cluster."""
        return self._application.executor()

    def service(self, name: str, worker: str = "") -> ServiceProxy:
        """Return a proxy of a service; see `ApplicationNode.service`."""
        return self._application.service(name, worker)

    def status(self) -> dict[str, Any]:
        """Return the state of the master; see `ApplicationNode.status`."""
        return self._application.status()

    def _real(self) -> EmbeddedCluster:
        if self._processes is None:
            message = "an inline cluster has no slaves"
            raise ClosedError(message)
        return self._processes


def _listed(pids: tuple[int, ...]) -> str:
    return ", ".join(map(str, pids))


def _open_inline(config: Any, plugins: Sequence[Any]) -> InlineApplication:
    from concurro.kernel import Environment  # noqa: PLC0415 - see `_open_application`
    from concurro.nodes.inline import InlineApplication  # noqa: PLC0415

    return InlineApplication(Environment(config, kind="application", plugins=plugins))


def _open_application(
    processes: EmbeddedCluster, workers: int | None, config: Any, plugins: Sequence[Any], main_file: str | None
) -> ApplicationNode:
    """Let the processes of a cluster work; return a connected application.

    What takes time comes first where others wait for it, and last where we wait for them.
    """
    from concurro.kernel import Environment  # noqa: PLC0415 - while the processes start

    env = Environment(config, kind="application", plugins=plugins)
    processes.configure(env.config, workers=workers, plugins=env.plugins)
    from concurro.nodes.application import ApplicationNode  # noqa: PLC0415 - while the processes start

    application = ApplicationNode(processes.url, config=env, main_file=main_file)
    application.own(processes)
    processes.wait_ready()
    application.connect()
    return application
