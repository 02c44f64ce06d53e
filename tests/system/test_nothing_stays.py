"""Of work that has ended nothing stays, in the master nor in the application: every table is as it was."""

from __future__ import annotations

import contextlib
from concurrent.futures import CancelledError

import pytest

from concurro import ApplicationNode, MasterNode, Task
from concurro.nodes.ledger import MOST_CLASSES
from concurro.scheduling import chronicle
from tests.support.jobs import Mixture, Square
from tests.support.tables import table_sizes
from tests.support.waiting import wait_until

LARGE = 200_000
ROUNDS = 3


class Echo(Task):
    """Gives back what it got, or raises it."""

    def __init__(self, value):
        super().__init__("echo")
        self.value = value

    def __call__(self):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def square(number):
    return number * number


def work(application):
    """Let every kind of work begin and end once; first what may cost the worker, which then learns all classes."""
    cancelled = application.push_task(Echo(2))
    cancelled.cancel()
    handle = application.submit(Mixture(Square(1)))
    handle.cancel()
    with contextlib.suppress(CancelledError):  # it may be over before that
        handle.result(30)
    report = application.run(Mixture(*(Square(number) for number in range(300))), timeout=30)
    assert len(report.results) == 300
    futures = application.push_tasks(Echo(value) for value in (1, "x" * LARGE, ValueError("wrong")))
    assert futures[1].result(30) == "x" * LARGE
    assert isinstance(futures[2].exception(30), ValueError)
    with application.executor() as executor:
        assert sum(executor.map(square, range(500))) == sum(executor.map(square, range(500), chunksize=100))
        assert executor.submit(len, bytes(LARGE)).result(30) == LARGE


class Changing(Task):
    """A task of any priority."""

    def __init__(self, priority):
        super().__init__("changing", priority=priority)

    def __call__(self):
        return self.priority


@pytest.mark.slow
def test_priorities_without_end_leave_nothing(runtime_folder):
    config = {"master": {"listen": f"ipc://{runtime_folder}/master", "standalone": True}, "slave": {"workers": 1}}
    with MasterNode(config) as master, ApplicationNode(master.url, config={}) as application:
        for first in range(0, 12_000, 1000):
            futures = [application.push_task(Changing(priority)) for priority in range(first, first + 1000)]
            assert sum(future.result(30) for future in futures) == sum(range(first, first + 1000))

            sizes = table_sizes(master, application)
            sizes.pop("Travelling._known", None)  # one per module here: other tests import thousands
            assert {where: size for where, size in sizes.items() if size > 2 * MOST_CLASSES} == {}


def test_every_table_is_as_large_after_more_work_as_before(runtime_folder, monkeypatch):
    monkeypatch.setattr(chronicle, "KEPT_BYTES", 0)  # but for the last system, which is kept anyway
    config = {"master": {"listen": f"ipc://{runtime_folder}/master", "standalone": True}, "slave": {"workers": 1}}
    with MasterNode(config) as master, ApplicationNode(master.url, config={}) as application:
        for _ in range(2):
            work(application)
        before = table_sizes(master, application)
        for _ in range(ROUNDS):
            work(application)

        def grown():
            after = table_sizes(master, application)
            grown = {where: (before[where], size) for where, size in after.items() if size > before[where]}
            # The course of one system, the last, is kept: how many moments it has is a matter of how quick it was.
            return {where: sizes for where, sizes in grown.items() if not where.startswith("Chronicle.")}

        with contextlib.suppress(AssertionError):  # the one below says more
            wait_until(lambda: not grown(), 30, "every table to be as large as before")
        assert grown() == {}
