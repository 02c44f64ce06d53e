"""Which pools there are, and what each needs to be installed."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks.workload import OURS

if TYPE_CHECKING:
    from benchmarks.pools.pool import Pool

POOLS = {
    "concurro": "benchmarks.pools.ours:Embedded",
    "concurro-tcp": "benchmarks.pools.ours:OverTcp",
    "concurro-unix": "benchmarks.pools.ours:OverUnix",
    "ppe": "benchmarks.pools.standard:Ppe",
    "pool": "benchmarks.pools.standard:MultiprocessingPool",
    "loky": "benchmarks.pools.with_loky:Loky",
    "joblib": "benchmarks.pools.with_joblib:Joblib",
    "ray": "benchmarks.pools.with_ray:Ray",
    "dask": "benchmarks.pools.with_dask:Dask",
    "parsl": "benchmarks.pools.with_parsl:Parsl",
    "ipyparallel": "benchmarks.pools.with_ipyparallel:Ipyparallel",
}
"""Name to `module:class`."""

PEERS = {
    "ppe": "",
    "pool": "",
    "loky": "loky",
    "joblib": "joblib",
    "ray": "ray",
    "dask": "distributed",
    "parsl": "parsl",
    "ipyparallel": "ipyparallel",
}
"""Name to the package that it needs, all of the extra `bench`; none for the standard library's."""


def make_pool(name: str, workers: int) -> Pool:
    """Return the pool of this name, not yet open."""
    module, _, kind = POOLS[name].partition(":")
    pool: Pool = getattr(importlib.import_module(module), kind)(workers)
    return pool


def is_installed(peer: str) -> bool:
    """Say whether what a peer needs can be imported."""
    package = PEERS.get(peer, "")
    return not package or find_spec(package) is not None


def is_limit(contender: str) -> bool:
    """Say whether a contender is what the machine gives at best: no library, and nothing kept in order."""
    return not contender.startswith((OURS, "without-")) and contender not in PEERS
