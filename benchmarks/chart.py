"""Draw the comparison of strategies as an SVG, the same bytes for the same figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.strategies import BOUND, Figures

if TYPE_CHECKING:
    from pathlib import Path

COLORS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#777777")
"""Source: P. Tol, "Colour Schemes", 2021: distinct to all people, bright scheme."""

ROW = 4
"""Panels in a row."""


def draw(figures: Figures, columns: tuple[tuple[str, str, str], ...], path: Path, origin: str) -> None:
    """Draw a panel per column: a bar per strategy, and a line for what is possible."""
    names = [name for name in next(iter(figures.values())) if name != BOUND]
    with mpl.rc_context({"svg.hashsalt": "comparison", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(9.6, 5.0), layout="constrained")
        panels = figure.subplots(-(-len(columns) // ROW), ROW).flat
        for panel, (load, key, title) in zip(panels, columns, strict=False):
            values = [figures[load][name][key] for name in names]
            panel.bar(range(len(names)), values, color=COLORS[: len(names)])
            panel.axhline(figures[load][BOUND][key], color="black", linewidth=0.8, linestyle="--")
            panel.set_title(title)
            panel.set_xticks([])
            panel.set_ylim(0)
            panel.spines[["top", "right"]].set_visible(False)
        legend = panels[len(columns)]
        legend.axis("off")
        bars = [Patch(color=color) for color in COLORS[: len(names)]]
        line = Line2D([], [], color="black", linewidth=0.8, linestyle="--")
        legend.legend([*bars, line], [*names, "possible at best"], loc="center", frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None, "Description": origin})
