"""Ctrl-C once asks, twice kills; SIGTERM is the same."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from concurro.cli.outcomes import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt here at the first signal.

    End the process at the second.

    What this process started sees the end of its channel and ends too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        del frame
        if taken:
            os.write(2, b"killed\n")
            os._exit(EXIT_INTERRUPTED)
        taken.append(number)
        raise KeyboardInterrupt

    # Also where a shell started us with SIGINT ignored: a job must not outlive its script.
    before = {number: signal.signal(number, take) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, taker in before.items():
            signal.signal(number, taker)
