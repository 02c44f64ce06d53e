"""W5: the reverse MD5 search of the examples, against a bare fork of the same work.

The fork deals the 128 jobs out to its processes beforehand, one each in turn, and ends
with the first find. It searches what the cluster searches, and schedules nothing.
"""

from __future__ import annotations

import os
import select
import signal
import time
from hashlib import md5
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.pools.pool import Pool
    from benchmarks.workload import Setting

TOTAL = 2_000_000
JOBS = 128
DIGEST = "28238d467c88ae233a214d38c02dbccd"
ANSWER = 1763965


def search_range(job: tuple[int, int, str]) -> int | None:
    """Search one range."""
    return search(*job)


def search(start: int, stop: int, digest: str) -> int | None:
    """Return the number of a range that has the digest, or None."""
    for number in range(start, stop):
        if md5(b"%d" % number).hexdigest() == digest:  # noqa: S324 - the problem to solve
            return number
    return None


def _ranges(jobs: int) -> list[tuple[int, int]]:
    length = TOTAL - 1
    return [(1 + job * length // jobs, 1 + (job + 1) * length // jobs) for job in range(jobs)]


def _checked(number: int | None, seconds: float, **others: float) -> dict[str, float]:
    if number != ANSWER:
        message = f"{number} is not {ANSWER}"
        raise AssertionError(message)
    return {"seconds": seconds, **others}


def run_system(setting: Setting, pool: Any) -> dict[str, float]:
    """Run the task system; the host's start is reported beside the search."""
    from benchmarks.timed_search import TimedSearch  # noqa: PLC0415 - peers must not pay for it

    submitted = time.monotonic()
    number, started, ended = pool.run(TimedSearch(TOTAL, setting.count or JOBS, DIGEST))
    returned = time.monotonic()
    return _checked(number, ended - started, host_start=started - submitted, whole=returned - submitted)


def submit(setting: Setting, pool: Pool) -> dict[str, float]:
    """Submit the jobs, look at each as it ends, and stop at the find."""
    arguments = [(start, stop, DIGEST) for start, stop in _ranges(setting.count or JOBS)]
    started = time.monotonic()
    number = next((found for found in pool.each_finished(search_range, arguments) if found is not None), None)
    return _checked(number, time.monotonic() - started)


def on_bare_fork(setting: Setting) -> dict[str, float]:
    """Fork, let every process do its share, and read the answer from a pipe."""
    ranges = _ranges(setting.count or JOBS)
    reader, writer = os.pipe()
    started = time.monotonic()
    children = [_fork_share(ranges[share :: setting.workers], writer) for share in range(setting.workers)]
    select.select([reader], [], [])
    number = int(os.read(reader, 64))
    seconds = time.monotonic() - started
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    return _checked(number, seconds)


def _fork_share(ranges: list[tuple[int, int]], writer: int) -> int:
    child = os.fork()
    if child:
        return child
    for start, stop in ranges:
        number = search(start, stop, DIGEST)
        if number is not None:
            os.write(writer, b"%d" % number)
            break
    signal.pause()
    os._exit(0)
