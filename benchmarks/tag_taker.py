"""A process of W14 that takes tasks, and gives back what it got."""

from __future__ import annotations

import sys

from concurro_tagqueue import TaskManager, TaskManagerTermination


def main() -> None:
    """Take tasks until there are no more; arguments: master and label."""
    with TaskManager.connect(*sys.argv[1:]) as tasks:
        process_id = tasks.register_process(None, "benchmark")
        try:
            while True:
                task_id, _, parameters = tasks.get_any_task(process_id)
                tasks.store_result(task_id, parameters)
        except TaskManagerTermination:
            return


if __name__ == "__main__":
    main()
