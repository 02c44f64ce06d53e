"""W9: from an empty process to the first result."""

from __future__ import annotations

import compileall
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import concurro

if TYPE_CHECKING:
    from benchmarks.workload import Setting

CLUSTER = """
from concurro import LocalCluster
with LocalCluster(workers={workers}) as cluster:
    with cluster.executor() as executor:
        print(executor.submit(abs, -1).result(), flush=True)
"""
PPE = """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor({workers}) as executor:
    print(executor.submit(abs, -1).result(), flush=True)
"""
LOKY = """
from loky import ProcessPoolExecutor
with ProcessPoolExecutor({workers}) as executor:
    print(executor.submit(abs, -1).result(), flush=True)
"""
POOL = """
import multiprocessing
with multiprocessing.Pool({workers}) as pool:
    print(pool.apply(abs, (-1,)), flush=True)
"""
JOBLIB = """
from joblib import Parallel, delayed
print(Parallel(n_jobs={workers})(delayed(abs)(number) for number in (-1, -2))[0], flush=True)
"""
RAY = """
import ray
ray.init(num_cpus={workers}, include_dashboard=False, configure_logging=False, log_to_driver=False,
         object_store_memory=4 * 1024**3, _temp_dir="{folder}/ray")
print(ray.get(ray.remote(lambda number: abs(number)).remote(-1)), flush=True)
ray.shutdown()
"""
DASK = """
from dask.distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers={workers}, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            print(client.submit(abs, -1).result(), flush=True)
"""
PARSL = """
import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider
provider = LocalProvider(init_blocks=1, max_blocks=1)
executor = HighThroughputExecutor(address="127.0.0.1", max_workers_per_node={workers}, provider=provider)
with parsl.load(Config(executors=[executor], strategy="none", run_dir="{folder}/runinfo")):
    print(parsl.python_app(lambda number: abs(number))(-1).result(), flush=True)
"""
IPYPARALLEL = """
import logging, ipyparallel
with ipyparallel.Cluster(n={workers}, log_level=logging.ERROR) as client:
    print(client.load_balanced_view().apply_sync(abs, -1), flush=True)
"""
BARE = """
import concurrent.futures.process, multiprocessing.connection, pickle, socket, subprocess
print(abs(-1), flush=True)
"""


def _seconds_to_first_line(program: str) -> dict[str, float]:
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        seconds = time.perf_counter() - started
        process.wait()
        ended = time.perf_counter() - started
    if line.strip() != "1" or process.returncode:
        message = f"the program said {line!r} and ended with {process.returncode}"
        raise AssertionError(message)
    return {"seconds": seconds, "to_the_end": ended}


def from_program(setting: Setting, program: str) -> dict[str, float]:
    """Run a program in a new interpreter until it prints."""
    return _seconds_to_first_line(program.format(workers=setting.workers, folder=tempfile.gettempdir()))


def from_cluster(setting: Setting) -> dict[str, float]:
    """Start an embedded cluster.

    Its modules are compiled before, as those of an installed package are, the peers' among them.
    """
    compileall.compile_dir(Path(concurro.__file__).parent, quiet=1)
    return from_program(setting, CLUSTER)


def from_ppe(setting: Setting) -> dict[str, float]:
    """Start a ProcessPoolExecutor."""
    return from_program(setting, PPE)


def from_pool(setting: Setting) -> dict[str, float]:
    """Start a multiprocessing.Pool."""
    return from_program(setting, POOL)


def from_loky(setting: Setting) -> dict[str, float]:
    """Start loky's executor."""
    return from_program(setting, LOKY)


def from_joblib(setting: Setting) -> dict[str, float]:
    """Start joblib's processes."""
    return from_program(setting, JOBLIB)


def from_ray(setting: Setting) -> dict[str, float]:
    """Start Ray's daemons."""
    return from_program(setting, RAY)


def from_dask(setting: Setting) -> dict[str, float]:
    """Start Dask's local cluster."""
    return from_program(setting, DASK)


def from_parsl(setting: Setting) -> dict[str, float]:
    """Start Parsl's high-throughput executor."""
    return from_program(setting, PARSL)


def from_ipyparallel(setting: Setting) -> dict[str, float]:
    """Start hub and engines of ipyparallel."""
    return from_program(setting, IPYPARALLEL)


def from_bare(setting: Setting) -> dict[str, float]:  # noqa: ARG001 - no workers in it
    """Start an interpreter with the imports of a process pool, and no pool."""
    return _seconds_to_first_line(BARE)
