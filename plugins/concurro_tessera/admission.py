r"""Memory: a call runs when its arguments fit beside those that run.

    its turn --admit--> fits: what its arguments take is committed until it ends
                   \--> not yet: it waits for the end of others
    nothing runs here any more, and it still does not fit --> it fails, and says so

Arguments of less than a mebibyte are not looked at. What they take is their size as they travelled.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

from concurro_tessera.failures import MemoryLimitError
from concurro_tessera.records import shown
from concurro_tessera.residents import INIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from concurro_tessera.records import Call
    from concurro_tessera.residents import Tessera

LOOKED_AT = 1024 * 1024
"""Arguments that take less are not reckoned with [B]."""

PROBE_PERIOD = 1.0
"""While calls wait for memory, it is looked so often whether what runs waits for them [s]."""

MEBIBYTE = 1024 * 1024


class Memory(Protocol):
    """What a worker's runtime knows of its memory."""

    def fits_in_memory(self, nbytes: float) -> bool:
        """Say whether so much more fits [B]."""

    def inc_committed_mem(self, nbytes: int) -> None:
        """Note that so much will be used [B]."""

    def dec_committed_mem(self, nbytes: int) -> None:
        """Note that so much is used no more [B]."""

    def memory_in_use(self) -> int:
        """Return what is used [B]."""

    def memory_limit(self) -> float:
        """Return what may be used [B]."""


class Admission:
    """Lets calls run that fit into memory.

    `admit`, `release` and `forget` are thread-safe; the rest is the service's loop's.

    Args:
        memory: Of this worker.
        tesserae: Returns those that live here.
        post: Calls in the loop of the service.
        after: Calls there after so many seconds.
        free: Lets go what nothing refers to, before a call fails.

    Attributes:
        waiting: Calls that do not fit, each with its tessera, in the order in which they were looked at.
    """

    def __init__(
        self,
        memory: Memory,
        tesserae: Callable[[], Iterable[Tessera]],
        post: Callable[[Callable[[], object]], object],
        after: Callable[[float, Callable[[], object]], object],
        free: Callable[[], object],
    ) -> None:
        self.waiting: dict[Call, Tessera] = {}
        self._memory = memory
        self._tesserae = tesserae
        self._post = post
        self._after = after
        self._free = free
        self._lock = threading.Lock()
        self._probing = False

    def admit(self, call: Call, tessera: Tessera) -> bool:
        """Say whether a call may run now.

        What its arguments take is committed then.
        """
        size = call.needed
        if size < LOOKED_AT or call.committed or call.refused is not None:
            return True
        with self._lock:
            if self._memory.fits_in_memory(size):
                call.committed = size
                self._memory.inc_committed_mem(size)
                self.waiting.pop(call, None)
                return True
            self.waiting.setdefault(call, tessera)
        self._post(self._look)
        return False

    def release(self, call: Call) -> None:
        """Notice the end of a call: others may fit now."""
        committed, call.committed = call.committed, 0
        if committed:
            self._memory.dec_committed_mem(committed)
        if self.waiting:
            with self._lock:
                self.waiting.pop(call, None)
            self._post(self._try_again)

    def _try_again(self) -> None:
        for tessera in list(dict.fromkeys(self.waiting.values())):
            tessera.advance()
        self._look()

    def _look(self) -> None:
        """Let calls fail for which nobody will make room."""
        if not self.waiting:
            return
        if not any(tessera.is_busy for tessera in self._tesserae()):
            self._free()
            for call, tessera in list(self.waiting.items()):
                if self._memory.fits_in_memory(call.needed):
                    tessera.advance()
                    return
                self._refuse(call, tessera, "nothing runs there whose end could make room")
        elif not self._probing:
            self._probing = True
            self._after(PROBE_PERIOD, self._probe_all)

    def _refuse(self, call: Call, tessera: Tessera, why: str) -> None:
        with self._lock:
            if self.waiting.pop(call, None) is None:
                return
        used, limit = self._memory.memory_in_use(), self._memory.memory_limit()
        error = MemoryLimitError(
            f"{call.method}() of {shown(call.tessera)} needs {call.needed / MEBIBYTE:.1f} MiB for its arguments; its "
            "worker "
            f"uses {used / MEBIBYTE:.1f} MiB of {limit / MEBIBYTE:.1f} MiB, and {why}"
        )
        if call.method is INIT:
            call.refused = error  # every call of the tessera fails with it
            tessera.advance()
        else:
            tessera.fail_waiting(call, error)
            tessera.advance()

    # Circles: a call that runs waits for one that waits for its memory

    def probe(self, tessera: Tessera, origin: str) -> None:
        """Look whether a call without room waits, in the end, for `origin`.

        A call that runs somewhere.
        """
        call = next((call for call, whose in self.waiting.items() if whose is tessera), None)
        if call is None:
            return
        for other in self._tesserae():
            running = other.running
            if running is None or running.ended is not None:
                continue
            if running.uid == origin:
                self._refuse(call, tessera, f"{running.method}() of {running.tessera}, which runs there, waits for it")
                return
            for task in running.waits or ():
                task.probe(origin)

    def _probe_all(self) -> None:
        self._probing = False
        if not self.waiting:
            return
        self._probing = True
        self._after(PROBE_PERIOD, self._probe_all)
        for tessera in self._tesserae():
            running: Any = tessera.running
            for task in (running.waits or ()) if running is not None else ():
                task.probe(running.uid)
