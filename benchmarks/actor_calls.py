"""W7: calls of one object that lives elsewhere, pipelined and one by one; arrays as arguments."""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING, Any

from benchmarks.plain_actor import PlainActor
from benchmarks.round_trips import percentiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workload import Setting

CALLS = 5_000
ARRAY_ITEMS = 1_310_720
"""Of 8 B: 10 MiB."""
PASSES = 20


def ours(setting: Setting) -> dict[str, float]:
    """Call a tessera of an embedded cluster, in an asyncio program."""
    from concurro_tessera import run  # noqa: PLC0415 - peers do not pay for it

    result: dict[str, float] = run(lambda runtime: _ours(setting), workers=setting.workers)  # noqa: ARG005 - as `run` calls it
    return result


def ours_over_tcp(setting: Setting) -> dict[str, float]:
    """Call a tessera of a master and a slave in processes of their own."""
    from benchmarks.processes import running_nodes  # noqa: PLC0415 - as above
    from concurro_tessera import run  # noqa: PLC0415 - as above

    with running_nodes(setting.workers) as url:
        result: dict[str, float] = run(lambda runtime: _ours(setting), master=url)  # noqa: ARG005 - as above
        return result


async def _ours(setting: Setting) -> dict[str, float]:
    import numpy as np  # noqa: PLC0415 - peers without arrays do not pay for it

    from concurro_tessera import tessera  # noqa: PLC0415 - as above

    proxy = await tessera(PlainActor).remote()
    for _ in range(2):
        began = time.perf_counter()
        tasks = [proxy.noop() for _ in range(setting.count or CALLS)]
        for task in tasks:
            await task
        rate = len(tasks) / (time.perf_counter() - began)
        del tasks
    times = []
    for _ in range(500):
        began = time.perf_counter()
        await proxy.noop().result()
        times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    array = np.zeros(ARRAY_ITEMS)
    began = time.perf_counter()
    for number in range(PASSES):
        array[0] = number
        await proxy.first(array).result()
    passed = PASSES * array.nbytes / 2**20 / (time.perf_counter() - began)
    return {"rate": rate, "p50": times[250], "p99": times[495], "MiB/s": passed}


def ray(setting: Setting) -> dict[str, float]:
    """Call an actor of Ray."""
    import ray as peer  # noqa: PLC0415 - only where it is measured

    peer.init(
        num_cpus=setting.workers,
        include_dashboard=False,
        configure_logging=False,
        log_to_driver=False,
        _temp_dir=f"{tempfile.gettempdir()}/ray",
    )
    try:
        actor = peer.remote(PlainActor).remote()
        return _blocking(
            setting,
            actor.noop.remote,
            peer.get,
            lambda array: peer.get(actor.first.remote(array)),
        )
    finally:
        peer.shutdown()


def dask(setting: Setting) -> dict[str, float]:
    """Call an actor of Dask."""
    from dask.distributed import Client, LocalCluster  # noqa: PLC0415 - as above

    with (
        LocalCluster(
            n_workers=setting.workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        actor = client.submit(PlainActor, actor=True).result()
        return _blocking(
            setting,
            actor.noop,
            lambda answers: [one.result() for one in answers] if isinstance(answers, list) else answers.result(),
            lambda array: actor.first(array).result(),
        )


def _blocking(
    setting: Setting, call: Callable[[], Any], get: Callable[[Any], Any], first: Callable[[Any], Any]
) -> dict[str, float]:
    import numpy as np  # noqa: PLC0415 - as above

    for _ in range(2):
        began = time.perf_counter()
        answers = [call() for _ in range(setting.count or CALLS)]
        get(answers)
        rate = len(answers) / (time.perf_counter() - began)
    trips = percentiles(lambda number: get(call()), setting)  # noqa: ARG005 - as it is called
    array = np.zeros(ARRAY_ITEMS)
    began = time.perf_counter()
    for number in range(PASSES):
        array[0] = number
        first(array)
    passed = PASSES * array.nbytes / 2**20 / (time.perf_counter() - began)
    return {"rate": rate, **trips, "MiB/s": passed}
