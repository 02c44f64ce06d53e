"""Count the points inside the Mandelbrot set, and draw them if you like.

Shows tasks of very different length, a row each: a row through the middle of the set
takes a hundred times as long as one at the rim. With `picture` the rows become an
image, which needs Pillow (`pip install ".[examples]"`) where the system runs.

    concurrent run examples/mandelbrot.py -p size=512 -p iterations=1000 -p picture=set.png
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from concurro import LocalCluster, Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError

LEFT, TOP, EDGE = -2.0, -1.25, 2.5
BLACK = 0


def escape_time(c: complex, iterations: int) -> int:
    """Return after how many steps the point leaves the disc of radius 2; 0 for never."""
    z = 0j
    for step in range(1, iterations + 1):
        z = z * z + c
        if z.real * z.real + z.imag * z.imag > 4.0:  # noqa: PLR2004 - the radius, squared
            return step
    return 0


class Row(Task):
    """Compute one row of a square of `size` pixels."""

    def __init__(self, number: int, size: int, iterations: int) -> None:
        super().__init__(f"row-{number}")
        self.number = number
        self.size = size
        self.iterations = iterations

    def __call__(self) -> tuple[int, bytes]:
        """Return how many points are inside, and one grey value per pixel."""
        step = EDGE / self.size
        imaginary = TOP + (self.number + 0.5) * step
        times = [
            escape_time(complex(LEFT + (column + 0.5) * step, imaginary), self.iterations)
            for column in range(self.size)
        ]
        return times.count(0), bytes(BLACK if time == 0 else 255 - min(time * 4, 220) for time in times)


class Mandelbrot(TaskSystem):
    """Iterate the pixel centres of [-2, 0.5] x [-1.25, 1.25]; write `picture` if a path is given."""

    def __init__(self, size: int = 256, iterations: int = 256, picture: str = "") -> None:
        super().__init__()
        self.size = size
        self.iterations = iterations
        self.picture = str(Path(picture).absolute()) if picture else ""
        if picture:
            importlib.import_module("PIL.Image")  # says at once that Pillow is missing
        self.inside = 0
        self.rows: dict[int, bytes] = {}
        self.done = 0

    def generate_tasks(self, master: IMaster) -> Iterator[Row]:
        """Generate a task per row."""
        return (Row(number, self.size, self.iterations) for number in range(self.size))

    def task_finished(self, master: IMaster, task: Row, result: tuple[int, bytes], error: TaskError | None) -> None:
        """Count the row, and keep it for the picture."""
        if error is not None:
            raise error
        inside, greys = result
        self.inside += inside
        self.done += 1
        if self.picture:
            self.rows[task.number] = greys
        master.report_progress(self.done, self.size)

    def is_complete(self, master: IMaster) -> bool:
        """Stop after the last row."""
        return self.done == self.size

    def gather_result(self, master: IMaster) -> tuple[int, None]:
        """Write the picture; return how many points are inside."""
        if self.picture:
            image = importlib.import_module("PIL.Image")
            greys = b"".join(self.rows[number] for number in range(self.size))
            image.frombytes("L", (self.size, self.size), greys).save(self.picture)
        return self.inside, None


if __name__ == "__main__":
    with LocalCluster() as cluster:
        print(cluster.run(Mandelbrot()))
