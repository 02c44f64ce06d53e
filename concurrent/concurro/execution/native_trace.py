"""Where a worker was when native code ended it.

    worker: faulthandler ----> memory file <---- agent, after the worker's death

The file has no name, and belongs to the agent as much as to the worker. It costs nothing per
task.
"""

from __future__ import annotations

import faulthandler
import os
import signal

FATAL = tuple(
    getattr(signal, name) for name in ("SIGSEGV", "SIGABRT", "SIGFPE", "SIGBUS", "SIGILL") if hasattr(signal, name)
)
"""Signals before whose death a trace is written."""

_LIMIT = 16 * 1024
_OURS = (f"execution{os.sep}task_runner.py", f"execution{os.sep}worker.py")


class NativeTrace:
    """The memory file of one worker; both sides hold it by descriptor."""

    def __init__(self) -> None:
        self._fd = unnamed_file("trace")

    def end_for_worker(self) -> int:
        """Return a descriptor for the worker, to be taken over."""
        return os.dup(self._fd)

    def read(self) -> str:
        """Return the trace, the frames that called the task left out.

        Empty when there is none.
        """
        try:
            size = os.fstat(self._fd).st_size
            raw = os.pread(self._fd, _LIMIT, max(0, size - _LIMIT))
        except OSError:
            return ""
        text = raw.decode("utf-8", "backslashreplace")
        # Of several, the last counts: a process that a task forked may have died before.
        begin = text.rfind("Fatal Python error:")
        return _without_callers(text[max(begin, 0) :])

    def close(self) -> None:
        """Let it go. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def keep_trace(fd: int) -> None:
    """Let a death in native code leave its trace in a file.

    It may be called again and again: it takes effect whatever a task did in between.
    """
    faulthandler.enable(file=fd)


def _without_callers(text: str) -> str:
    kept = []
    ours = False
    for line in text.splitlines():
        ours = line.startswith("  File ") and (ours or any(name in line for name in _OURS))
        if line.startswith("Extension modules:"):
            break
        if not ours:
            kept.append(line)
    return "\n".join(kept).strip()


def unnamed_file(name: str) -> int:
    """Return a descriptor of a file in memory; its name is for people."""
    try:
        return os.memfd_create(name, os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        import tempfile  # noqa: PLC0415 - only where there is no memfd

        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
