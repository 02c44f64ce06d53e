"""Draw figures as an SVG: a panel per workload, a bar per contender."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.pools.kinds import PEERS
from benchmarks.report import median
from benchmarks.workload import OURS

if TYPE_CHECKING:
    from pathlib import Path

OURS_COLOR, PEER_COLOR, LIMIT_COLOR = "#4477aa", "#bbbbbb", "#ccbb44"
"""Source: P. Tol, "Colour Schemes", 2021: distinct to all people, bright scheme."""

ROW = 3
"""Panels in a row."""


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw the medians; the same bytes for the same figures."""
    workloads = {name: one for name, one in report["workloads"].items() if any(one["runs"].values())}
    rows = -(-max(1, len(workloads)) // ROW)
    with mpl.rc_context({"svg.hashsalt": "figures", "svg.fonttype": "none", "font.size": 7}):
        figure = Figure(figsize=(10.0, 2.0 * rows + 0.2), layout="constrained")
        panels: list[Any] = list(figure.subplots(rows, ROW, squeeze=False).flat)
        for panel, (name, one) in zip(panels, workloads.items(), strict=False):
            _draw_panel(panel, name, one)
        for panel in panels[len(workloads) :]:
            panel.axis("off")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None, "Description": origin(report)})


def origin(report: dict[str, Any]) -> str:
    """Return what a chart says about the report that it was drawn from."""
    text = json.dumps(report["workloads"], sort_keys=True)
    return "drawn from " + hashlib.sha256(text.encode()).hexdigest()[:16]


def _draw_panel(panel: Any, name: str, one: dict[str, Any]) -> None:
    values = {contender: median(runs, one["metric"]) for contender, runs in one["runs"].items() if runs}
    bars = panel.barh(range(len(values)), list(values.values()), color=[_color(contender) for contender in values])
    panel.bar_label(bars, fmt="%.3g", padding=2)
    panel.set_yticks(range(len(values)), list(values))
    panel.invert_yaxis()
    better = "more" if one["more_is_better"] else "less"
    panel.set_title(f"{name} [{one['unit']}], {better} is better")
    if _spread(list(values.values())):
        panel.set_xscale("log")
    panel.margins(x=0.2)
    panel.spines[["top", "right"]].set_visible(False)


def _spread(values: list[float | None]) -> bool:
    """Say whether some bars would not be seen beside others."""
    known = [value for value in values if value]
    return len(known) == len(values) and min(known) > 0 and max(known) > 30 * min(known)


def _color(contender: str) -> str:
    if contender.startswith(OURS):
        return OURS_COLOR
    return PEER_COLOR if contender in PEERS else LIMIT_COLOR
