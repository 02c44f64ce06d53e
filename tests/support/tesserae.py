"""Classes whose instances live in workers, and a runtime for tests that use them."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from concurro import LocalCluster, current_application
from concurro_monitor import use
from concurro_tessera import Runtime, tessera
from concurro_tessera import runtime as here
from tests.support.jobs import SHIPPED, Square, leave_trace, read_trace, wait_for_gate
from tests.support.waiting import LONGEST_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

WATCHDOG = LONGEST_WAIT
"""No path of a call may take longer [s]."""


@contextmanager
def runtime_of(**options: Any) -> Iterator[tuple[LocalCluster, Runtime]]:
    """Give a cluster and the runtime of its application; `settings` are those of the cluster."""
    config = {**SHIPPED, **options.pop("settings", {})}
    with LocalCluster(config=config, **options) as cluster:
        runtime = Runtime(cluster.application)
        use(runtime)
        try:
            runtime.start()
            yield cluster, runtime
        finally:
            use(None)
            runtime.close()


def drive(main: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
    """Run a coroutine under the watchdog; return what it returns."""

    async def watched() -> Any:
        return await asyncio.wait_for(main(*args), WATCHDOG)

    return asyncio.run(watched())


class OddError(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


class OwnError(Exception):
    """Has arguments of its own."""


class Unloadable:
    """Pickles, and raises where it is loaded."""

    def __reduce__(self) -> Any:
        return divmod, (1, 0)


@tessera
class Counter:
    """Counts, and does whatever else a test wants."""

    size = 3

    def __init__(self, value: Any = 0, fail: str = "") -> None:
        if fail:
            raise OwnError(fail, 7)
        self.value = value
        self.seen: list[Any] = []
        self.attempts = 0
        self.gate = threading.Event()

    def add(self, other: int) -> int:
        """Add to the value; return it."""
        self.value += other
        return self.value

    async def add_soon(self, other: int, delay: float = 0.0) -> int:
        """Add, in a coroutine."""
        await asyncio.sleep(delay)
        self.value += other
        return self.value

    def note(self, what: Any) -> list[Any]:
        """Remember; return all that was remembered."""
        self.seen.append(what)
        return self.seen

    async def note_soon(self, what: Any) -> list[Any]:
        """Remember, in a coroutine."""
        self.seen.append(what)
        return self.seen

    def note_length(self, what: Any) -> int:
        """Remember; return how much was remembered."""
        self.seen.append(what)
        return len(self.seen)

    async def note_length_soon(self, what: Any) -> int:
        """Do the same in a coroutine."""
        return self.note_length(what)

    def measure(self, what: Any) -> int:
        """Return how long something is."""
        return len(what)

    def echo(self, *args: Any, **kwargs: Any) -> Any:
        """Return what it is given."""
        return (args, kwargs) if kwargs or len(args) != 1 else args[0]

    def count_arguments(self, *args: Any, **kwargs: Any) -> list[int]:
        """Return how many arguments it got."""
        return [len(args), len(kwargs)]

    def parts(self) -> tuple[int, str, list[int]]:
        """Return a tuple."""
        return 1, "two", [3]

    def keyed(self) -> dict[str, Any]:
        """Return a dict."""
        return {"a": 1, "b": [2]}

    def large(self, size: int) -> bytes:
        """Return a large value."""
        return bytes(size)

    def fail(self, text: str = "no", number: int = 7) -> None:
        """Raise."""
        raise OwnError(text, number)

    async def fail_soon(self) -> None:
        """Raise, in a coroutine."""
        await asyncio.sleep(0)
        raise OwnError("soon", 8)

    def fail_oddly(self) -> None:
        """Raise what cannot be rebuilt."""
        raise OddError("one", "two")

    def leave(self) -> None:
        """Raise what ends a program."""
        raise SystemExit(3)

    def odd(self) -> Any:
        """Return what does not travel."""
        return threading.Lock()

    def fail_times(self, times: int) -> int:
        """Raise so many times, then return how often it was tried."""
        self.attempts += 1
        self.seen.append(self.attempts)
        if self.attempts <= times:
            raise OwnError("again", self.attempts)
        return self.attempts

    async def fail_times_soon(self, times: int) -> int:
        """Do the same in a coroutine."""
        await asyncio.sleep(0)
        return self.fail_times(times)

    def sleep(self, seconds: float) -> float:
        """Take a while."""
        time.sleep(seconds)
        return seconds

    def wait_for_gate(self) -> bool:
        """Wait until somebody opens the gate, elsewhere in this process."""
        return self.gate.wait(WATCHDOG)

    def wait_for_gate_in(self, folder: str) -> None:
        """Wait until somebody opens the gate in a folder."""
        wait_for_gate(folder)

    async def sleep_soon(self, seconds: float) -> float:
        """Take a while, in a coroutine."""
        await asyncio.sleep(seconds)
        return seconds

    async def cancelling(self) -> int:
        """Return how often what runs this was cancelled."""
        task = asyncio.current_task()
        return -1 if task is None else task.cancelling()

    def pid(self) -> int:
        """Return the process."""
        return os.getpid()

    def thread(self) -> str:
        """Return the thread."""
        return threading.current_thread().name

    @classmethod
    def made(cls, value: int) -> int:
        """Return a number, by the class."""
        return cls.size + value

    @staticmethod
    def doubled(value: int) -> int:
        """Return a number, by nothing."""
        return 2 * value

    def keep(self, **things: Any) -> None:
        """Keep things as attributes."""
        for name, thing in things.items():
            setattr(self, name, thing)

    def let_go(self, name: str) -> None:
        """Keep one no more."""
        delattr(self, name)

    async def ask(self, other: Any, method: str, *args: Any) -> Any:
        """Call another tessera, and wait for it."""
        return await getattr(other, method)(*args).result()

    def ask_blocking(self, other: Any, method: str, *args: Any) -> Any:
        """Do the same in a thread."""
        return getattr(other, method)(*args).get(WATCHDOG)

    async def ask_kept(self, name: str, method: str, *args: Any) -> Any:
        """Call a tessera that is kept as an attribute."""
        return await getattr(getattr(self, name), method)(*args).result()

    def start(self, other: Any, method: str, *args: Any) -> None:
        """Call another tessera, and do not wait."""
        getattr(other, method)(*args)

    async def start_later(self, delay: float, other: Any, method: str, *args: Any) -> None:
        """Do the same after a while."""
        await asyncio.sleep(delay)
        getattr(other, method)(*args)

    async def pass_barrier(self, other: Any) -> int:
        """Call another tessera, and wait until everything that was submitted here has ended."""
        other.sleep_soon(0.1)
        last = other.add(1)
        await here().barrier(WATCHDOG)
        return int(last.done())

    def spawn(self, value: int) -> Any:
        """Return a proxy of another tessera."""
        return Counter.remote(value)


@tessera
class Filler:
    """Holds memory."""

    def __init__(self, what: Any = b"") -> None:
        self.length = len(what)
        self.held = bytearray()

    def fill(self, size: int) -> int:
        """Hold so much, and touch all of it [B]."""
        self.held = bytearray(b"x") * size
        return len(self.held)

    def measure(self, what: Any) -> int:
        """Return how long something is."""
        return len(what)

    async def measure_soon(self, what: Any, delay: float) -> int:
        """Return how long something is, after a while."""
        await asyncio.sleep(delay)
        return len(what)

    def make(self, size: int) -> Any:
        """Return an array of so many bytes."""
        import numpy as np

        return np.ones(size, np.uint8)

    async def pass_on(self, what: Any, other: Any) -> int:
        """Have another one measure what it was given."""
        length: int = await other.measure(what).result()
        return length


@tessera
class Traced:
    """Leaves a trace when it is gone."""

    def __init__(self, folder: str, name: str) -> None:
        self.folder = folder
        self.name = name
        leave_trace(folder, "here", name)

    def __del__(self) -> None:
        leave_trace(self.folder, "gone", self.name)

    def touch(self) -> str:
        """Return the name."""
        return self.name

    def sleep(self, seconds: float) -> str:
        """Take a while, and leave a trace."""
        time.sleep(seconds)
        leave_trace(self.folder, "slept", self.name)
        return self.name


@tessera
class Holder:
    """Holds other tesserae."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    def keep(self, name: str, what: Any) -> None:
        """Hold something."""
        self.held[name] = what

    def let_go(self, name: str) -> None:
        """Hold it no more."""
        del self.held[name]

    def hand_out(self, name: str) -> Any:
        """Return what is held."""
        return self.held[name]

    async def touch(self, name: str) -> str:
        """Call what is held."""
        return await self.held[name].touch().result()

    async def sleep_soon(self, seconds: float) -> None:
        """Take a while."""
        await asyncio.sleep(seconds)

    def make(self, folder: str, name: str) -> Any:
        """Return a proxy of a new tessera."""
        return Traced.remote(folder, name)

    def count(self) -> int:
        """Return how much is held."""
        return len(self.held)


