"""What a line says of a slave, or of a system: columns for people.

A row is a list of cells; a cell that deserves attention has a colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from concurro.cli.printing import painted, visible
from concurro.config.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SCARCE = 0.1
"""So little of a machine's memory left is shown in a colour."""

SLAVE_HEAD = ("SLAVE", "HOST", "BUSY", "QUEUED", "FINISHED", "OFFERS", "LOAD", "MEMORY", "PYTHON", "SINCE", "STATE")
SYSTEM_HEAD = ("SYSTEM", "NAME", "OWNER", "DONE", "RUNNING", "WAITING", "FAILED", "AGE", "STATE")
_STATE_COLOURS = {"running": "green", "failed": "red", "cancelled": "yellow"}


class Cell(NamedTuple):
    """A text, and its colour where it matters."""

    text: str
    colour: str = ""


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], *, width: int | None = None) -> list[str]:
    """Return rows as lines with columns of equal width.

    Args:
        head: Names of the columns.
        rows: Their cells.
        width: Characters of a line; None for as many as there are.
    """
    shown_rows = [[cell._replace(text=visible(cell.text)) for cell in row] for row in [[*map(Cell, head)], *rows]]
    widths = [max(len(row[column].text) for row in shown_rows) for column in range(len(head))]
    widths[-1] = 0
    lines = []
    for row in shown_rows:
        left, parts = width, []
        for cell, size in zip(row, widths, strict=True):
            padded = cell.text.ljust(size)
            shown = padded if left is None else padded[: max(left, 0)]
            parts.append(painted(shown, cell.colour))
            left = None if left is None else left - len(padded) - 2
        lines.append("  ".join(parts).rstrip() if width is None else "  ".join(part for part in parts if part))
    return lines


def duration(seconds: float) -> str:
    """Return a duration in two units at most: `7 s`, `2 h 5 min`."""
    if seconds < MINUTE:
        return f"{int(seconds)} s"
    for unit, whole, small, part in (("min", MINUTE, "s", 1.0), ("h", HOUR, "min", MINUTE), ("d", DAY, "h", HOUR)):
        if seconds < whole * {"min": 60, "h": 24, "d": 1e9}[unit]:
            rest = int(seconds % whole // part)
            return f"{int(seconds // whole)} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{seconds:.0f} s"


def slave_condition(slave: dict[str, Any]) -> str:
    """Return a slave's state as one word: `ok`, `sick` or `leaving`."""
    return "sick" if slave["sick"] else "leaving" if slave["draining"] else "ok"


def slave_state(slave: dict[str, Any]) -> str:
    """Return a slave's state in words."""
    condition = slave_condition(slave)
    state = f"sick: {slave['sick']}" if condition == "sick" else condition
    if slave["lent"]:
        state += f", {slave['lent']} lent by tasks that wait"
    if slave.get("stopped"):
        state += f", workers stopped: process {', '.join(map(str, slave['stopped']))}"
    return state


def slave_row(slave: dict[str, Any], around: dict[str, Any] | None) -> list[Cell]:
    """Return the cells of a slave.

    Args:
        slave: Of the status.
        around: Its surroundings; None when it did not tell.
    """
    around = around or {}
    offers = " ".join(f"{name}={amount:g}" for name, amount in sorted(slave["resources"].items()))
    colour = {"ok": "green", "sick": "red", "leaving": "yellow"}[slave_condition(slave)]
    load = around.get("load")
    return [
        Cell(slave["id"]),
        Cell(slave["host"]),
        Cell(f"{slave['running']}/{slave['workers'] - slave['lent']}"),
        Cell(str(slave["queued"])),
        Cell(str(slave["finished"])),
        Cell(offers or "-"),
        Cell(f"{load[0]:.2f}" if load else "-"),
        memory_cell(around.get("memory")),
        Cell(around.get("versions", {}).get("python", "-")),
        Cell(duration(slave["connected"]) if "connected" in slave else "-"),
        Cell(slave_state(slave), "yellow" if slave.get("stopped") else colour),
    ]


def system_row(system: dict[str, Any]) -> list[Cell]:
    """Return the cells of a system of the status."""
    waiting = max(0, system["open"] - system["leased"])
    return [
        Cell(system["system_id"]),
        Cell(system["name"]),
        Cell(owner_of(system) or "-"),
        Cell(str(system["done"])),
        Cell(str(system["leased"])),
        Cell(str(waiting)),
        Cell(str(system["failed"]), "red" if system["failed"] else ""),
        Cell(duration(system.get("age", system["elapsed"]))),
        Cell(system["state"], _STATE_COLOURS.get(system["state"], "")),
    ]


def owner_of(system: dict[str, Any]) -> str:
    """Return who submitted a system: `key@host`, or `host:process`.

    Empty when the master was restarted since.
    """
    owner = system.get("owner")
    if not owner:
        return ""
    return f"{owner['key']}@{owner['host']}" if owner["key"] else f"{owner['host']}:{owner['pid']}"


def memory_cell(memory: dict[str, int] | None) -> Cell:
    """Return how much of a machine's memory is used."""
    if not memory or not memory.get("total"):
        return Cell("-")
    available, total = memory.get("available", 0), memory["total"]
    return Cell(
        f"{format_size(total - available)} of {format_size(total)}", "red" if available < SCARCE * total else ""
    )
