"""Find the least number whose digest begins with many zero bits.

Shows rounds. How far the search must go is not known, so every round generates the
next pieces, and the rounds end when a number was found and nothing below it is open.

    concurrent run examples/proof_of_work.py -p bits=20
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from concurro import LocalCluster, Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError

DIGEST_BITS = 256


class SearchPiece(Task):
    """Search `length` numbers from `start` for a digest with `bits` leading zero bits."""

    def __init__(self, prefix: str, bits: int, start: int, length: int) -> None:
        super().__init__(f"piece-{start}")
        self.prefix = prefix
        self.bits = bits
        self.start = start
        self.length = length

    def __call__(self) -> int | None:
        """Return the least number of the piece that fits, or None."""
        limit = 1 << (DIGEST_BITS - self.bits)
        prefix = self.prefix.encode()
        for number in range(self.start, self.start + self.length):
            if int.from_bytes(sha256(b"%s:%d" % (prefix, number)).digest(), "big") < limit:
                return number
        return None


class ProofOfWork(TaskSystem):
    """Find the least i with sha256("`prefix`:i") starting with `bits` zero bits."""

    def __init__(self, bits: int = 16, prefix: str = "concurrent", pieces: int = 16, length: int = 20_000) -> None:
        super().__init__()
        self.bits = bits
        self.prefix = prefix
        self.pieces = pieces
        self.length = length
        self.rounds = 0
        self.next_start = 0
        self.open_starts: set[int] = set()
        self.least: int | None = None

    def generate_tasks(self, master: IMaster) -> Iterator[SearchPiece]:
        """Generate the next round, lowest numbers first."""
        self.rounds += 1
        for _ in range(self.pieces):
            start = self.next_start
            self.next_start += self.length
            self.open_starts.add(start)
            yield SearchPiece(self.prefix, self.bits, start, self.length)

    def task_finished(self, master: IMaster, task: SearchPiece, result: int | None, error: TaskError | None) -> None:
        """Keep the least number so far."""
        if error is not None:
            raise error
        self.open_starts.discard(task.start)
        if result is not None and (self.least is None or result < self.least):
            self.least = result
        master.report_progress(self.next_start - len(self.open_starts) * self.length, message=f"round {self.rounds}")

    def is_complete(self, master: IMaster) -> bool:
        """Stop when a number was found and every piece below it was searched.

        Pieces not generated yet lie above, and cannot hold a lesser number.
        """
        least = self.least
        return least is not None and all(start > least for start in self.open_starts)

    def gather_result(self, master: IMaster) -> tuple[int | None, None]:
        """Return the least number."""
        return self.least, None


if __name__ == "__main__":
    with LocalCluster() as cluster:
        print(cluster.run(ProofOfWork()))
