"""Let the wall clock of this process be wrong: Python imports this module by itself at its start.

The file that `CONCURRO_CLOCK` names holds by how much [s]; a test may change it at any time. The
monotonic clock is right, as it is where a wall clock jumps.
"""

import os
import time

CLOCK = "CONCURRO_CLOCK"


def jump(path):
    """Let `time.time` follow the file from now on."""
    now, now_ns = time.time, time.time_ns

    def shift():
        fd = os.open(path, os.O_RDONLY)
        try:
            return int(os.read(fd, 32))
        finally:
            os.close(fd)

    time.time = lambda: now() + shift()
    time.time_ns = lambda: now_ns() + shift() * 10**9


if os.environ.get(CLOCK):
    jump(os.environ[CLOCK])
