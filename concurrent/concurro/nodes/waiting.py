"""Wait for a handle, with a deadline and with progress for people."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.ids import ProgressRecord
    from concurro.nodes.foreign_bar import ProgressBar
    from concurro.nodes.handle import SystemHandle

    Progress = bool | Callable[[ProgressRecord], None] | ProgressBar | type[ProgressBar]

CANCEL_LIMIT = 10.0


def wait_with_progress(
    handle: SystemHandle,
    timeout: float | None,
    progress: Progress,
) -> Any:
    """Return the result of a system; cancel it when the time is over.

    Raises:
        TimeoutError: After `timeout` seconds [s].
    """
    if progress is False:
        return _wait(handle, timeout)
    from concurro.nodes.foreign_bar import fed, is_progress_bar  # noqa: PLC0415 - only who looks pays for it

    if is_progress_bar(progress):
        with fed(progress, handle):
            return _wait(handle, timeout)
    if callable(progress):
        handle.watch(cast("Callable[[ProgressRecord], None]", progress))
        return _wait(handle, timeout)
    if progress:
        from concurro.nodes.display import live_progress  # noqa: PLC0415 - only who looks pays for it

        with live_progress(handle):
            return _wait(handle, timeout)
    return _wait(handle, timeout)


def _wait(handle: SystemHandle, timeout: float | None) -> Any:
    try:
        return handle.result(timeout)
    except TimeoutError:
        if handle.done():
            raise
    handle.cancel()
    try:
        handle.result(CANCEL_LIMIT)
    except (CancelledError, TimeoutError):
        pass
    except Exception:  # noqa: BLE001, S110 - the system failed on its way out; that it took too long is what counts
        pass
    message = f"system {handle.system_id} did not end within {timeout:g} s and was cancelled"
    raise TimeoutError(message)
