"""Strategies of the monitor: which worker is next, by what they were told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from concurro_monitor import LeastLoaded, MemoryAware, MonitoredNode, MonitoredTessera, MonitorStrategy, RoundRobin
from concurro_monitor.strategies import MEMORY_GRAIN

WORKERS = ["worker:0:0", "worker:0:1", "worker:1:0"]


def node(number, **workers):
    """Return a node with workers, each with its figures."""
    resources = {f"worker:{number}:{name[1:]}": facts for name, facts in workers.items()}
    return MonitoredNode(
        f"node:{number}", sub_resources={uid: MonitoredNode(uid, facts=facts) for uid, facts in resources.items()}
    )


def told(strategy, *nodes):
    """Return a strategy that was told of nodes."""
    for one in nodes:
        strategy.update_node(one)
    return strategy


def test_round_robin_takes_one_after_the_other_in_order():
    strategy = RoundRobin(SimpleNamespace(workers=WORKERS))

    assert [strategy.select_worker("head") for _ in range(4)] == [*WORKERS, "worker:0:0"]


@pytest.mark.parametrize("kind", [RoundRobin, LeastLoaded, MemoryAware])
def test_a_strategy_knows_its_workers_from_what_it_was_told(kind):
    strategy = told(kind(None), node(0, w0={}, w1={}), node(1, w0={}))

    assert strategy.select_worker("head") == "worker:0:0"
    left = node(0)
    left.state = "left"
    strategy.update_node(left)
    assert {strategy.select_worker("head") for _ in range(3)} == {"worker:1:0"}


@pytest.mark.parametrize("kind", [RoundRobin, LeastLoaded, MemoryAware])
def test_a_worker_that_left_is_never_chosen(kind):
    strategy = told(kind(SimpleNamespace(workers=["worker:1:0"])), node(0, w0={}, w1={}), node(1, w0={}))

    assert {strategy.select_worker("head") for _ in range(5)} == {"worker:1:0"}


def test_least_loaded_takes_the_fewest_calls():
    strategy = told(
        LeastLoaded(None),
        node(0, w0={"running": 2, "queued": 5, "reports": 1}, w1={"running": 1, "queued": 1, "reports": 1}),
        node(1, w0={"running": 3, "queued": 0, "reports": 1}),
    )

    assert strategy.select_worker("head") == "worker:0:1"


def test_least_loaded_reckons_with_what_it_placed_until_the_next_report():
    strategy = told(LeastLoaded(None), node(0, w0={"running": 0, "reports": 1}, w1={"running": 1, "reports": 1}))
    chosen = []
    for number in range(4):
        worker = strategy.select_worker("head")
        chosen.append(worker)
        strategy.update_tessera(MonitoredTessera(f"tess-{number}", worker=worker))

    assert chosen == ["worker:0:0", "worker:0:1", "worker:0:0", "worker:0:1"]
    told(strategy, node(0, w0={"running": 0, "reports": 2}, w1={"running": 1, "reports": 2}))
    assert strategy.select_worker("head") == "worker:0:0"


def test_of_workers_alike_the_one_with_fewer_tesserae_is_taken():
    strategy = told(LeastLoaded(None), node(0, w0={"reports": 1}, w1={"reports": 1}))
    strategy.update_tessera(MonitoredTessera("tess-1", worker="worker:0:0"))
    told(strategy, node(0, w0={"reports": 2}, w1={"reports": 2}))

    assert strategy.select_worker("head") == "worker:0:1"
    strategy.update_tessera(MonitoredTessera("tess-1", worker="worker:0:0", state="collected"))
    assert strategy.select_worker("head") == "worker:0:0"


def test_a_tessera_that_moved_counts_where_it_is():
    strategy = told(LeastLoaded(None), node(0, w0={"reports": 1}, w1={"reports": 1}))
    strategy.update_tessera(MonitoredTessera("tess-1", worker="worker:0:0"))
    strategy.update_tessera(MonitoredTessera("tess-1", worker="worker:0:0", state="lost"))
    strategy.update_tessera(MonitoredTessera("tess-1", worker="worker:0:1", incarnation=2))
    told(strategy, node(0, w0={"reports": 2}, w1={"reports": 2}))

    assert strategy.select_worker("head") == "worker:0:0"


def memory(limit, held, available=None, reports=1):
    """Return figures of memory, in grains."""
    facts = {"memory_limit": limit * MEMORY_GRAIN, "memory": held * MEMORY_GRAIN, "reports": reports}
    return facts if available is None else {**facts, "memory_available": available * MEMORY_GRAIN}


def test_memory_aware_takes_the_most_free_memory():
    strategy = told(MemoryAware(None), node(0, w0=memory(16, 10), w1=memory(16, 4)), node(1, w0=memory(10, 1)))

    assert strategy.select_worker("head") == "worker:0:1"


def test_memory_aware_reckons_with_what_the_machine_has_left():
    strategy = told(MemoryAware(None), node(0, w0=memory(16, 2, available=3)), node(1, w0=memory(16, 8, available=20)))

    assert strategy.select_worker("head") == "worker:1:0"


def test_memory_aware_spreads_what_it_places_at_once():
    strategy = told(MemoryAware(None), node(0, w0=memory(16, 4), w1=memory(16, 6)))
    chosen = []
    for number in range(5):
        worker = strategy.select_worker("head")
        chosen.append(worker)
        strategy.update_tessera(MonitoredTessera(f"tess-{number}", worker=worker))

    assert chosen.count("worker:0:0") == 3
    assert chosen[:2] == ["worker:0:0", "worker:0:0"]


def test_a_worker_that_told_nothing_yet_is_empty():
    strategy = told(MemoryAware(None), node(0, w0=memory(16, 0), w1={}))

    assert strategy.select_worker("head") == "worker:0:1"


def test_a_strategy_that_only_selects_may_ignore_the_rest():
    class Last(MonitorStrategy):
        name = "last"

        def select_worker(self, sender_id):
            return self.workers[-1]

    strategy = told(Last(None), node(0, w0={}, w1={}))
    strategy.update_task(None)
    strategy.update_tessera(None)

    assert strategy.select_worker("head") == "worker:0:1"
