"""Run one contender of one workload once, in this process; print its metrics as JSON."""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.workload import Setting
from benchmarks.workloads import select


def main(name: str, contender: str, workers: str, count: str) -> None:
    """Measure, and print the metrics on a line of their own, the last one."""
    (workload,) = select([name])
    setting = Setting(int(workers), int(count) or None)
    metrics = run(workload.contenders[contender], setting)
    print(json.dumps(metrics), flush=True)


def run(contender: str, setting: Setting) -> dict[str, float]:
    """Return the metrics of `module:function`, or of `module:function pool`."""
    place, _, pool_name = contender.partition(" ")
    module, _, function_name = place.partition(":")
    function = getattr(importlib.import_module(module), function_name)
    metrics: dict[str, float]
    if not pool_name:
        metrics = function(setting)
        return metrics
    from benchmarks.pools.kinds import make_pool  # noqa: PLC0415 - not everybody needs a pool

    with make_pool(pool_name, setting.workers) as pool:
        metrics = function(setting, pool)
        return metrics


if __name__ == "__main__":
    main(*sys.argv[1:])
