"""What defaults cost: W1 without one of them, in every process of ours.

What a user can switch off is not among them, nor what the protocol stands on. Parts are taken
out by `benchmarks/without/sitecustomize.py`; nothing of ours knows of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import many_tasks
from benchmarks.without.sitecustomize import PARTS, VARIABLE, take_out

if TYPE_CHECKING:
    from benchmarks.pools.pool import Pool
    from benchmarks.workload import Setting


def system_without_output(setting: Setting) -> dict[str, float]:
    """Run the system; nobody looks whether tasks write."""
    with _pool_without("output", setting) as pool:
        return many_tasks.run_system(setting, pool)


def system_without_state(setting: Setting) -> dict[str, float]:
    """Run the system; nobody looks what tasks leave behind."""
    with _pool_without("state", setting) as pool:
        return many_tasks.run_system(setting, pool)


def system_without_checks(setting: Setting) -> dict[str, float]:
    """Run the system; messages are not checked."""
    with _pool_without("checks", setting) as pool:
        return many_tasks.run_system(setting, pool)


def system_without_all(setting: Setting) -> dict[str, float]:
    """Run the system without any of them."""
    with _pool_without(",".join(PARTS), setting) as pool:
        return many_tasks.run_system(setting, pool)


def submit_without_output(setting: Setting) -> dict[str, float]:
    """Submit; nobody looks whether tasks write."""
    with _pool_without("output", setting) as pool:
        return many_tasks.submit(setting, pool)


def submit_without_state(setting: Setting) -> dict[str, float]:
    """Submit; nobody looks what tasks leave behind."""
    with _pool_without("state", setting) as pool:
        return many_tasks.submit(setting, pool)


def submit_without_checks(setting: Setting) -> dict[str, float]:
    """Submit; messages are not checked."""
    with _pool_without("checks", setting) as pool:
        return many_tasks.submit(setting, pool)


def submit_without_all(setting: Setting) -> dict[str, float]:
    """Submit without any of them."""
    with _pool_without(",".join(PARTS), setting) as pool:
        return many_tasks.submit(setting, pool)


def _pool_without(parts: str, setting: Setting) -> Pool:
    folder = str(Path(__file__).parent / "without")
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    os.environ[VARIABLE] = parts
    take_out(parts)
    from benchmarks.pools.kinds import make_pool  # noqa: PLC0415 - it imports what is changed

    return make_pool("concurro", setting.workers)
