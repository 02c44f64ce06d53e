"""Two slaves of unequal speed, and a strategy of twenty lines that knows which is which.

Rounds of two tasks run on a slave that needs 0.03 s for a task and on one that needs
0.15 s. `least-loaded` gives each of them one, and every round waits for the slow slave;
`quickest-first` tries the slow one once. Then `least-loaded` decides again, with
`quickest-first` in its shadow: what would it have gained?
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from concurro import Config, LocalCluster, Task, TaskSystem

FOLDER = Path(__file__).parent
ROUNDS = 10
FAST, SLOW = 0.03, 0.15


class Step(Task):
    """Takes long on one slave, and not on any other."""

    def __init__(self, number: int, slow_slave: str) -> None:
        super().__init__(f"step-{number}")
        self.slow_slave = slow_slave

    def __call__(self) -> None:
        """Take as long as this slave needs."""
        time.sleep(SLOW if self.slave_id == self.slow_slave else FAST)


class Rounds(TaskSystem):
    """Rounds of two tasks; the next begins when both are done."""

    def __init__(self, slow_slave: str) -> None:
        super().__init__()
        self.slow_slave = slow_slave
        self.round = 0
        self.open = 0
        self.slowed: set[int] = set()

    def generate_tasks(self, master: Any) -> Iterable[Task]:
        """Return the tasks of the next round."""
        self.round += 1
        self.open = 2
        return [Step(number, self.slow_slave) for number in range(2)]

    def task_finished(self, master: Any, task: Task, result: Any, error: Any) -> None:
        """Note who had a part in the round."""
        self.open -= 1
        if task.slave_id == self.slow_slave:
            self.slowed.add(self.round)

    def is_complete(self, master: Any) -> bool:
        """Say whether all rounds are over."""
        return self.round == ROUNDS and not self.open

    def gather_result(self, master: Any) -> tuple[int, None]:
        """Return how many rounds waited for the slow slave."""
        return len(self.slowed), None


def run(strategy: str, shadow: str = "") -> dict[str, Any]:
    """Run the rounds under a strategy; print what they took."""
    settings = {"master.strategy": strategy, "rated.shadow": shadow}
    with LocalCluster(
        workers=2, slaves=2, config=Config.load(FOLDER / "concurrent.toml", overrides=settings)
    ) as cluster:
        slow_slave = cluster.slaves[-1].id
        started = time.monotonic()
        slowed = cluster.run(Rounds(slow_slave), timeout=60)
        elapsed = time.monotonic() - started
        print(f"{strategy}: {slowed} of {ROUNDS} rounds waited for the slow slave, {elapsed:.2f} s")
        return cluster.status()


def main() -> None:
    """Compare the strategies, side by side and in the shadow."""
    run("least-loaded")
    run("quickest-first")
    shadow = run("least-loaded", shadow="quickest-first")["shadow"]
    print(
        f"in its shadow {shadow['strategy']}: {shadow['different']} of {shadow['decisions']} decisions differ, "
        f"{shadow['regret']:.2f} s regret"
    )


if __name__ == "__main__":
    main()
