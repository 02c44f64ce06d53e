"""`concurrent tesserae`: what the monitor of a running master knows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from concurro import ApplicationNode, Component, Config, ICommandGroup, implementer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MEBIBYTE = 1024 * 1024

ANSWER_LIMIT = 30.0
"""How long the monitor may take to answer [s]."""

_COLUMNS = {
    "tesserae": ("uid", "class_name", "state", "worker", "incarnation", "unfinished"),
    "calls": ("uid", "method", "state", "worker", "tessera"),
    "workers": ("uid", "node", "running", "queued", "done", "failed", "tesserae", "memory", "memory_limit", "cpu_load"),
}


@implementer(ICommandGroup)
class TesseraeCommands(Component):
    """Shows tesserae, their calls, and the workers in which they live."""

    name = "tesserae"

    def command(self) -> click.Group:
        """Return the group of commands."""
        return tesserae_group


def _options(function: Callable[..., None]) -> Callable[..., None]:
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    keys = click.option("--keys", metavar="PATH", help="Your key file, or the folder that holds it.")
    config = click.option("--config", metavar="PATH", help="A concurrent.toml, or the folder that holds it.")
    master = click.option("--master", metavar="URL", help="Address of the master; else the one that is configured.")
    return master(keys(config(as_json(function))))


@click.group("tesserae", epilog="\b\nExamples:\n  concurrent tesserae list")
def tesserae_group() -> None:
    """Show tesserae, their calls and their workers."""


@tesserae_group.command("list", epilog="\b\nExamples:\n  concurrent tesserae list --json")
@_options
def list_command(*, as_json: bool, **where: str | None) -> None:
    """List tesserae: class, state, worker, and calls that have not ended."""
    _show("tesserae", as_json=as_json, **where)


@tesserae_group.command("calls", epilog="\b\nExamples:\n  concurrent tesserae calls")
@_options
def calls_command(*, as_json: bool, **where: str | None) -> None:
    """List calls: those that run or wait, and some that ended."""
    _show("calls", as_json=as_json, **where)


@tesserae_group.command("workers", epilog="\b\nExamples:\n  concurrent tesserae workers")
@_options
def workers_command(*, as_json: bool, **where: str | None) -> None:
    """List workers: calls, tesserae, memory in MiB, load in per cent."""
    _show("workers", as_json=as_json, **where)


def _show(what: str, *, as_json: bool, **where: str | None) -> None:
    state = _state_of(**where)
    listed = state["tasks" if what == "calls" else what]
    if as_json:
        click.echo(json.dumps({"version": state["version"], "strategy": state["strategy"], what: listed}, indent=2))
        return
    if not listed:
        click.echo(f"no {what}")
        return
    columns = _COLUMNS[what]
    rows = [[name.upper().replace("_", " ") for name in columns]]
    rows += [[_written(name, one.get(name)) for name in columns] for one in listed]
    for line in _aligned(rows):
        click.echo(line)


def _state_of(master: str | None, keys: str | None, config: str | None) -> dict[str, Any]:
    """Ask the monitor."""
    settings = Config.load(config, overrides={"application.master": master, "security.keys": keys})
    url = str(settings["application.master"] or "")
    if not url:
        message = "no master is configured; give --master URL, or [application] master in a concurrent.toml"
        raise click.UsageError(message)
    with ApplicationNode(url, config=settings) as application:
        state: dict[str, Any] = application.service("monitor").call("state").result(ANSWER_LIMIT)
    return state


def _written(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.startswith("memory"):
        return f"{value / MEBIBYTE:.0f}"
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
