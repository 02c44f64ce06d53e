"""How an executor ends, without a cluster."""

from __future__ import annotations

from types import SimpleNamespace

from concurro.executor import ClusterExecutor


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
