"""Use the worker processes alone, without master, slave or application.

Shows a task manager as a component of its own: the environment finds it by name, its
owner starts it, pushes tasks, reads results from a queue, and stops it.

    python examples/pool_without_nodes.py
"""

from __future__ import annotations

from concurro import Environment, ITaskManager, Task


class Collatz(Task):
    """Count the steps from a number down to 1."""

    def __init__(self, number: int) -> None:
        super().__init__(f"collatz-{number}")
        self.number = number

    def __call__(self) -> int:
        """Return the number of steps."""
        number, steps = self.number, 0
        while number != 1:
            number = number // 2 if number % 2 == 0 else 3 * number + 1
            steps += 1
        return steps


def longest_chain(limit: int) -> tuple[int, int]:
    """Return the number below `limit` with most steps, and how many they are."""
    pool = Environment().get(ITaskManager, "process-pool")
    pool.init("", "")
    pool.start()
    try:
        for number in range(1, limit):
            pool.push_task(pool.create_task(Collatz, number))
        pool.wait_for_all(timeout=60)
        results = pool.get_results_queue()
        chains = {}
        for _ in range(1, limit):
            task, steps, error = results.get_nowait()
            if error is not None:
                raise error
            chains[task.number] = steps
    finally:
        pool.stop()
    return max(chains.items(), key=lambda chain: (chain[1], -chain[0]))


if __name__ == "__main__":
    number, steps = longest_chain(1000)
    print(f"{number} takes {steps} steps")
