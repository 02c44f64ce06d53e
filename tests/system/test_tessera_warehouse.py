"""Values in the warehouse: within their budget of memory, the rest in files."""

from __future__ import annotations

import numpy as np

from concurro_monitor import use
from concurro_tessera import Runtime
from tests.support.jobs import SHIPPED
from tests.support.tesserae import WATCHDOG, User, runtime_of
from tests.support.waiting import wait_until


def test_values_over_the_budget_are_in_files_and_come_back(runtime_folder):
    from concurro import LocalCluster

    config = {**SHIPPED, "warehouse": {"budget": "10 MiB"}}
    with LocalCluster(workers=1, config=config) as cluster:
        runtime = Runtime(cluster.application)
        use(runtime)
        runtime.start()
        arrays = [np.full(500_000, float(number)) for number in range(8)]
        refs = [runtime.put(array, reply=True).get(WATCHDOG) for array in arrays]
        home = cluster.application.workers()[0].address
        kept, spilled, held = cluster.service("warehouse", home).usage().result(WATCHDOG)

        assert (kept, spilled) == (8, 6)
        assert held <= 10 * 1024**2
        for ref, array in zip(refs, arrays, strict=True):
            assert (runtime.get(ref, cache=False).get(WATCHDOG) == array).all()
        assert User.remote().scale(refs[3]).get(WATCHDOG) == 1_500_000.0
        runtime.drop(refs[0]).wait(WATCHDOG)
        assert cluster.service("warehouse", home).usage().result(WATCHDOG)[0] == 7
        use(None)
        runtime.close()


def test_a_published_value_has_a_copy_on_each_slave_and_all_are_dropped_with_it():
    with runtime_of(workers=1, slaves=2) as (cluster, runtime):
        homes = [cluster.service("warehouse", worker.address) for worker in cluster.application.workers()]

        def kept():
            return [home.usage().result(WATCHDOG)[0] for home in homes]

        ref = runtime.put([1, 2, 3], publish=True, reply=True).get(WATCHDOG)
        assert kept() == [1, 1]

        runtime.drop(ref).wait(WATCHDOG)

        wait_until(lambda: kept() == [0, 0])
