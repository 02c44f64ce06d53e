"""The monitor as others have it: `Monitor`.

    program --Monitor().init(mode="local")--> master and slaves on this machine
    anybody --runtime.get_monitor()---------> Monitor beside the runtime --> service of the master

States are kept by the service (`service`); what is written, a file for applications, profiles, is
written by the process of the Monitor that was asked to.
"""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING, Any

from concurro import __version__
from concurro_monitor.awaiting import Answer
from concurro_monitor.errors import RuntimeDisconnectedError
from concurro_monitor.foundation import NETWORK_LIMIT
from concurro_monitor.launching import Launched, write_address
from concurro_monitor.runtime import Runtime

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


class Monitor(Runtime):
    """Keeps track of the network, and chooses workers for tesserae.

    Thread-safe.

    Args:
        application: Its way to a running master; None for one that `init` starts.
        beside: The runtime of this process, for which it asks the master.
        settings: What `init` takes.
    """

    is_monitor = True

    def __init__(self, application: Any = None, *, beside: Runtime | None = None, **settings: Any) -> None:
        super().__init__(application, uid="monitor", **settings)
        self._beside = beside
        self._launched = Launched()

    @classmethod
    def beside(cls, runtime: Runtime) -> Self:
        """Return one that speaks by the application of a runtime."""
        return cls(runtime.application, beside=runtime)

    # Life

    async def init(self, mode: str | None = None, **kwargs: Any) -> Self:
        """Begin, and have slaves started. Return the monitor.

        Args:
            mode: `local` for `init_local`, `cluster` for `init_cluster`; None for a network that is there.
            kwargs: What these take, and what `Runtime.init` does; `file`: where `init_file` writes.

        Raises:
            ValueError: There is no such mode.
        """
        if mode not in (None, "local", "cluster"):
            message = f"a monitor is started with mode local or cluster, or for a network that is there, not {mode!r}"
            raise ValueError(message)
        settings = {**self.settings, **kwargs}
        self.settings = {}
        file = settings.pop("file", None)
        own = {name: settings.pop(name) for name in _LAUNCH_SETTINGS if name in settings}
        if mode == "local":
            await self.init_local(**own)
        elif mode == "cluster":
            await self.init_cluster(**own)
        await super().init(**settings)
        if file is not None:
            self.init_file({"file": file})
        return self

    async def init_local(self, num_workers: int | None = None, num_nodes: int = 1, config: Any = None) -> None:
        """Start slaves on this machine, and a master if there is none.

        Return once they joined.

        Args:
            num_workers: Of each slave; None for one per processor.
            num_nodes: How many slaves.
            config: What `Config.load` takes.

        Raises:
            TimeoutError: They did not join.
        """
        application = self._application
        found = await asyncio.to_thread(self._launched.here, application, num_workers, num_nodes, config)
        self._application = found

    async def init_cluster(  # noqa: PLR0913 - what it takes to start programs elsewhere
        self,
        node_list: list[str],
        num_workers: int | None = None,
        *,
        address: str = "",
        launch: tuple[str, ...] = ("ssh", "-o", "BatchMode=yes", "{node}"),
        command: tuple[str, ...] = ("concurrent-slave",),
        config: Any = None,
    ) -> None:
        """Start a slave on each of the nodes, and a master here if there is none.

        Return once they joined.

        Args:
            node_list: Names of machines, to which `launch` logs in.
            num_workers: Of each slave; None for one per processor of it.
            address: Where a master that is started here listens, `tcp://machine:port`.
            launch: The command that runs another one on `{node}`.
            command: That other one; it gets `--master` and `--workers`.
            config: What `Config.load` takes.

        Raises:
            RuntimeError: A command ended; its last words are in the message.
            TimeoutError: They did not join.
        """
        how = (list(node_list), num_workers, address, list(launch), list(command), config)
        self._application = await asyncio.to_thread(self._launched.elsewhere, self._application, *how)

    def init_file(self, runtime_config: dict[str, Any] | None = None) -> Path:
        """Write uid and address of the monitor where applications find them.

        Return the path.

        Which is `concurrent.toml` in the working folder, the settings of every application that
        starts there. `stop` removes it.

        Args:
            runtime_config: `file`: another path. `uid`, `address` and `port`: others than its own.

        Raises:
            FileExistsError: There is a file that no monitor wrote.
        """
        facts = dict(runtime_config or {})
        facts.setdefault("uid", self.uid)
        facts.setdefault("master", self.application.master_url)
        return self._launched.note(write_address(facts))

    def enrol(self) -> None:
        """Let others reach this monitor, for profiles that they send."""
        if self._beside is None:
            super().enrol()
        elif not self._beside.is_worker:
            self._beside.enrol()
            self.ask("enrol", "monitor")

    def stop(self, sender_id: str | None = None) -> Answer[None]:
        """End what it started: slaves, master, file."""
        if self._beside is None:
            super().stop(sender_id)
        self._launched.end()
        return Answer.of(None)

    # The state of the network

    def state(self) -> Answer[dict[str, Any]]:
        """Return an awaitable of all that is known.

        `nodes`, `workers`, `tesserae` and `tasks`: lists of dicts; `strategy`: its name.
        """
        return self.answer("state")

    def select_worker(self, sender_id: str = "") -> Answer[str]:
        """Return an awaitable of the uid of a worker for a tessera.

        As the strategy chooses.
        """
        return self.answer("select_worker", sender_id)

    def update_node(self, sender_id: str, update: dict[str, Any], sub_resources: dict[str, Any]) -> Answer[None]:
        """Note figures of a node, and of its workers by uid."""
        return self.answer("update_node", sender_id, update, sub_resources)

    def add_task_event(self, sender_id: str, msgs: Any) -> Answer[None]:
        """Note what happened to tasks: one message, or a list.

        A message is a dict with `uid`, and what it says: `state`, `tessera`, `worker`, `method` ...
        """
        return self.answer("add_task_event", sender_id, msgs)

    def add_task_profile(self, sender_id: str, msgs: Any) -> Answer[None]:
        """Note measurements of tasks: one message, or a list; dicts with `uid`."""
        return self.answer("add_task_profile", sender_id, msgs)

    def add_tessera_event(self, sender_id: str, msgs: Any) -> Answer[None]:
        """Note what happened to tesserae: one message, or a list.

        A message is a dict with `uid`, and what it says: `state`, `class_name`, `worker` ...
        """
        return self.answer("add_tessera_event", sender_id, msgs)

    def add_tessera_profile(self, sender_id: str, msgs: Any) -> Answer[None]:
        """Note measurements of tesserae: one message, or a list; dicts with `uid`."""
        return self.answer("add_tessera_profile", sender_id, msgs)

    def barrier(self, sender_id: str = "", timeout: float | None = None) -> Answer[None]:  # type: ignore[override]  # noqa: ARG002 - the seed's signature
        """Return an awaitable of the end of every call in every worker.

        It raises TimeoutError when that takes longer than `timeout` [s].
        """

        async def wait() -> None:
            try:
                await asyncio.wait_for(self._all_settled(), timeout)
            except TimeoutError:
                message = f"calls run or wait still, after {timeout:g} s"
                raise TimeoutError(message) from None

        return self.loop.start(wait(), "the end of every call")

    async def _all_settled(self) -> None:
        """Look at every worker in turn.

        Until nothing happened anywhere from one look to the next.
        """
        before: dict[str, int] = {}
        while True:
            ended: dict[str, int] = {}
            for worker in await asyncio.to_thread(lambda: self.workers):
                try:
                    ended[worker.uid] = await worker.settled()
                except RuntimeDisconnectedError:
                    continue  # what ran there is lost
            if ended == before:
                return
            before = ended

    # The process of the master

    def cpu_load(self) -> float:
        """Return the processor time that the master takes [%]."""
        return float(self._master_figures()["cpu_load"])

    def memory(self) -> int:
        """Return what the master's process holds [B]."""
        return int(self._master_figures()["memory"])

    def memory_limit(self) -> float:
        """Return what its machine has [B]."""
        return float(self._master_figures()["memory_limit"])

    def _master_figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = self.ask("figures").result(NETWORK_LIMIT)
        return figures

    # Profiles

    def set_profiler(self, path: Any = "") -> None:
        """Have the workers that live measure their calls, and send that here.

        Idempotent.

        Args:
            path: A file that it is appended to; empty for none: `received` has the last.

        Raises:
            OSError: The file cannot be written.
        """
        super().set_profiler(path)
        self.enrol()
        for worker in self.workers:
            worker.set_profiler().wait(NETWORK_LIMIT)

    def append_description(self) -> dict[str, Any]:
        """Write to the file of profiles what the network is made of; return it.

        Raises:
            RuntimeError: There is no such file: `set_profiler` was not called with a path.
        """
        known = self.ask("state").result(NETWORK_LIMIT)
        description = {
            "master": self.application.master_url,
            "versions": {"concurro": __version__, "python": platform.python_version()},
            "strategy": known["strategy"],
            "nodes": known["nodes"],
            "workers": known["workers"],
        }
        if not self.write_profile({"description": description}):
            message = "there is no file of profiles to describe the network in; call set_profiler(path) first"
            raise RuntimeError(message)
        return description


_LAUNCH_SETTINGS = ("num_workers", "num_nodes", "node_list", "launch", "command", "config")
