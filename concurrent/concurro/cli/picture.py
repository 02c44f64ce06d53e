"""What `concurrent top` shows: pure functions from two looks to lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from concurro.cli.rows import (
    SLAVE_HEAD,
    SYSTEM_HEAD,
    Cell,
    duration,
    memory_cell,
    slave_row,
    system_row,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHORTEST = 6
"""Rows of systems that a low terminal has in any case."""

_FIRST_STATES = ("running", "starting")


class Look(NamedTuple):
    """What a master said at one time.

    Attributes:
        status: Its status.
        around: Where it and its slaves run.
    """

    status: dict[str, Any]
    around: dict[str, Any]


class Rates(NamedTuple):
    """Tasks per second [1/s] between two looks; empty after the first.

    Attributes:
        slaves: Attempts that ended, by slave.
        systems: Tasks that ended, by system.
    """

    slaves: Mapping[str, float]
    systems: Mapping[str, float]


def rates(before: Look | None, now: Look) -> Rates:
    """Return what ended per second between two looks at one master."""
    if before is None or before.status["pid"] != now.status["pid"]:
        return Rates({}, {})
    span = now.status["uptime"] - before.status["uptime"]
    if span <= 0:
        return Rates({}, {})
    slaves = _differences(before.status["slaves"], now.status["slaves"], "id", ("finished",))
    systems = _differences(before.status["systems"], now.status["systems"], "system_id", ("done", "failed"))
    return Rates(
        {name: count / span for name, count in slaves.items()}, {name: count / span for name, count in systems.items()}
    )


def picture(look: Look, rates: Rates, *, width: int | None = None, height: int | None = None) -> list[str]:
    """Return the lines of a picture.

    Args:
        look: The last look.
        rates: Since the one before.
        width: Characters of a line; None for as many as there are.
        height: Lines; None for as many as there are.
    """
    status, around = look.status, look.around
    head = _summary(look, rates)
    slaves = [
        _with_rate(slave_row(slave, around["slaves"].get(slave["id"])), rates.slaves.get(slave["id"]))
        for slave in status["slaves"]
    ]
    systems = [
        _with_rate(system_row(system), rates.systems.get(system["system_id"])) for system in _ordered(status["systems"])
    ]
    if height is not None:
        room = height - len(head) - 4
        systems, hidden_systems = _cut(systems, max(SHORTEST, room - len(slaves) - 1))
        slaves, hidden_slaves = _cut(slaves, max(1, room - len(systems) - 1 - bool(hidden_systems)))
    else:
        hidden_systems = hidden_slaves = 0
    lines = [*head, ""]
    lines += table(_rate_head(SLAVE_HEAD), slaves, width=width) if slaves else ["no slaves"]
    lines += [f"... and {hidden_slaves} more"] if hidden_slaves else []
    lines += ["", *(table(_rate_head(SYSTEM_HEAD), systems, width=width) if systems else ["no systems"])]
    lines += [f"... and {hidden_systems} more"] if hidden_systems else []
    return lines if height is None else lines[:height]


def _summary(look: Look, rates: Rates) -> list[str]:
    status, master = look.status, look.around.get("master", {})
    slaves, systems = status["slaves"], status["systems"]
    first = [f"master {status['url']}", f"pid {status['pid']}", f"up {duration(status['uptime'])}"]
    if master.get("load"):
        first.append("load " + " ".join(f"{each:.2f}" for each in master["load"]))
    if master.get("memory"):
        first.append(f"memory {memory_cell(master['memory']).text}")
    busy, workers = (sum(slave[key] for slave in slaves) for key in ("running", "workers"))
    leased = sum(system["leased"] for system in systems)
    waiting = sum(system["open"] for system in systems) - leased
    rate = f"{sum(rates.slaves.values()):.4g} per s, " if rates.slaves else ""
    second = [
        f"tasks: {rate}{leased} leased, {max(0, waiting)} waiting",
        f"slaves: {len(slaves)}, {busy} of {workers} workers busy",
        f"systems: {len(systems)}",
    ]
    return ["  ".join(first), "  ".join(second)]


def _ordered(systems: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the systems that go on first, the youngest of each kind first."""
    return sorted(systems, key=lambda system: (system["state"] not in _FIRST_STATES, system.get("age", 0.0)))


def _rate_head(head: Sequence[str]) -> list[str]:
    return [*head[:-1], "PER S", head[-1]]


def _with_rate(row: list[Cell], rate: float | None) -> list[Cell]:
    return [*row[:-1], Cell("-" if rate is None else f"{rate:.4g}"), row[-1]]


def _cut(rows: list[list[Cell]], most: int) -> tuple[list[list[Cell]], int]:
    return rows[:most], max(0, len(rows) - most)


def _differences(
    before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]], name: str, fields: Sequence[str]
) -> dict[str, int]:
    counts = {each[name]: sum(each[field] for field in fields) for each in before}
    return {
        each[name]: sum(each[field] for field in fields) - counts[each[name]] for each in now if each[name] in counts
    }
