"""Compute hexadecimal digits of pi from the middle, without those before.

Shows an exact answer from independent pieces. Each task adds up a range of the series
in integers, so the sum does not depend on who computed what, or in which order.

    concurrent run examples/pi_digits.py -p position=1000000

Source: D. Bailey, P. Borwein, S. Plouffe, On the rapid computation of various
polylogarithmic constants, 1997, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro import LocalCluster, Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError

FRACTION_BITS = 128
"""Bits behind the point; the last ones are lost to rounding down, once per term."""

SERIES = ((1, 4), (4, -2), (5, -1), (6, -1))
"""pi is the sum over k of 16**-k times the sum of weight / (8k + offset)."""


class AddTerms(Task):
    """Add the terms from `start` up to, not including, `stop`."""

    def __init__(self, skipped: int, start: int, stop: int) -> None:
        super().__init__(f"terms-{start}")
        self.skipped = skipped
        self.start = start
        self.stop = stop

    def __call__(self) -> int:
        """Return the fraction of 16**skipped times the terms, in units of 2**-FRACTION_BITS."""
        total = 0
        for k in range(self.start, self.stop):
            exponent = self.skipped - k
            for offset, weight in SERIES:
                divisor = 8 * k + offset
                if exponent >= 0:
                    total += weight * ((pow(16, exponent, divisor) << FRACTION_BITS) // divisor)
                else:
                    total += weight * ((1 << (FRACTION_BITS + 4 * exponent)) // divisor)
        return total % (1 << FRACTION_BITS)


class PiDigits(TaskSystem):
    """Compute the eight hexadecimal digits of pi from `position` on, counted from 1, in `pieces` tasks."""

    def __init__(self, position: int = 100_000, pieces: int = 32) -> None:
        super().__init__()
        self.skipped = position - 1
        self.pieces = pieces
        self.terms = position + FRACTION_BITS // 4
        self.fraction = 0
        self.done = 0

    def generate_tasks(self, master: IMaster) -> Iterator[AddTerms]:
        """Cut the series into pieces of equal length."""
        for piece in range(self.pieces):
            start, stop = (edge * self.terms // self.pieces for edge in (piece, piece + 1))
            yield AddTerms(self.skipped, start, stop)

    def task_finished(self, master: IMaster, task: Task, result: int, error: TaskError | None) -> None:
        """Add the piece; whole parts do not matter."""
        if error is not None:
            raise error
        self.fraction = (self.fraction + result) % (1 << FRACTION_BITS)
        self.done += 1

    def is_complete(self, master: IMaster) -> bool:
        """Stop after the last piece."""
        return self.done == self.pieces

    def gather_result(self, master: IMaster) -> tuple[str, None]:
        """Return the digits."""
        return f"{self.fraction >> (FRACTION_BITS - 32):08X}", None


if __name__ == "__main__":
    with LocalCluster() as cluster:
        print(cluster.run(PiDigits()))
