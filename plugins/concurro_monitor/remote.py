"""A runtime elsewhere: `RuntimeProxy`, and the way of its commands.

worker          its service `runtime`
node, warehouse the same in the first worker of that node
monitor         a `Monitor` beside the caller's runtime, which asks the master
head            by way of the monitor, who knows the program
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import psutil

from concurro_monitor.awaiting import Answer
from concurro_monitor.errors import RuntimeDisconnectedError
from concurro_monitor.network import KINDS, join_uid, split_uid

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro import ApplicationNode
    from concurro_monitor.neighbours import Neighbours
    from concurro_monitor.runtime import Runtime

RUNTIME_SERVICE = "runtime"

NOT_FOR_OTHERS = frozenset({"answer", "ask", "close", "part", "start"})
"""Methods of a runtime that are for its own process."""


class RuntimeProxy:
    """A runtime elsewhere, by name. Equal when the uid is.

    `proxy.method(...)` runs a method of that runtime there; what comes back is awaitable. A method
    whose first argument is `sender_id` is given the uid of who calls, unless a uid is given first.

    Args:
        name: Of the kind; with `indices`.
        indices: Numbers of it.
        uid: Both in one.
        comms: The runtime through which it is reached; None for that of the process.
        runtime: The same.
    """

    __slots__ = ("_indices", "_name", "_runtime")

    def __init__(
        self,
        name: str | None = None,
        indices: tuple[int, ...] | int = (),
        uid: str | None = None,
        comms: Any = None,
        *,
        runtime: Any = None,
    ) -> None:
        self._name, self._indices = split_uid(uid if uid is not None else join_uid(name or "", indices))
        self._runtime = runtime if runtime is not None else comms

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by name."""
        return RuntimeProxy, (None, (), self.uid)

    def __repr__(self) -> str:
        """Return its name."""
        return f"<RuntimeProxy {self.uid}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RuntimeProxy) and other.uid == self.uid

    def __hash__(self) -> int:
        return hash(self.uid)

    def __getattr__(self, name: str) -> Callable[..., Answer[Any]]:
        """Return a method of the runtime, to be called here and run there.

        Raises:
            AttributeError: Such a runtime has none of that name.
        """
        if name.startswith("_") or name in NOT_FOR_OTHERS or not callable(getattr(_class_of(self._name), name, None)):
            message = f"a {self._name} runtime has no method {name!r}"
            raise AttributeError(message)

        def command(*args: Any, **kwargs: Any) -> Answer[Any]:
            return send(self._here(), self.uid, name, args, kwargs)

        return command

    @property
    def uid(self) -> str:
        """Its name, `name[:i[:j]]`."""
        return join_uid(self._name, self._indices)

    @property
    def name(self) -> str:
        """What kind it is."""
        return self._name

    @property
    def indices(self) -> tuple[int, ...]:
        """Its numbers."""
        return self._indices

    @property
    def is_head(self) -> bool:
        """Whether it is an application's."""
        return self._name == "head"

    @property
    def is_monitor(self) -> bool:
        """Whether it is the monitor."""
        return self._name == "monitor"

    @property
    def is_node(self) -> bool:
        """Whether it is a node."""
        return self._name == "node"

    @property
    def is_worker(self) -> bool:
        """Whether it is a worker."""
        return self._name == "worker"

    @property
    def is_warehouse(self) -> bool:
        """Whether it is the warehouse."""
        return self._name == "warehouse"

    @property
    def address(self) -> str:
        """The master's address: nobody else listens."""
        return self._here().address

    @property
    def port(self) -> int:
        """The master's port."""
        return self._here().port

    @property
    def pubsub_port(self) -> int:
        """The same."""
        return self._here().pubsub_port

    @property
    def comms(self) -> ApplicationNode:
        """The way to it: that of the runtime of this process."""
        return self._here().get_comms()

    @property
    def subprocess(self) -> psutil.Process | None:
        """Its process, when it is a worker of this machine; else None."""
        if not self.is_worker:
            return None
        pid = self._here().place_of(self.uid).pid
        return psutil.Process(pid) if psutil.pid_exists(pid) else None

    def _here(self) -> Runtime:
        from concurro_monitor.presence import here  # noqa: PLC0415 - it makes runtimes, which make proxies

        found: Runtime = self._runtime if self._runtime is not None else here()
        return found


def _class_of(name: str) -> type:
    from concurro_monitor.monitor import Monitor  # noqa: PLC0415 - as above
    from concurro_monitor.runtime import Runtime  # noqa: PLC0415 - as above

    return Monitor if name == "monitor" else Runtime


def send(runtime: Neighbours, uid: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Answer[Any]:
    """Have a method of a runtime run where that is.

    Return an awaitable of what it gives.
    """
    kind, _ = split_uid(uid)
    what = f"{name}() of {uid}"
    if kind == "monitor":
        from concurro_monitor.monitor import Monitor  # noqa: PLC0415 - as above

        monitor = runtime if runtime.is_monitor else runtime.part(Monitor.beside)
        return runtime.loop.start(run_command(monitor, runtime.uid, name, args, kwargs), what)
    if kind == "head":
        if runtime.is_head and not runtime.is_nested:
            return runtime.loop.start(run_command(runtime, uid, name, args, kwargs), what)
        return Answer.of_future(runtime.ask("relay", uid, runtime.uid, name, list(args), kwargs), name=what)

    async def reach() -> Any:
        address = await asyncio.to_thread(address_of, runtime, uid)
        line = runtime.application.service(RUNTIME_SERVICE, address)
        sender = await asyncio.to_thread(lambda: runtime.uid)
        return await Answer.of_future(line.call("command", uid, sender, name, args, kwargs))

    return runtime.loop.start(reach(), what)


def address_of(runtime: Neighbours, uid: str) -> str:
    """Return the address of the worker where commands for a runtime run.

    Raises:
        RuntimeDisconnectedError: There is none any more.
    """
    kind, indices = split_uid(uid)
    if kind == "worker":
        return runtime.place_of(uid).address
    node = join_uid("node", indices[:1])
    for place in runtime._look():  # noqa: SLF001 - of this very family
        if not indices or place.node == node:
            return place.address
    message = f"no worker of {uid} lives, in which its commands could run"
    raise RuntimeDisconnectedError(message)


async def run_command(runtime: Any, sender: str, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run a method of a runtime that is here, in a thread.

    Return what it gives in the end.

    Raises:
        AttributeError: There is none, or it is not for others.
    """
    method = None if name.startswith("_") or name in NOT_FOR_OTHERS else getattr(runtime, name, None)
    if not callable(method):
        message = f"{runtime!r} has no method {name!r} for others"
        raise AttributeError(message)  # noqa: TRY004 - as a runtime in this process would
    arguments = with_sender(method, sender, tuple(args), kwargs)
    value = await asyncio.to_thread(method, *arguments, **kwargs)
    return await value if inspect.isawaitable(value) else value


def with_sender(method: Any, sender: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Return the arguments of a method.

    With who calls first where that is asked for and not said.
    """
    parameters = list(inspect.signature(method).parameters)
    if parameters[:1] != ["sender_id"] or "sender_id" in kwargs:
        return args
    said = bool(args) and isinstance(args[0], str) and args[0].partition(":")[0] in KINDS
    if said and _takes(method, args, kwargs):
        return args
    return (sender, *args) if _takes(method, (sender, *args), kwargs) else args


def _takes(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        inspect.signature(method).bind(*args, **kwargs)
    except TypeError:
        return False
    return True
