"""Run one contender of one workload once, in this process; print its metrics as JSON."""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.workloads import Setting, select


def main(name: str, contender: str, workers: str, count: str) -> None:
    """Measure, and print the metrics on a line of their own, the last one."""
    (workload,) = select([name])
    module, _, function = workload.contenders[contender].partition(":")
    setting = Setting(int(workers), int(count) or None)
    metrics = getattr(importlib.import_module(module), function)(setting)
    print(json.dumps(metrics), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
