"""What a runtime does when it has a moment.

Letting go what is not used any more, say.

maintenance_queue(fun), maintenance_msg(method, msg) --a moment later, or maintenance()--> done
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from concurro_monitor.foundation import Foundation

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("concurro.runtime")

LATER = 0.05
"""What is queued is done after so long [s]."""


class Upkeep(Foundation):
    """The part of a runtime that keeps it up. Thread-safe."""

    def __init__(self, application: Any = None, **settings: Any) -> None:
        super().__init__(application, **settings)
        self._to_do: deque[Callable[[], Any]] = deque()
        self._messages: dict[Callable[[list[Any]], Any], list[Any]] = {}
        self._upkeep_due = False

    def maintenance_queue(self, fun: Callable[[], Any]) -> None:
        """Have something called soon; a coroutine function too.

        What it raises is logged.
        """
        self._to_do.append(fun)
        self._have_it_done()

    def maintenance_msg(self, method: Callable[[list[Any]], Any], msg: Any) -> None:
        """Have a method called soon, once with the list of all messages for it."""
        with self._lock:
            self._messages.setdefault(method, []).append(msg)
        self._have_it_done()

    async def maintenance(self) -> int:
        """Do now what is queued; return how many calls that took. In any loop."""
        with self._lock:
            self._upkeep_due = False
            messages, self._messages = self._messages, {}
        for method, batch in messages.items():
            self._to_do.append(partial(method, batch))
        done = 0
        while self._to_do:
            fun = self._to_do.popleft()
            done += 1
            try:
                value = fun()
                if inspect.isawaitable(value):
                    await value
            except Exception:
                log.exception("maintenance of %r: %r raised", self, fun)
        return done

    def _have_it_done(self) -> None:
        with self._lock:
            due, self._upkeep_due = self._upkeep_due, True
        if due:
            return
        loop = self.loop.loop
        loop.call_soon_threadsafe(lambda: loop.call_later(LATER, lambda: self.loop.start(self.maintenance())))
