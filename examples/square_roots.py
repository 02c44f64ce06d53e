"""Square roots of five numbers, one of which has none: master and slaves of a job in one script.

python examples/square_roots.py       starts two slave processes, and ends them
concurrent tags slave square-roots    one more, from another terminal, while it runs
"""

from __future__ import annotations

import math

from concurro_tagqueue import MasterProcess, SlaveProcess, TaskRaisedException, run_job


class Master(MasterProcess):
    """Asks for the roots, and prints them."""

    def run(self) -> None:
        """Request five tasks, take five results in whatever order they come."""
        numbers = {self.request_task("sqrt", float(number)): number for number in range(-1, 4)}
        lines = {}
        for _ in numbers:
            try:
                task_id, _, root = self.retrieve_result("sqrt")
                lines[task_id] = f"the root of {numbers[task_id]} is {root:.4f}"
            except TaskRaisedException as error:
                lines[error.task_id] = f"the root of {numbers[error.task_id]}: {type(error.exception).__name__}"
        for task_id in numbers:
            print(lines[task_id])


class SquareRoots(SlaveProcess):
    """Computes them."""

    def do_sqrt(self, number: float) -> float:
        """Return the root of a number."""
        return math.sqrt(number)


if __name__ == "__main__":
    run_job("square-roots", Master, SquareRoots, launch_slaves=2)
