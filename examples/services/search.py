"""Search with a shared bound, then compute where a large value lies.

Run it: python search.py
"""

from __future__ import annotations

from pathlib import Path

from concurro import LocalCluster, Task, current_application

PLUGINS = [Path(__file__).parent / "plugins"]


class Look(Task):
    """Look for the least value of (x - 3)^2 + 1, and leave what cannot be better."""

    def __init__(self, start: int) -> None:
        super().__init__(f"look-{start}")
        self.start = start

    def __call__(self) -> bool:
        """Return whether this part was looked at."""
        bound = current_application().service("bound")
        best = bound.best().result()
        if best is not None and min(abs(self.start - 3), abs(self.start + 9 - 3)) ** 2 + 1 > best and self.start != 0:
            return False
        for x in range(self.start, self.start + 10):
            bound.improve((x - 3) ** 2 + 1)
        return True


def main() -> None:
    """Print the least value, and the sum of a list that stays where it is."""
    with LocalCluster(workers=2, plugins=PLUGINS) as cluster:
        application = cluster.application
        for future in cluster.push_tasks([Look(start) for start in range(0, 100, 10)]):
            future.result()
        print(cluster.service("bound").best().result())

        worker = application.workers()[0]
        shelf = cluster.service("shelf", worker.address)
        shelf.put("numbers", list(range(1_000_000)))
        print(shelf.apply("numbers", sum).result())


if __name__ == "__main__":
    main()
