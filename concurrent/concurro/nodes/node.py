"""What every node is.

A loop with an environment, started and stopped once.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import resource
import signal
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Self

from concurro.errors import NodeStartError
from concurro.kernel import Environment
from concurro.transport.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType, TracebackType

    from concurro.execution.launcher_process import LauncherProcess

log = logging.getLogger("concurro.node")

JOIN_LIMIT = 15.0


class Node:
    """A loop in a thread of its own (`start`) or in the caller's (`run`).

    Subclasses write `_open` and `_close`; both are called in the loop's thread.
    """

    kind: ClassVar[str] = ""

    def __init__(self, config: Any = None, *, plugins: Sequence[Any] = ()) -> None:
        self.env = Environment(config, kind=self.kind, plugins=plugins)
        self.loop = Loop()
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._fault: BaseException | None = None
        self._state = "new"
        self._launcher_process: LauncherProcess | None = None
        self._cleanup_folder = ""
        self.on_ready: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def use_launcher(self, process: LauncherProcess, folder: str) -> None:
        """Let the node have a launcher that runs already.

        Args:
            process: The launcher.
            folder: What it removes when the node ends, however it ends; empty for none.
        """
        self._launcher_process = process
        self._cleanup_folder = folder

    def start(self) -> None:
        """Start in a thread of its own; return once the node works.

        Raises:
            ConcurroError: It could not start; the error says why.
        """
        self._begin()
        self._thread = threading.Thread(target=self._main, name=f"concurro-{self.kind}", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._fault is not None:
            self._thread.join(JOIN_LIMIT)
            raise self._fault

    def run(self) -> None:
        """Run in this thread until SIGINT, SIGTERM or `stop`.

        Raises:
            ConcurroError: It could not start, or had to end; the error says why.
        """
        self._begin()
        with self._signals():
            self._main()
        if self._fault is not None:
            raise self._fault

    def stop(self) -> None:
        """End; return once everything that the node started is gone.

        Thread-safe, idempotent.
        """
        if self._state == "new":
            self._state = "ended"
            self.loop.close()
            return
        self.loop.stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_LIMIT)

    def fail(self, reason: str) -> None:
        """End the node because it cannot go on. Loop thread only."""
        self._fault = NodeStartError(reason)
        self.loop.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the node ended; return whether it did."""
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return self._state == "ended"

    def _open(self) -> None:
        """Start everything. Loop thread only."""
        raise NotImplementedError

    def _close(self) -> None:
        """End everything that `_open` started, as far as it came.

        Loop thread only.
        """
        raise NotImplementedError

    def _begin(self) -> None:
        if self._state != "new":
            message = f"a {type(self).__name__} starts once; make another one"
            raise NodeStartError(message)
        self._state = "running"
        raise_descriptor_limit()

    def _main(self) -> None:
        opened = False
        try:
            self._open()
            opened = True
            gc.freeze()
            self._ready.set()
            self.on_ready()
            self.loop.run()
        except BaseException as fault:
            if opened:
                log.exception("the %s ended with an error", self.kind)
            self._fault = fault
        finally:
            try:
                self._close()
            except Exception as fault:
                if opened:
                    log.exception("the %s did not end cleanly", self.kind)
                elif self._fault is None:
                    self._fault = fault
            self.loop.close()
            self._state = "ended"
            self._ready.set()

    def _interrupted(self, number: int) -> None:
        """Take a signal; the first one ends the node."""
        log.info("%s: stopping", signal.Signals(number).name)
        self.loop.stop()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def take(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal's taker
            self.loop.post(lambda: self._interrupted(number))

        before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, taker in before.items():
                signal.signal(number, taker)


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
