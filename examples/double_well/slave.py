"""The slave of `master.py`: energies, minima and the barrier of a double well.

python examples/double_well/slave.py      as many as you like, also later, also elsewhere
"""

from __future__ import annotations

from concurro_tagqueue import SlaveProcess

Point = tuple[float, float]
ACCURACY = 1e-9


def energy(x: float, y: float) -> float:
    """Return the energy at a point: two wells, at x = -1 and 1."""
    return (x * x - 1) ** 2 + 2 * y * y


class DoubleWell(SlaveProcess):
    """Does three kinds of tasks."""

    def do_row(self, y: float, xs: list[float]) -> tuple[float, list[float]]:
        """Return the energies of a row of the grid."""
        return y, [energy(x, y) for x in xs]

    def do_descend(self, start: Point, step: float) -> Point:
        """Go downhill from a point of the grid, in shorter and shorter steps."""
        x, y = start
        while step > ACCURACY:
            around = [(x + step, y), (x - step, y), (x, y + step), (x, y - step)]
            best = min(around, key=lambda point: energy(*point))
            if energy(*best) < energy(x, y):
                x, y = best
            else:
                step /= 2
        return x, y

    def do_barrier(self, start: Point, end: Point) -> float:
        """Return the highest energy on the way between two minima."""

        def along(part: float) -> float:
            return energy(*(a + part * (b - a) for a, b in zip(start, end, strict=True)))

        low, high = 0.0, 1.0
        while high - low > ACCURACY:
            left, right = low + (high - low) / 3, high - (high - low) / 3
            if along(left) < along(right):
                low = left
            else:
                high = right
        return along(low)


if __name__ == "__main__":
    DoubleWell("double-well").start()