@tessera(restarts=1)
class Restarted(Counter):
    """Is constructed again after its worker was lost."""


@tessera(max_pending=4)
class Bounded(Counter):
    """Lets four calls wait."""


@tessera
class Model:
    """What parameters are tested with."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.name = "model"

    def grow(self, by: int) -> int:
        """Change, plainly."""
        self.value += by
        return self.value

    async def grow_soon(self, by: int) -> int:
        """Change, in a coroutine."""
        await asyncio.sleep(0)
        self.value += by
        return self.value

    def role(self) -> list[bool]:
        """Return what it is where this runs."""
        return [self.has_tessera, self.is_tessera, self.is_proxy]


@tessera
class User:
    """Uses parameters elsewhere."""

    def role_of(self, model: Any) -> list[bool]:
        """Return what a parameter is here."""
        return [isinstance(model, Model), *model.role()]

    async def grow(self, model: Any, by: int) -> int:
        """Change one here and at its root."""
        model.grow(by, propagate=True)
        return await model.get("value")

    async def value_after_pull(self, model: Any) -> int:
        """Return the root's value."""
        await model.pull()
        return model.value

    def flags(self, array: Any) -> list[Any]:
        """Return what an array is like here."""
        return [bool(array.flags.writeable), float(array.sum())]

    def scale(self, array: Any) -> float:
        """Return the sum of an array."""
        return float(array.sum())


