"""What a task does to the standard streams and to logging ends with it: lines 23 and 24 of the failure matrix."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time

import pytest

from concurro import ClusterExecutor, LocalCluster, Task
from tests.support.jobs import SHIPPED

SILENT = {"application": {**SHIPPED["application"], "output": False}}
ROUND = 6


class Acting(Task):
    """Calls a function; long enough that both workers get some."""

    def __init__(self, act):
        super().__init__("acting", max_retries=0)
        self.act = act

    def __call__(self):
        answer = self.act()
        time.sleep(0.005)
        return answer


def speak():
    print("printed")
    print("complained", file=sys.stderr)
    logging.warning("logged")  # noqa: LOG015 - it adds a handler to the root
    logging.getLogger("library").info("not shown")
    os.write(1, b"written\n")
    return os.getpid()


SPOKEN = ["WARNING:root:logged", "complained", "printed", "written"]


def close_descriptors():
    os.close(1)
    os.close(2)


def point_elsewhere():
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def exchange_descriptors():
    spare = os.dup(1)
    os.dup2(2, 1)
    os.dup2(spare, 2)


def close_streams():
    sys.stdout.close()
    sys.stderr.close()


def detach_stream():
    sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="ascii")


def wrap_buffer():
    # The buffer is closed when nobody holds the wrapper any more.
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="ascii")


def remove_streams():
    sys.stdout = None
    del sys.stderr


def replace_streams():
    sys.stdout = sys.stderr = io.StringIO()


def raise_redirected():
    sys.stdout = io.StringIO()
    raise ValueError


def disable_logging():
    logging.disable(logging.CRITICAL)


def drop_handlers():
    logging.root.handlers.clear()
    logging.root.addHandler(logging.NullHandler())


def add_handler_and_filter():
    logging.basicConfig(level=logging.DEBUG, format="mine %(message)s", force=True)
    logging.root.handlers[0].addFilter(lambda record: False)


def raise_level():
    logging.root.setLevel(logging.CRITICAL)


def disable_root():
    logging.root.disabled = True
    logging.root.addFilter(lambda record: False)


LOST = [close_descriptors, point_elsewhere, exchange_descriptors, close_streams, detach_stream, wrap_buffer]
PUT_BACK = [
    remove_streams,
    replace_streams,
    raise_redirected,
    disable_logging,
    drop_handlers,
    add_handler_and_filter,
    raise_level,
    disable_root,
]


def run_round(cluster, act):
    """Push a few tasks, wait for all; return their futures."""
    futures = cluster.push_tasks(Acting(act) for _ in range(ROUND))
    for future in futures:
        future.exception(30)
    return futures


@pytest.mark.parametrize("act", [*LOST, *PUT_BACK])
def test_f24_what_a_task_does_to_streams_and_logging_is_not_seen_by_the_next(shared_cluster, act):
    run_round(shared_cluster, speak)
    run_round(shared_cluster, act)

    after = run_round(shared_cluster, speak)

    assert [future.exception(0) for future in after] == [None] * ROUND
    assert [sorted(future.output().splitlines()) for future in after] == [SPOKEN] * ROUND


@pytest.mark.slow
def test_f24_what_can_be_put_back_costs_no_worker():
    with LocalCluster(workers=1, config=SILENT) as cluster:
        before = cluster.push_task(Acting(speak)).result(30)
        for act in PUT_BACK:
            with contextlib.suppress(ValueError):
                cluster.push_task(Acting(act)).result(30)

        after = cluster.push_task(Acting(speak)).result(30)

    assert after == before


@pytest.mark.slow
def test_f23_a_worker_without_its_descriptors_is_replaced_and_nothing_is_charged():
    with LocalCluster(workers=1, config=SILENT) as cluster:
        before = cluster.push_task(Acting(speak)).result(30)
        for act in (close_descriptors, close_streams):
            cluster.push_task(Acting(act)).result(30)
            future = cluster.push_task(Acting(speak))  # lost for good, were its attempt charged

            assert future.result(30) != before
            before = future.result(0)


class DisablingFirst(Task):
    """The first of its class in a worker: its import belongs to the worker, what it does does not."""

    def __call__(self):
        logging.disable(logging.CRITICAL)
        sys.stdout = None


@pytest.mark.slow
def test_f24_the_first_task_of_a_class_leaves_as_little_as_others():
    with LocalCluster(workers=1, config=SILENT) as cluster:
        cluster.push_task(DisablingFirst("first")).result(30)

        future = cluster.push_task(Acting(speak))
        future.result(30)

        assert sorted(future.output().splitlines()) == SPOKEN


def configure(level):
    logging.basicConfig(level=level, format="configured %(message)s", force=True)
    os.umask(0o027)


def tell():
    logging.getLogger("library").info("told")
    mask = os.umask(0o022)
    os.umask(mask)
    return os.getpid(), mask


@pytest.mark.slow
def test_what_an_initializer_sets_up_stays_in_its_worker(capfd):
    with ClusterExecutor(1, initializer=configure, initargs=(logging.INFO,)) as executor:
        answers = [executor.submit(tell).result(30) for _ in range(3)]

    assert {mask for _, mask in answers} == {0o027}
    assert len({pid for pid, _ in answers}) == 1
    assert [line.rpartition("] ")[2] for line in capfd.readouterr().err.splitlines()] == ["configured told"] * 3
