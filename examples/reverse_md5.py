"""Find the number whose MD5 digest is given.

Shows an early stop. The range is cut into jobs; as soon as one of them found the
number the system is complete: what is queued is cancelled, what runs is killed.

    concurrent run examples/reverse_md5.py
    concurrent run examples/reverse_md5.py -p jobs=16 -p digest=c4ca4238a0b923820dcc509a6f75849b
"""

from __future__ import annotations

from hashlib import md5
from typing import TYPE_CHECKING

from concurro import LocalCluster, Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError


class SearchRange(Task):
    """Search the numbers from `start` up to, not including, `stop`."""

    def __init__(self, start: int, stop: int, digest: str) -> None:
        super().__init__(f"search-{start}")
        self.start = start
        self.stop = stop
        self.digest = digest

    def __call__(self) -> int | None:
        """Return the number with the digest, or None."""
        digest = self.digest
        for number in range(self.start, self.stop):
            if md5(b"%d" % number).hexdigest() == digest:
                return number
        return None


class ReverseMD5(TaskSystem):
    """Search [1, `total`) in `jobs` pieces."""

    def __init__(
        self, total: int = 2_000_000, jobs: int = 128, digest: str = "28238d467c88ae233a214d38c02dbccd"
    ) -> None:
        super().__init__()
        self.total = total
        self.jobs = jobs
        self.digest = digest
        self.searched = 0
        self.number: int | None = None

    def generate_tasks(self, master: IMaster) -> Iterator[SearchRange]:
        """Cut the range into pieces of equal length."""
        length = self.total - 1
        for job in range(self.jobs):
            yield SearchRange(1 + job * length // self.jobs, 1 + (job + 1) * length // self.jobs, self.digest)

    def task_finished(self, master: IMaster, task: Task, result: int | None, error: TaskError | None) -> None:
        """Keep the number if this job found it."""
        if error is not None:
            raise error
        self.searched += 1
        if result is not None:
            self.number = result

    def is_complete(self, master: IMaster) -> bool:
        """Stop at the first find, or when everything was searched."""
        return self.number is not None or self.searched == self.jobs

    def gather_result(self, master: IMaster) -> tuple[int | None, LookupError | None]:
        """Return the number, or an error that ends the job."""
        if self.number is None:
            return None, LookupError(f"no number from 1 to {self.total - 1} has the MD5 digest {self.digest}")
        return self.number, None


if __name__ == "__main__":
    with LocalCluster() as cluster:
        print(cluster.run(ReverseMD5()))
