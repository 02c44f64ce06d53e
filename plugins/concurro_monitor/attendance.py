"""The service in workers that carries out commands for their runtimes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psutil

from concurro import Component, IWorkerService, IWorkerServiceHost, implementer
from concurro_monitor.network import split_uid
from concurro_monitor.presence import worker_runtime
from concurro_monitor.remote import RUNTIME_SERVICE, run_command
from concurro_monitor.runtime import Runtime

if TYPE_CHECKING:
    from concurrent.futures import Future

    from concurro import IServicePeer


@implementer(IWorkerService)
class RuntimeService(Component):
    """Runs methods of the runtime of a worker, and of its node's."""

    name = RUNTIME_SERVICE
    methods = ("command",)

    def setup(self, host: IWorkerServiceHost) -> None:
        """Learn the host."""
        self._runtime = worker_runtime(host, self.config)
        self._node: Runtime | None = None

    def peer_left(self, peer: IServicePeer, reason: str) -> None:
        """Do nothing: what was begun goes on."""

    def command(  # noqa: PLR0913 - what a command is made of
        self,
        peer: IServicePeer,  # noqa: ARG002 - every method is given who calls
        uid: str,
        sender: str,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[Any]:
        """Run a method of a runtime.

        Return the future of what it gives in the end.
        """
        kind, _ = split_uid(uid)

        async def obey() -> Any:
            runtime = await asyncio.to_thread(self._node_runtime, uid) if kind == "node" else self._runtime
            return await run_command(runtime, sender, name, args, kwargs)

        return self._runtime.loop.start(obey(), f"{name}() of {uid}").future()

    def _node_runtime(self, uid: str) -> Runtime:
        """Return what stands for the node of this worker here."""
        if self._node is None:
            pid = int(self._runtime.ask("node_pid", uid).result(15))
            self._node = NodeRuntime(uid, pid, self._runtime)
        return self._node


class NodeRuntime(Runtime):
    """The runtime of a node, as one of its workers has it.

    Its process is the slave's.

    Args:
        uid: Of the node.
        pid: Of the slave.
        beside: The runtime of the worker.
    """

    is_node = True

    def __init__(self, uid: str, pid: int, beside: Runtime) -> None:
        super().__init__(beside.application, uid=uid)
        self._beside = beside
        if pid and psutil.pid_exists(pid):
            self.pid = pid
            self._process = psutil.Process(pid)
            self._process.cpu_percent(None)

    def memory_limit(self) -> float:
        """Return what the machine has [B]."""
        return float(psutil.virtual_memory().total)

    def stop(self, sender_id: str | None = None) -> Any:
        """Let the slave finish what runs, and end.

        Raises:
            RuntimeError: It is one process with the master, or not known.
        """
        figures = self.ask("figures").result(15)
        if self.pid in {figures["pid"], self._beside.pid}:
            message = f"{self.uid} has no process of its own that could be stopped: it runs in the master's"
            raise RuntimeError(message)
        self._process.terminate()
        return super().stop(sender_id)
