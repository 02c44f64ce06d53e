"""What a process asks of its kernel for itself."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_VICTIM_SCORE = b"500"


def set_process_controls(option: int, value: int) -> None:
    """Call prctl; nothing happens where there is none."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def end_with_parent(parent: int, code: int) -> None:
    """Be killed when the parent ends; end at once when it did already.

    Args:
        parent: Its process id.
        code: Exit code.
    """
    set_process_controls(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(code)


def offer_to_kernel() -> None:
    """Let the kernel end this process rather than its parent.

    When memory runs out.
    """
    with contextlib.suppress(OSError):
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, _VICTIM_SCORE)
        finally:
            os.close(fd)
