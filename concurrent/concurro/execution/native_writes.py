"""Whether anything was written to the pipes of a worker, by whomever.

    worker, at the end of a task                     agent
      | bytes in the pipes? ------ pipes ---------->  | counts, then reads
      | has the count changed? <-- a shared page ---  |

Programs that a task starts, and native code, write past Python's streams. Either their bytes are
still in the pipes, or the agent took them, and had counted before: so nothing is overlooked, and
a task that wrote nothing pays two system calls at the end of its chunk.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import termios

from concurro.execution.native_trace import unnamed_file

_SIZE = 8
_NOTHING = bytes(4)


class ReadCount:
    """The agent's end: how often the pipes of one worker were read."""

    def __init__(self) -> None:
        self._end = unnamed_file("reads")
        os.ftruncate(self._end, _SIZE)
        self._page = mmap.mmap(self._end, _SIZE)
        self._count = 0

    def add(self) -> None:
        """Count; called before the pipes are read."""
        self._count += 1
        self._page[:] = self._count.to_bytes(_SIZE, "little")

    def end_for_worker(self) -> int:
        """Return the descriptor for the worker, to be taken over."""
        return self._end

    def close(self) -> None:
        """Let it go. Idempotent."""
        self._page.close()


class NativeWrites:
    """The worker's end.

    Args:
        reads: Descriptor of the agent's count; it may be closed afterwards.
        pipes: Descriptors of the pipes that nobody else closes or replaces.
    """

    def __init__(self, reads: int, pipes: tuple[int, int]) -> None:
        self._page = mmap.mmap(reads, _SIZE, prot=mmap.PROT_READ)
        self._output, self._errors = pipes
        self._seen = self._page[:]

    def happened(self) -> bool:
        """Say whether anything was written since `forget`.

        The count is looked at last: what is not in the pipes any more is counted by then.
        """
        waiting = termios.FIONREAD
        try:
            if fcntl.ioctl(self._output, waiting, _NOTHING) != _NOTHING:
                return True
            if fcntl.ioctl(self._errors, waiting, _NOTHING) != _NOTHING:
                return True
        except OSError:
            return True  # a task closed descriptors that are not its own
        return self._page[:] != self._seen

    def forget(self) -> None:
        """Take all that was written so far as told."""
        self._seen = self._page[:]
