"""Figures of all runs as tables: medians, and ratios of ours to each peer."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pools.kinds import PEERS, is_limit
from benchmarks.workload import OURS

if TYPE_CHECKING:
    from benchmarks.workload import Workload

LEGEND = (
    f"Medians; contenders take turns. {OURS} / X above 1: {OURS} is better than X by that factor, below 1 worse. "
    "A raw limit is no peer: it is what the machine gives where nothing is scheduled, retried or kept in order."
)

Runs = dict[str, list[dict[str, float]]]
"""Contender to the metrics of each of its runs."""


@dataclass
class Measured:
    """What came of one workload.

    Attributes:
        workload: It.
        runs: Contender to metrics.
        faults: Contender to why it has no figures.
    """

    workload: Workload
    runs: Runs = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it for a file."""
        workload = self.workload
        return {
            "title": workload.title,
            "metric": workload.metric,
            "unit": workload.unit,
            "more_is_better": workload.more_is_better,
            "runs": self.runs,
            "faults": self.faults,
        }

    def table(self) -> str:
        """Return a table for a terminal."""
        lines = [f"\n{self.workload.name}: {self.workload.title}"]
        ours = median(self.runs.get(OURS, []), self.workload.metric)
        for contender, results in self.runs.items():
            if contender in self.faults:
                lines.append(f"  {contender:<20} failed: {self.faults[contender]}")
            else:
                lines.append(self._line(contender, results, ours))
        return "\n".join(lines)

    def _line(self, contender: str, results: list[dict[str, float]], ours: float | None) -> str:
        workload = self.workload
        value = median(results, workload.metric)
        factor = ratio(ours, value, more_is_better=workload.more_is_better) if contender != OURS else None
        beside = f"   {OURS} / {contender}: {factor:.2f}" if factor else ""
        others = {name: median(results, name) for name in results[0] if name != workload.metric}
        details = "  ".join(f"{name} {figure:.4g}" for name, figure in others.items() if figure is not None)
        details = f"raw limit  {details}" if is_limit(contender) else details
        return f"  {contender:<20} {value:12.4g} {workload.unit:<8} {details}{beside}"


def median(results: list[dict[str, float]], metric: str) -> float | None:
    """Return the median of a metric; None without results."""
    return statistics.median(result[metric] for result in results) if results else None


def ratio(ours: float | None, theirs: float | None, *, more_is_better: bool) -> float | None:
    """Return by what factor ours is better; below 1 it is worse."""
    if not ours or not theirs:
        return None
    return ours / theirs if more_is_better else theirs / ours


def machine() -> dict[str, object]:
    """Return where and when figures were taken, with the version of each peer."""
    packages = {peer: package for peer, package in PEERS.items() if package}
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "model": _processor_model(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "versions": {name: _version(package) for name, package in {OURS: OURS, "pyzmq": "pyzmq", **packages}.items()},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
