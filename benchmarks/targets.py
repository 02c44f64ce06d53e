"""What we want to reach, as ratios within one run where there is somebody to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.report import median
from benchmarks.workload import OURS


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for one figure.

    Attributes:
        workload: Where it is measured.
        bound: What must be reached.
        against: The contender that we are compared with: the bound is a factor by which ours is
            better. Empty: the bound is one for the figure itself.
        contender: Which of ours.
        metric: Empty for the metric of the workload.
        is_limit: Whether the figure must stay below the bound.
    """

    workload: str
    bound: float
    against: str = ""
    contender: str = OURS
    metric: str = ""
    is_limit: bool = False


MIB_OF_200_MB = 200e6 / 1024**2

TARGETS = (
    Target("W1-submit", 4.0, "ppe"),
    Target("W1-submit", 30.0, "ray"),
    Target("W1-submit", 1.3, "pool"),
    Target("W1-bulk", 1.0, "loky"),
    Target("W1-system", 120_000.0),
    Target("W1-system", 8.0, "ppe"),
    Target("W2", 1.0, "ppe"),
    Target("W2", 1 / 1.4, "tcp-6-hops", "concurro-tcp"),
    Target("W3-1MiB", 2.0, "ray"),
    Target("W3-64MiB", 1.2, "ray"),
    Target("W4", 4.0, "ray"),
    Target("W5", 0.92, "fork"),
    Target("W6", 0.90, "fork"),
    Target("W7", 10.0, "ray"),
    Target("W8", 600.0, metric="master", is_limit=True),
    Target("W8", 2_000.0, metric="application", is_limit=True),
    Target("W9", 1 / 6, "bare"),
    Target("W10-slaves", 200_000.0),
    Target("W10-slaves", 0.5, OURS, "concurro-10000"),
    Target("W12-submit", 0.8, "concurro-no-journal"),
    Target("W12-system", 0.8, "concurro-no-journal"),
    *(
        Target(f"memory-{load}", MIB_OF_200_MB, contender=contender, metric=role, is_limit=True)
        for load in ("lazy", "results", "echo", "shared", "systems")
        for contender in (OURS, "concurro-tcp")
        for role in ("master", "host")
    ),
)


def rows(report: dict[str, Any]) -> list[list[str]]:
    """Return workload, target, what was measured, and whether that is enough; what was not measured is left out."""
    found = []
    for target in TARGETS:
        one = report["workloads"].get(target.workload)
        measured = None if one is None else _measured(one, target)
        if measured is None:
            continue
        met = measured <= target.bound if target.is_limit else measured >= target.bound
        found.append([target.workload, _in_words(target, one), f"{measured:,.4g}", "yes" if met else "no"])
    return found


def _measured(one: dict[str, Any], target: Target) -> float | None:
    metric = target.metric or one["metric"]
    ours = _median(one, target.contender, metric)
    if not target.against or ours is None:
        return ours
    theirs = _median(one, target.against, metric)
    if theirs is None:
        return None
    return ours / theirs if one["more_is_better"] else theirs / ours


def _median(one: dict[str, Any], contender: str, metric: str) -> float | None:
    runs = one["runs"].get(contender, [])
    return median(runs, metric) if all(metric in run for run in runs) else None


def _in_words(target: Target, one: dict[str, Any]) -> str:
    who = "" if target.contender == OURS else f"{target.contender}: "
    if target.against:
        return f"{who}at least {target.bound:.3g} times as good as {target.against}"
    most = "at most" if target.is_limit else "at least"
    return f"{who}{target.metric or 'ours'} {most} {target.bound:,.6g} {one['unit']}"
