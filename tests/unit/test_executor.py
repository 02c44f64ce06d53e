"""How an executor ends, without a cluster."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from concurro import LocalCluster, NotPicklableError
from concurro.executor import ClusterExecutor

LOCK = threading.Lock()


def with_lock(*given, **named):
    return LOCK, given, named


def plain(*given, **named):
    return given, named


class Withdrawn:
    """A future that notes whether it is wanted."""

    def __init__(self):
        self.wanted = True

    def withdraw(self):
        self.wanted = False


class HeldApplication:
    """An application whose calls end when a test says so."""

    def __init__(self, count):
        self.code = SimpleNamespace(call_classes={})
        self.futures = [Withdrawn() for _ in range(count)]

    def futures_of(self, pusher):
        return self.futures


def test_calls_that_were_to_end_by_themselves_can_still_be_cancelled():
    application = HeldApplication(3)
    executor = ClusterExecutor.sharing(application)
    executor.shutdown(wait=False)
    before = [future.wanted for future in application.futures]

    executor.shutdown(wait=False, cancel_futures=True)

    assert before == [True] * 3
    assert [future.wanted for future in application.futures] == [False] * 3


@pytest.mark.parametrize(
    ("submit", "text"),
    [
        (lambda executor: executor.submit(abs, LOCK), "abs cannot travel: args[0] is a _thread.lock ("),
        (
            lambda executor: executor.submit(plain, 1, key=[LOCK]),
            "plain cannot travel: kwargs['key'][0] is a _thread.lock (",
        ),
        (
            lambda executor: executor.submit(lambda x: (x, LOCK), 1),
            "<lambda> cannot travel: the function itself global LOCK is a _thread.lock (",
        ),
        (
            lambda executor: executor.map(plain, [1, LOCK], chunksize=2),
            "plain cannot travel: an argument of it is a _thread.lock (",
        ),
        (
            lambda executor: executor.map(abs, [1, LOCK], chunksize=2),
            "abs cannot travel: an argument of it is a _thread.lock (",
        ),
    ],
    ids=["built-in", "named", "function", "chunk", "chunk of a built-in"],
)
def test_what_cannot_travel_is_named_as_the_caller_knows_it(submit, text):
    with LocalCluster(inline=True, config={}) as cluster, pytest.raises(NotPicklableError) as raised:
        list(submit(cluster.executor()))

    assert text in str(raised.value)
    assert str(raised.value).startswith("a call of ")
    assert raised.value.path in str(raised.value)
