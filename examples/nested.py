"""Integrate a narrow peak: a task splits its interval and waits for the tasks of the halves.

Only the first levels are tasks, so that few tasks wait at once. Below them a task halves its
interval by itself wherever Simpson's rule is not accurate enough there.
"""

from __future__ import annotations

from concurro import LocalCluster, Task, current_application

PLACE = 0.3
WIDTH = 1e-3


def peak(x: float) -> float:
    """Return the height at `x`."""
    return 1.0 / (WIDTH**2 + (x - PLACE) ** 2)


class Integral(Task):
    """Integrate the peak from `start` to `stop`, by tasks of its own for the first `levels`."""

    def __init__(self, start: float, stop: float, levels: int, tolerance: float) -> None:
        super().__init__(f"integral-{start:g}-{stop:g}")
        self.start = start
        self.stop = stop
        self.levels = levels
        self.tolerance = tolerance

    def __call__(self) -> float:
        """Return the integral, of the halves if there are levels left."""
        if self.levels == 0:
            return adaptive(self.start, self.stop, self.tolerance)
        middle = (self.start + self.stop) / 2
        halves = [
            Integral(start, stop, self.levels - 1, self.tolerance / 2)
            for start, stop in ((self.start, middle), (middle, self.stop))
        ]
        # While it waits, another task runs in its place.
        return sum(future.result() for future in current_application().push_tasks(halves))


def simpson(start: float, stop: float) -> float:
    """Return what Simpson's rule gives."""
    return (stop - start) / 6 * (peak(start) + 4 * peak((start + stop) / 2) + peak(stop))


def adaptive(start: float, stop: float, tolerance: float) -> float:
    """Return the integral, halved wherever that makes a difference."""
    middle = (start + stop) / 2
    coarse, left, right = simpson(start, stop), simpson(start, middle), simpson(middle, stop)
    if abs(left + right - coarse) < 15 * tolerance:
        return left + right
    return adaptive(start, middle, tolerance / 2) + adaptive(middle, stop, tolerance / 2)


if __name__ == "__main__":
    with LocalCluster(workers=2) as cluster:
        print(f"{cluster.push_task(Integral(0.0, 1.0, 2, 1e-6)).result():.4f}")
