"""W14: tasks that processes take by tag, and their results; and how that grows with those in line.

    requester --add--> queue --take--> taker processes --store--> queue --collect--> requester

The peer has two queues of a `multiprocessing.Manager`: of tasks, and of results. It knows neither tags nor who has
taken what, and loses the task of a taker that dies.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.clocks import check_equal
from benchmarks.round_trips import percentiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.workload import Setting

TASKS = 5_000
IN_LINE = 1_000_000
TAGS = 1_000
STEPS = 20_000
LABEL = "benchmark"
END_WITHIN = 20.0
LOOK_AGAIN = 0.01


def ours(setting: Setting) -> dict[str, float]:
    """Ask takers beside an embedded cluster, whose master keeps the tasks."""
    from concurro import LocalCluster  # noqa: PLC0415 - peers do not pay for it

    with LocalCluster(workers=1) as cluster:
        return _ours(setting, cluster.master_url)


def ours_with_a_journal(setting: Setting) -> dict[str, float]:
    """Ask takers of a master whose journal has every step before it is answered."""
    from concurro import LocalCluster  # noqa: PLC0415 - as above

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(workers=1, config={"master": {"journal": f"{folder}/journal"}}) as cluster,
    ):
        return _ours(setting, cluster.master_url)


def ours_over_tcp(setting: Setting) -> dict[str, float]:
    """Ask takers of a master in a process of its own, all over TCP."""
    from benchmarks.processes import running_nodes  # noqa: PLC0415 - as above

    with running_nodes(0) as url:
        return _ours(setting, url)


def _ours(setting: Setting, url: str) -> dict[str, float]:
    from concurro_tagqueue import TaskManager  # noqa: PLC0415 - as above

    with TaskManager.connect(url, LABEL) as tasks, _takers(setting.workers, url):
        while tasks.number_of_active_processes() < setting.workers:
            time.sleep(LOOK_AGAIN)
        try:
            return _measured(setting, lambda number: tasks.add_task_request("noop", number), tasks.get_any_result)
        finally:
            tasks.terminate()


@contextmanager
def _takers(count: int, url: str) -> Iterator[None]:
    """Run processes that take tasks until the task manager is terminated."""
    takers = [subprocess.Popen([sys.executable, "-m", "benchmarks.tag_taker", url, LABEL]) for _ in range(count)]
    try:
        yield
    finally:
        for taker in takers:
            try:
                taker.wait(END_WITHIN)
            except subprocess.TimeoutExpired:
                taker.kill()
                taker.wait()


def manager(setting: Setting) -> dict[str, float]:
    """Ask takers through the queues of a manager of the standard library."""
    spawning = multiprocessing.get_context("spawn")
    with spawning.Manager() as peer:
        tasks, results = peer.Queue(), peer.Queue()
        takers = [spawning.Process(target=_take_all, args=(tasks, results)) for _ in range(setting.workers)]
        for taker in takers:
            taker.start()
        for _ in takers:
            results.get()  # it is there
        measured = _measured(setting, tasks.put, results.get)
        for _ in takers:
            tasks.put(None)
        for taker in takers:
            taker.join(END_WITHIN)
        return measured


def _take_all(tasks: Any, results: Any) -> None:
    results.put(None)
    while (number := tasks.get()) is not None:
        results.put(number)


def _measured(setting: Setting, add: Callable[[int], object], collect: Callable[[], object]) -> dict[str, float]:
    count = setting.count or TASKS
    for number in range(count // 10):
        add(number)
    for _ in range(count // 10):
        collect()
    started = time.perf_counter()
    for number in range(count):
        add(number)
    for _ in range(count):
        collect()
    rate = count / (time.perf_counter() - started)

    def round_trip(number: int) -> object:
        add(number)
        return collect()

    return {"rate": rate, **percentiles(round_trip, setting)}


def with_a_thousand(setting: Setting) -> dict[str, float]:
    """Go through the life of tasks in one process, a thousand of as many tags in line."""
    return _in_line(setting, TAGS)


def with_a_million(setting: Setting) -> dict[str, float]:
    """Do the same with a million in line."""
    return _in_line(setting, IN_LINE)


def _in_line(setting: Setting, waiting: int) -> dict[str, float]:
    from concurro_tagqueue import TaskManager  # noqa: PLC0415 - as above

    tasks = TaskManager()
    for number in range(waiting):
        tasks.add_task_request(f"tag-{number % TAGS}", number)
    count = setting.count or STEPS
    seen = 0
    started = time.perf_counter()
    for number in range(count):
        tag = f"tag-{number % TAGS}"
        tasks.add_task_request(tag, number)
        task_id = tasks.get_task_with_tag(tag)[0] if number % 2 else tasks.get_any_task()[0]
        tasks.store_result(task_id, number)
        seen += tasks.get_any_result()[2] == number
    seconds = time.perf_counter() - started
    check_equal(seen, count, "results")
    return {"rate": count / seconds, "us": 1e6 * seconds / count}
