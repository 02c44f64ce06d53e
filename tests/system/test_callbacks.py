"""What callbacks of futures and handles may do: everything but wait."""

from __future__ import annotations

import queue

import pytest

from concurro import WaitInCallbackError
from tests.support.jobs import Mixture, Square, Waiting, open_gate

LIMIT = 30.0


@pytest.fixture
def called_back(shared_cluster, tmp_path_factory):
    """Return a function that gives what a call returns or raises in the callback of a future."""
    return lambda call: _called_back(shared_cluster, tmp_path_factory.mktemp("callback"), call)


def _called_back(cluster, folder, call):
    heard = queue.SimpleQueue()

    def callback(future):
        try:
            heard.put(call(future))
        except Exception as error:  # noqa: BLE001 - it is looked at by the test
            heard.put(error)

    future = cluster.push_task(Waiting("calls-back", folder))
    future.add_done_callback(callback)  # of a future that is done it would be called here and now
    open_gate(folder)
    return heard.get(timeout=LIMIT)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda cluster, _: cluster.run(Mixture(Square(1))), id="run"),
        pytest.param(lambda cluster, _: cluster.submit(Mixture(Square(1))), id="submit"),
        pytest.param(lambda cluster, handle: cluster.attach(handle.system_id), id="attach"),
        pytest.param(lambda cluster, _: cluster.status(), id="status"),
        pytest.param(lambda cluster, _: cluster.slaves, id="slaves"),
        pytest.param(lambda cluster, _: cluster.push_task(Square(2)).result(), id="future.result"),
        pytest.param(lambda cluster, _: cluster.push_task(Square(2)).exception(30), id="future.exception"),
        pytest.param(lambda cluster, _: cluster.push_task(Square(2)).output(), id="future.output"),
        pytest.param(lambda cluster, _: list(cluster.executor().map(abs, [-1])), id="executor.map"),
        pytest.param(lambda _, handle: handle.result(), id="handle.result"),
        pytest.param(lambda _, handle: handle.exception(), id="handle.exception"),
        pytest.param(lambda _, handle: handle.explain(), id="handle.explain"),
        pytest.param(lambda _, handle: list(handle.partial_results()), id="handle.partial_results"),
        pytest.param(lambda _, handle: handle.output(f"{handle.system_id}:0"), id="handle.output"),
    ],
)
def test_a_call_that_waits_is_refused_in_a_callback(shared_cluster, called_back, tmp_path, call):
    handle = shared_cluster.submit(Mixture(Waiting("at-the-gate", tmp_path)))

    raised = called_back(lambda _: call(shared_cluster, handle))

    open_gate(tmp_path)
    assert isinstance(raised, WaitInCallbackError), raised
    assert isinstance(raised, RuntimeError)
    assert "in another thread" in str(raised)
    assert handle.result(LIMIT).errors == []


def test_what_does_not_wait_works_in_a_callback(shared_cluster, called_back):
    def go_on(future):
        return future.result(), future.exception(), shared_cluster.push_task(Square(4))

    result, error, another = called_back(go_on)

    assert (result > 1, error, another.result(LIMIT)) == (True, None, 16)


def test_a_result_that_is_not_there_yet_can_be_asked_for_without_waiting(shared_cluster, called_back, tmp_path):
    handle = shared_cluster.submit(Mixture(Waiting("at-the-gate", tmp_path)))

    raised = called_back(lambda _: handle.result(0))

    assert isinstance(raised, TimeoutError)
    open_gate(tmp_path)
    handle.result(LIMIT)


def test_waiting_works_again_in_other_threads(shared_cluster, called_back):
    called_back(lambda _: shared_cluster.status())

    assert shared_cluster.run(Mixture(Square(5))).results == {"square-5": 25}