@tessera
class Submitter:
    """Pushes tasks of the core."""

    def square(self, number: int) -> int:
        """Return what a task returns."""
        result: int = current_application().push_task(Square(number)).result(WATCHDOG)
        return result


@tessera
class Circular:
    """Calls others, which call it."""

    def __init__(self) -> None:
        self.count = 0

    async def ask(self, *others: Any) -> Any:
        """Ask the first of others to ask the rest."""
        self.count += 1
        return await others[0].ask(*others[1:]).result() if others else self.count

    def ask_blocking(self, *others: Any) -> Any:
        """Do the same in a thread."""
        self.count += 1
        return others[0].ask_blocking(*others[1:]).get(WATCHDOG) if others else self.count

    async def ask_later(self, other: Any, *others: Any) -> Any:
        """Ask, and do not wait."""
        self.later = other.ask(*others)
        return "asked"


@tessera(restarts=1)
class TracedRestarts:
    """Leaves a trace of each incarnation."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        leave_trace(folder, "made")
        self.incarnation_seen = sum(line == ["made"] for line in read_trace(folder))
        self.count = 0

    def linger(self, seconds: float) -> None:
        """Take a while."""
        leave_trace(self.folder, "lingers", os.getpid())
        time.sleep(seconds)

    def note(self) -> int:
        """Count."""
        self.count += 1
        return self.count
