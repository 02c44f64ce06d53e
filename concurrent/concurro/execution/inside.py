"""Where code of a user runs: the door from there to a master.

    a task       --> the worker's door: its service channel
    a callback   --> the host's door: a channel of its own
    inline       --> the application of the very process
    elsewhere    --> none: an error that says what to use

One door belongs to the process, worker or host. Where several pieces of code share a process,
it belongs to the thread of control instead.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from concurro.errors import NoApplicationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concurro.transport.loop import Loop
    from concurro.wire.payload import Packer

log = logging.getLogger(__name__)

OUTSIDE = (
    "current_application() is for tasks and for callbacks of a task system, and this is neither; "
    "use LocalCluster(...), or ApplicationNode(master) for a running master"
)


class Door:
    """The way from a task, or from callbacks, to a master.

    Attributes:
        application: What was opened through it; None before that.
        lock: Held while it, or what is behind it, is opened.
        whose: Who goes through it, in words.
        own_system: Id of the system whose callbacks go through it; empty for tasks.
        lends: Whether who waits behind it holds a slot, and lends it.
        opens: Whether it is shut, and will be open for good.
    """

    whose = ""
    own_system = ""
    lends = False
    opens = False

    def __init__(self, application: Any = None) -> None:
        self.application: Any = application
        self.lock = threading.Lock()
        self._early: list[Callable[[], object]] = []
        self._is_open = False

    @property
    def packer(self) -> Packer:
        """What loads and dumps the values of who goes through it."""
        raise NotImplementedError

    def check(self) -> None:
        """Refuse who must not go through now.

        Raises:
            NoApplicationError: The message says why, and what to do.
        """

    def open_link(self, loop: Loop) -> Any:
        """Return a link to the master. Called in the thread of `loop`.

        Raises:
            OSError: The channel is gone.
        """
        raise NotImplementedError

    def wait_for_it(self, callback: Callable[[], object]) -> None:
        """Call once it is open; at once when it is. Thread-safe."""
        with self.lock:
            if not self._is_open:
                self._early.append(callback)
                return
        callback()

    def let_in(self) -> None:
        """Notice that it is open, for good."""
        with self.lock:
            self._is_open = True
            early, self._early = self._early, []
        for callback in early:
            try:
                callback()
            except Exception:
                log.exception("what waited for the application of %s raised", self.whose)


class ProcessDoor(Door):
    """The door of a process whose code is called, by others than tasks.

    What goes through it lives as long as the process.

    Args:
        packer: Of the process.
        called: What is called in it, in a word: a "callback", a "service".
    """

    def __init__(self, packer: Packer, called: str) -> None:
        super().__init__()
        self._packer = packer
        self._called = called
        self._pid = os.getpid()

    @property
    def packer(self) -> Packer:
        """What loads and dumps values."""
        return self._packer

    def check(self) -> None:
        """Refuse another process.

        Raises:
            NoApplicationError: Something that is called here forked it.
        """
        if os.getpid() != self._pid:
            called = self._called
            message = f"current_application() was called in a process that a {called} forked; call it in the {called}"
            raise NoApplicationError(message)


class Wall(Door):
    """No way: the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self._reason = reason

    def check(self) -> None:
        """Refuse.

        Raises:
            NoApplicationError: Always.
        """
        raise NoApplicationError(self._reason)


class ThisProcess:
    """What belongs to a process as a whole.

    Attributes:
        door: The door of a worker or a host; None in every other process.
        on_prepared: Called in a task after what belongs to the process, not to the task.
    """

    door: Door | None = None
    on_prepared: Callable[[], None] | None = None


this_process = ThisProcess()
_here: ContextVar[Door | None] = ContextVar("concurro_door", default=None)


def door_here() -> Door:
    """Return the door of the code that calls.

    Raises:
        NoApplicationError: There is none.
    """
    door = _here.get() or this_process.door
    if door is None:
        raise NoApplicationError(OUTSIDE)
    door.check()
    return door


@contextlib.contextmanager
def behind(door: Door) -> Iterator[None]:
    """Let the code in the block go through a door of its own."""
    token = _here.set(door)
    try:
        yield
    finally:
        _here.reset(token)
