"""Compare strategies in the simulation: a table, JSON, and a chart.

    python -m benchmarks strategies
    python -m benchmarks strategies --write docs/policies

Without names, every built-in strategy is compared. `--write` makes comparison.json, .csv and
.svg in a folder; the chart needs matplotlib, of the extra `bench`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.arguments import Parser, file_to_write, folder_to_write, positive
from benchmarks.strategies import BOUND, SEEDS, Figures, built_in, compare

if TYPE_CHECKING:
    import argparse

COLUMNS = (
    ("uniform", "efficiency", "uniform: efficiency"),
    ("heavy-tail", "efficiency", "heavy tail: efficiency"),
    ("unequal-slaves", "efficiency", "unequal slaves: efficiency"),
    ("data-bound", "efficiency", "data-bound: efficiency"),
    ("data-bound", "moved", "data-bound: GB moved"),
    ("many-users", "mean_slowdown", "many users: mean slowdown"),
    ("many-users", "p95_slowdown", "many users: 95 % slowdown"),
)
"""What is shown: load, measure, title."""


def main(arguments: list[str]) -> int:
    """Run what the command line asks for; return the exit code."""
    options = _parser().parse_args(arguments)
    known = built_in()
    unknown = [name for name in options.strategies if name not in known]
    if unknown:
        print(f"no strategy {unknown[0]!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    seeds = tuple(range(1, 1 + options.seeds))
    report: dict[str, Any] = {"seeds": list(seeds), "figures": compare(options.strategies or known, seeds)}
    print(table(report["figures"]))
    if options.json:
        Path(options.json).write_text(to_json(report), encoding="utf-8")
    if options.write:
        write(Path(options.write), report)
    return 0


def write(folder: Path, report: dict[str, Any]) -> None:
    """Write the report to a folder: JSON, CSV, and a chart of it."""
    from benchmarks.chart import draw  # noqa: PLC0415 - matplotlib, of the extra `bench`

    text = to_json(report)
    (folder / "comparison.json").write_text(text, encoding="utf-8")
    (folder / "comparison.csv").write_text(to_csv(report["figures"]), encoding="utf-8")
    draw(report["figures"], COLUMNS, folder / "comparison.svg", digest(text))


def to_json(report: dict[str, Any]) -> str:
    """Return a report as the text of a file."""
    return json.dumps(report, indent=1) + "\n"


def digest(text: str) -> str:
    """Return what a chart says about the report that it was drawn from."""
    return "drawn from " + hashlib.sha256(text.encode()).hexdigest()[:16]


def rows(figures: Figures) -> list[list[str]]:
    """Return the table: a strategy per row, what is possible at the end."""
    names = [name for name in next(iter(figures.values())) if name != BOUND]
    return [[name, *(f"{figures[load][name][key]:.2f}" for load, key, _ in COLUMNS)] for name in [*names, BOUND]]


def to_csv(figures: Figures) -> str:
    """Return the table as the text of a file."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["strategy", *(title for _, _, title in COLUMNS)])
    writer.writerows(rows(figures))
    return stream.getvalue()


def table(figures: Figures) -> str:
    """Return the table for a terminal."""
    titles = [title.replace(": ", "\n").splitlines() for _, _, title in COLUMNS]
    lines = [["", *(load for load, _ in titles)], ["", *(measure for _, measure in titles)], *rows(figures)]
    return "\n".join(f"{name:<16}" + "".join(f"{cell:>16}" for cell in cells) for name, *cells in lines)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m benchmarks strategies", description=(__doc__ or "").partition("\n")[0])
    count = len(SEEDS)
    parser.add_argument("strategies", nargs="*", help="names (default: every built-in one)")
    parser.add_argument(
        "--seeds", type=positive, default=count, help=f"loads of each kind; figures are medians (default: {count})"
    )
    parser.add_argument("--json", type=file_to_write, help="also write every figure to this file")
    parser.add_argument("--write", type=folder_to_write, help="write comparison.json, .csv and .svg to this folder")
    return parser
