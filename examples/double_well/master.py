"""A double well on a grid, by three kinds of tasks: master and slaves in two scripts.

    python examples/double_well/master.py      in one terminal
    python examples/double_well/slave.py       in another one, or in several

rows of the grid --> its lowest points --> down to the minima --> the barrier between them
"""

from __future__ import annotations

from concurro_tagqueue import GlobalStateValue, MasterProcess

STEP = 0.13
XS = [-2 + STEP * number for number in range(31)]
YS = [-1 + STEP * number for number in range(16)]


class Master(MasterProcess):
    """Decides what is computed next."""

    def run(self) -> None:
        """Print the minima and the barrier."""
        state = self.set_global_state(xs=XS)
        for y in YS:
            self.request_task("row", y, GlobalStateValue(state, "xs"))
        energies = dict(self.retrieve_result("row")[2] for _ in YS)
        self.delete_global_state(state)

        lowest = lowest_points([energies[y] for y in YS])
        for point in lowest:
            self.request_task("descend", point, STEP)
        minima = sorted(self.retrieve_result("descend")[2] for _ in lowest)
        for x, y in minima:
            print(f"a minimum at ({x:.4f}, {abs(y):.4f})")

        self.request_task("barrier", *minima)
        print(f"the barrier is {self.retrieve_result('barrier')[2]:.4f}")


def lowest_points(grid: list[list[float]]) -> list[tuple[float, float]]:
    """Return the points that are lower than all around them."""
    found = []
    for row in range(1, len(YS) - 1):
        for column in range(1, len(XS) - 1):
            around = [grid[r][c] for r in (row - 1, row, row + 1) for c in (column - 1, column, column + 1)]
            if grid[row][column] == min(around):
                found.append((XS[column], YS[row]))
    return found


if __name__ == "__main__":
    Master("double-well").start()
