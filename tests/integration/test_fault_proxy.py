"""The bad network of the tests obeys, whenever it is asked."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

from concurro.testing.fault_proxy import FaultProxy

LIMIT = 30.0


class ObeyedAtOnce(deque):
    """Orders that are obeyed before who gives one can wake the thread."""

    def __init__(self, net):
        super().__init__()
        self._address = ("127.0.0.1", int(net.url.rsplit(":", 1)[1]))

    def append(self, order):
        super().append(order)
        with socket.create_connection(self._address, timeout=LIMIT):  # it wakes the thread
            _, obeyed = order
            assert obeyed.wait(LIMIT)


@pytest.fixture
def net():
    with (
        socket.create_server(("127.0.0.1", 0)) as master,
        FaultProxy(f"tcp://127.0.0.1:{master.getsockname()[1]}") as proxy,
    ):
        yield proxy


def order_all(net):
    for order in (net.hold, net.release, net.swallow, net.refuse, net.cut, net.close):
        order()
    net.delay(0.0)
    net.throttle(1e9)
    net.garble(0)


def test_a_network_that_is_closed_before_its_thread_is_woken_is_closed(net):
    net._orders = ObeyedAtOnce(net)

    net.close()

    with contextlib.closing(socket.socket()) as late:
        assert late.connect_ex(("127.0.0.1", int(net.url.rsplit(":", 1)[1]))) != 0


def test_orders_to_a_closed_network_are_done(net):
    net.close()

    order_all(net)

    assert net.connections == 0


def test_many_threads_may_order_and_close_at_once(net):
    with ThreadPoolExecutor(8) as users:
        for ordered in [users.submit(order_all, net) for _ in range(8)]:
            ordered.result(LIMIT)

    assert net.connections == 0
