"""A process pool, and what the kernel says about its processes."""

from __future__ import annotations

import pytest

from concurro.execution.process_pool import ProcessPool
from tests.support.waiting import wait_until
from tests.system.execution.tasks import Call, process_id


@pytest.fixture(autouse=True)
def _files_first(tmp_path_factory):
    tmp_path_factory.getbasetemp()  # before the folder for temporary files is another one


class Pool:
    """A pool of which one task is asked at a time."""

    def __init__(self, workers):
        self.manager = ProcessPool()
        self.manager.init("here", "")
        self.manager.update_pool(workers)
        self.manager.start()

    def run(self, function, *arguments, **fields):
        """Return result and error of one call."""
        self.manager.push_task(Call(function, *arguments, **fields))
        return self.take()

    def take(self):
        """Return result and error of the next final task."""
        self.manager.wait_for_all(30)
        _, result, error = self.manager.get_results_queue().get_nowait()
        return result, error

    def push(self, function, *arguments, **fields):
        """Push one call."""
        task = Call(function, *arguments, **fields)
        self.manager.push_task(task)
        return task

    def worker(self):
        """Return the process id of a worker that is there now."""
        result, error = self.run(process_id)
        assert error is None, error
        return result

    def wait_for_workers(self, count):
        """Wait until so many workers live."""
        return wait_until(lambda: len(self.manager.worker_pids()) == count, 30, f"{count} workers") and (
            self.manager.worker_pids()
        )


@pytest.fixture
def pool(leaves_nothing_behind):
    pool = Pool(1)
    yield pool
    pool.manager.stop()


@pytest.fixture
def two(leaves_nothing_behind):
    pool = Pool(2)
    yield pool
    pool.manager.stop()
