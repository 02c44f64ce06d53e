"""Tesserae over a bad network: order kept, old incarnations fenced; values past the caller."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest

from concurro_monitor import use
from concurro_tessera import Runtime, RuntimeDisconnectedError
from tests.support.jobs import read_trace
from tests.support.nodes import slave_process
from tests.support.tesserae import WATCHDOG, Counter, Restarted, TracedRestarts
from tests.support.waiting import LONGEST_WAIT, LOSS_LIMIT, has_ended, wait_until

pytestmark = pytest.mark.slow


@contextmanager
def runtime_on(node):
    """Give the runtime of an application."""
    runtime = Runtime(node)
    use(runtime)
    try:
        runtime.start()
        yield runtime
    finally:
        use(None)
        runtime.close()


@pytest.mark.parametrize("fault", ["cut", "hold"])
def test_f89_order_is_kept_over_reconnects(far, fault):
    with runtime_on(far.node):
        proxy = Counter.remote().wait(WATCHDOG)
        ended = threading.Event()

        def faults():
            while not ended.wait(0.2):
                for net in (far.slave_net, far.node_net):
                    if fault == "cut":
                        net.cut()
                    else:
                        net.hold()
                        time.sleep(0.1)
                        net.release()

        thread = threading.Thread(target=faults)
        thread.start()
        try:
            tasks = []
            for number in range(0, 3000, 2):
                tasks += [proxy.note_length(number), proxy.note_length_soon(number + 1)]
                time.sleep(0.0005)
            results = [task.get(2 * LOSS_LIMIT) for task in tasks]
        finally:
            ended.set()
            thread.join()

        assert results == list(range(1, 3001))
        assert proxy.seen.get(WATCHDOG) == list(range(3000))


def test_f88_the_old_incarnation_is_fenced_after_a_heal(far, tmp_path):
    with slave_process(far.url, security=far.security), runtime_on(far.node) as runtime:
        wait_until(lambda: runtime.num_nodes == 2, WATCHDOG, "two slaves")
        runtime.start()
        cut_off = far_workers(runtime, far)
        proxy = TracedRestarts.remote(str(tmp_path), runtime=cut_off[0]).wait(WATCHDOG)
        pending = proxy.linger(1000)
        pid = int(wait_until(lambda: dict(read_trace(tmp_path)[1:]).get("lingers"), WATCHDOG, "a call that runs"))

        far.slave_net.hold()

        with pytest.raises(RuntimeDisconnectedError):
            pending.wait(2 * LONGEST_WAIT)
        assert proxy.note().get(WATCHDOG) == 1
        far.slave_net.release()
        wait_until(lambda: runtime.num_nodes == 2, 3 * WATCHDOG, "the slave that was cut off")
        wait_until(lambda: has_ended(pid), LOSS_LIMIT, "the end of the old incarnation")
        assert proxy.note().get(WATCHDOG) == 2
        assert (
            proxy.incarnation_seen.get(WATCHDOG)
            == len([line for line in read_trace(tmp_path) if line[0] == "made"])
            == 2
        )


def far_workers(runtime, far):
    """Return the workers of the slave that is behind the bad network."""
    from concurro_monitor import here

    assert here() is runtime
    slave = next(one for one in far.slaves() if one["pid"] == far.slave.pid)
    addresses = {worker.address: worker.slave_id for worker in far.node.workers()}
    return [place.uid for place in runtime._look() if addresses[place.address] == slave["id"]]


def test_values_move_between_workers_over_tcp(far):
    with runtime_on(far.node) as runtime:
        workers = runtime.workers
        one, two = Counter.remote(runtime=workers[0]), Restarted.remote(runtime=workers[1])
        large = one.large(5_000_000)

        assert two.measure(large).get(WATCHDOG) == 5_000_000
        assert large._parts is None
