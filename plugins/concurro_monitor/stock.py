"""In which worker each value of the warehouse is."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

from concurro_monitor.directory import UNKNOWN_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable


class Stock:
    """Uid of a value to the address that keeps it.

    Not thread-safe: one thread's.

    Args:
        after: Calls later, `after(seconds, callback)`.
    """

    def __init__(self, after: Callable[[float, Callable[[], object]], object]) -> None:
        self._after = after
        self._kept: dict[str, str] = {}
        self._sought: dict[str, list[Future[str]]] = {}

    def put_down(self, uid: str, address: str) -> None:
        """Note where a value is kept.

        Raises:
            ValueError: There is one of that uid.
        """
        if uid in self._kept:
            message = f"there is a value {uid!r} in the warehouse, and values there do not change"
            raise ValueError(message)
        self._kept[uid] = address
        for sought in self._sought.pop(uid, ()):
            if not sought.done():
                sought.set_result(address)

    def look_up(self, uid: str) -> str | Future[str]:
        """Return where a value is kept; empty for nowhere, after a while."""
        if uid in self._kept:
            return self._kept[uid]
        future: Future[str] = Future()
        self._sought.setdefault(uid, []).append(future)
        self._after(UNKNOWN_PATIENCE, lambda: self._end_search(uid, future))
        return future

    def drop(self, uid: str) -> str:
        """Forget a value; return where it is kept, empty for nowhere."""
        return self._kept.pop(uid, "")

    def address_left(self, address: str) -> None:
        """Forget what was kept there."""
        self._kept = {uid: kept for uid, kept in self._kept.items() if kept != address}

    def _end_search(self, uid: str, future: Future[str]) -> None:
        if future.done():
            return
        sought = self._sought[uid]
        sought.remove(future)  # others began later, and go on
        if not sought:
            del self._sought[uid]
        future.set_result("")
