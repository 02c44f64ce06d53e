"""Pages of large values go back to the system while a process is idle.

Whoever shared them learns only by looking that nobody has them any more (wire/segments.py). It
looks when it needs pages again, and here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.transport.loop import Loop, Timer
    from concurro.wire.blobs import BlobStore

PERIOD = 2.0
"""How often it is looked [s]; what was free at two looks is given up, if nothing was shared between them."""


def keep_tidy(loop: Loop, blobs: BlobStore) -> Callable[[], None]:
    """Look after the pages of `blobs` for as long as the loop lives.

    Return what ends it, and gives up all of them; whoever has some keeps them.
    """
    timer: list[Timer | None] = [None]

    def look() -> None:
        blobs.tidy()
        timer[0] = loop.after(PERIOD, look)

    def stop() -> None:
        if timer[0] is not None:
            timer[0].cancel()
        blobs.close()

    look()
    return stop
