"""Several tesserae of one class as one: `ArrayProxy`.

array.method(...) --> member 0, member 1, ...    TaskArray: awaited, the tasks in order of index
array.method(..., runtime=w) --> the member on w, its task
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from concurro_monitor import RuntimeProxy
    from concurro_tessera.calls import Task
    from concurro_tessera.proxies import TesseraProxy

PLACE_LIMIT = 10.0
"""How long it may take to learn where members are [s]."""


class _Several:
    """What is awaited of several, in order of index."""

    __slots__ = ("_members",)

    def __init__(self, members: list[Any]) -> None:
        self._members = members

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._members)

    def __getitem__(self, index: Any) -> Any:
        """Return one, or a list of some."""
        return self._members[index]

    def __iter__(self) -> Iterator[Any]:
        """Return them one by one."""
        return iter(self._members)


class Results(_Several):
    """The values of several: awaited, a list."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, list[Any]]:
        """Wait for all."""
        values = []
        for member in self._members:
            values.append((yield from member.__await__()))  # noqa: PERF401 - a comprehension cannot yield
        return values

    def wait(self, timeout: float | None = None) -> list[Any]:
        """Wait for all, at most `timeout` [s] for each; return their values."""
        return [member.wait(timeout) for member in self._members]

    get = wait


class TaskArray(_Several):
    """The calls of one method of an array: awaited, the list of tasks.

    Or what the first that failed raised.
    """

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, list[Task]]:
        """Wait for all."""
        self._pass_on()
        for task in self._members:
            yield from task.__await__()
        return list(self._members)

    def wait(self, timeout: float | None = None) -> list[Task]:
        """Wait for all, at most `timeout` [s] for each; return the tasks."""
        self._pass_on()
        return [task.wait(timeout) for task in self._members]

    def _pass_on(self) -> None:
        """Let the first that fails stand for all."""
        for task in self._members:
            task.pass_on()

    def get(self, timeout: float | None = None) -> list[Any]:
        """Wait for all; return their values."""
        return self.result().wait(timeout)

    def result(self) -> Results:
        """Return an awaitable of the list of their values."""
        self._pass_on()
        return Results([task.result() for task in self._members])

    def cancel(self) -> list[bool]:
        """Cancel all; say of each whether that was in time."""
        return [task.cancel() for task in self._members]

    @property
    def state(self) -> list[str]:
        """How far each of them is."""
        return [task.state for task in self._members]


class ArrayAttribute:
    """An attribute of every member: called, a method.

    Awaited, the list of values.
    """

    __slots__ = ("_array", "_name")

    def __init__(self, array: ArrayProxy, name: str) -> None:
        self._array = array
        self._name = name

    def __call__(self, *args: Any, runtime: Any = None, **kwargs: Any) -> Any:
        """Call the method of every member.

        Of the one on `runtime` when that is given.
        """
        if runtime is not None:
            return getattr(self._array.member_on(runtime), self._name)(*args, **kwargs)
        return TaskArray([getattr(member, self._name)(*args, **kwargs) for member in self._array])

    def __await__(self) -> Generator[Any, None, list[Any]]:
        """Wait for the values of the attribute."""
        return self._array.get_attr(self._name).__await__()

    def wait(self, timeout: float | None = None) -> list[Any]:
        """Wait for the values of the attribute; return them."""
        return self._array.get_attr(self._name).wait(timeout)

    get = wait


class ArrayProxy:
    """References to several tesserae; made by `remote(..., len=n)`.

    `await array` waits for the construction of all and gives the array.
    """

    __slots__ = ("_cls", "_members")
    type = "tessera_proxy_array"

    def __init__(self, cls: Any, members: list[TesseraProxy]) -> None:
        self._cls = cls
        self._members = members

    def __getattr__(self, name: str) -> ArrayAttribute:
        """Return a method or attribute of every member, whichever it is."""
        if name.startswith("__"):
            raise AttributeError(name)
        return ArrayAttribute(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as references."""
        return ArrayProxy, (self._cls, self._members)

    def __await__(self) -> Generator[Any, None, ArrayProxy]:
        """Wait until all are constructed."""
        for member in self._members:
            yield from member.__await__()
        return self

    def wait(self, timeout: float | None = None) -> ArrayProxy:
        """Wait until all are constructed, at most `timeout` [s] for each.

        Return the array.
        """
        for member in self._members:
            member.wait(timeout)
        return self

    def __len__(self) -> int:
        """Return how many members it has."""
        return len(self._members)

    def __getitem__(self, index: Any) -> Any:
        """Return the proxy of a member, or a list of some."""
        return self._members[index]

    def __iter__(self) -> Iterator[TesseraProxy]:
        """Return the members one by one."""
        return iter(self._members)

    def __repr__(self) -> str:
        """Return of what it is."""
        return f"<ArrayProxy of {len(self._members)} {self._cls.__qualname__}>"

    @classmethod
    def remote_type(cls) -> str:
        """Return what kind of object it stands for."""
        return "tessera"

    async def init(self, *args: Any, **kwargs: Any) -> ArrayProxy:  # noqa: ARG002 - the seed's signature
        """Wait until all are constructed, with what they were made with."""
        return await self

    @property
    def runtime_id(self) -> list[str]:
        """Uids of the workers where the members live."""
        return [member.runtime_id for member in self._members]

    @property
    def remote_runtime(self) -> list[RuntimeProxy | None]:
        """Proxies of the workers where the members live."""
        return [member.remote_runtime for member in self._members]

    def get_attr(self, item: str) -> Results:
        """Return an awaitable of the values of an attribute."""
        return Results([member.get_attr(item) for member in self._members])

    def set_attr(self, item: str, value: Any) -> Results:
        """Set an attribute of every member; sent at once, awaitable."""
        return Results([member.set_attr(item, value) for member in self._members])

    def make_parameter(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Return a parameter for each member; see `TesseraProxy.make_parameter`."""
        return [member.make_parameter(*args, **kwargs) for member in self._members]

    def member_on(self, runtime: Any) -> TesseraProxy:
        """Return the member in a worker, the first if there are several.

        Raises:
            LookupError: There is none.
        """
        uid = runtime if isinstance(runtime, str) else runtime.uid
        for member in self._members:
            if member._seat.find_place(PLACE_LIMIT) == uid:  # noqa: SLF001 - its own class's neighbour
                return member
        message = f"no member of {self!r} lives on {uid!r}; they live on {', '.join(self.runtime_id)}"
        raise LookupError(message)
