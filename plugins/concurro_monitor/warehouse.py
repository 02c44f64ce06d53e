"""The caller's side of the warehouse: put, get, drop.

put:  value --packed once--> a worker, which keeps it unopened; monitor: uid -> its address
get:  monitor: where? --> that worker --> the packed value, its buffers mapped on one machine
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

from concurro_monitor.awaiting import Answer

if TYPE_CHECKING:
    from concurro_monitor.runtime import Runtime

CACHED = 64
"""So many values are kept in a process that asked for them."""


class WarehouseRef:
    """The name of a value in the warehouse. It travels, also as an argument.

    Attributes:
        uid: The name.
    """

    __slots__ = ("uid",)

    def __init__(self, uid: str) -> None:
        self.uid = uid

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by name."""
        return WarehouseRef, (self.uid,)

    def __repr__(self) -> str:
        """Return the name."""
        return f"<WarehouseRef {self.uid}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WarehouseRef) and other.uid == self.uid

    def __hash__(self) -> int:
        return hash(self.uid)


class Warehouse:
    """Values that are kept for others. Thread-safe."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._cache: dict[str, Any] = {}
        self._unfinished: set[Answer[Any]] = set()

    def unfinished(self) -> list[Answer[Any]]:
        """Return what was put and is not stored yet."""
        return [answer for answer in list(self._unfinished) if not answer.done()]

    def put(self, value: Any, *, publish: bool, reply: bool, uid: str | None) -> Answer[WarehouseRef]:
        """Put a value; see `Runtime.put`."""
        runtime = self._runtime
        name = uid or f"ware-{runtime.application.client_id}-{next(self._numbers)}"
        parcel = runtime.application.pack(value)
        ref = WarehouseRef(name)

        async def store() -> WarehouseRef:
            places = await _answer(runtime.ask("network"))
            workers = places[1]
            while not workers:
                await _answer(runtime.ask("select_worker"))
                workers = (await _answer(runtime.ask("network")))[1]
            home = workers[_spread(name, len(workers))][1]
            await _answer(runtime.ask("put_down", name, home))
            await _answer(runtime.application.service("warehouse", home).call("keep", name, parcel))
            if publish:
                first_of_node = {node: address for _, address, node, _ in reversed(workers)}
                copies = [address for address in first_of_node.values() if address != home]
                for address in copies:
                    await _answer(runtime.application.service("warehouse", address).call("fetch", name, home))
                if copies:
                    await _answer(runtime.application.service("warehouse", home).call("copied", name, copies))
            return ref

        stored = runtime.loop.start(store(), f"the value {name}")
        self._unfinished.add(stored)
        stored.then(lambda: self._unfinished.discard(stored))
        if reply or uid:
            return stored
        return Answer.of(ref)

    def get(self, uid: Any, *, cache: bool) -> Answer[Any]:
        """Get a value; see `Runtime.get`."""
        name = uid.uid if isinstance(uid, WarehouseRef) else str(uid)
        if name in self._cache:
            return Answer.of(self._cache[name])

        async def fetch() -> Any:
            await self._stored(name)
            home = await _answer(self._runtime.ask("look_up", name))
            if not home:
                message = f"there is no value {name!r} in the warehouse"
                raise KeyError(message)
            parcel = await _answer(self._runtime.application.service("warehouse", home).call("hand_out", name))
            value = read_only(parcel.open())
            if cache:
                with self._lock:
                    self._cache[name] = value
                    while len(self._cache) > CACHED:
                        del self._cache[next(iter(self._cache))]
            return value

        return self._runtime.loop.start(fetch(), f"the value {name}")

    def drop(self, uid: Any) -> Answer[None]:
        """Delete a value; see `Runtime.drop`."""
        name = uid.uid if isinstance(uid, WarehouseRef) else str(uid)

        async def delete() -> None:
            await self._stored(name)
            self._cache.pop(name, None)
            home = await _answer(self._runtime.ask("drop", name))
            if home:
                await _answer(self._runtime.application.service("warehouse", home).call("forget", name))

        return self._runtime.loop.start(delete(), f"the end of the value {name}")

    async def _stored(self, name: str) -> None:
        """Wait until what this process puts under a name is there."""
        for answer in list(self._unfinished):
            if answer._name.endswith(f" {name}"):  # noqa: SLF001 - its own class's neighbour
                await answer


def _answer(future: Any) -> Answer[Any]:
    return Answer.of_future(future)


def _spread(name: str, count: int) -> int:
    return sum(name.encode()) % count


def read_only(value: Any) -> Any:
    """Return a value whose arrays nobody may write to.

    As deep as plain containers go.
    """
    kind = type(value)
    if hasattr(kind, "setflags") and hasattr(kind, "dtype"):
        view = value.view()
        view.setflags(write=False)
        return view
    if kind is dict:
        return {key: read_only(item) for key, item in value.items()}
    if kind in (list, tuple):
        return kind(read_only(item) for item in value)
    return value
