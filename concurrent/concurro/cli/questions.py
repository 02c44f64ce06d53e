"""`concurrent status`, `explain` and `cancel`: ask a running master."""

from __future__ import annotations

from typing import Any

import click

from concurro.cli.asking import ask_about, asked_master, master_options
from concurro.cli.fields import aligned
from concurro.cli.outcomes import CommandFailure
from concurro.cli.printing import examples, json_option, print_json, visible
from concurro.cli.rows import slave_state


@click.command("status", epilog=examples("concurrent status", "concurrent status --master tcp://server:8081 --json"))
@master_options
@json_option
def status_command(master: str | None, keys: str | None, config: str | None, *, as_json: bool) -> None:
    """Show the slaves and systems of a master.

    QUEUED are tasks that were sent to a slave and have not started, FINISHED attempts that ended there; OPEN are
    tasks of a system that are not final.
    """
    with asked_master(master, keys, config) as application:
        status = application.status()
    if as_json:
        print_json(status)
        return
    for line in status_lines(status):
        click.echo(line)


@click.command("explain", epilog=examples("concurrent explain 3f9c", "concurrent explain 3f9c:17"))
@click.argument("wanted", metavar="ID")
@master_options
@json_option
def explain_command(wanted: str, master: str | None, keys: str | None, config: str | None, *, as_json: bool) -> None:
    """Say why a task or a system is where it is.

    ID is a system's id, or its beginning of four characters and more; for a task a colon and its number follow.
    """
    with asked_master(master, keys, config) as application:
        sentence = ask_about(application, "explain", wanted)
    if as_json:
        print_json({"id": wanted, "explanation": sentence})
    else:
        click.echo("\n".join(map(visible, sentence.split("\n"))))


@click.command("cancel", epilog=examples("concurrent cancel 3f9c"))
@click.argument("wanted", metavar="ID")
@master_options
def cancel_command(wanted: str, master: str | None, keys: str | None, config: str | None) -> None:
    """Cancel a system.

    ID is its id, or its beginning of four characters and more. Tasks that wait are cancelled, running ones killed.
    """
    with asked_master(master, keys, config) as application:
        was_open = ask_about(application, "cancel", wanted)
    if not was_open:
        message = f"there is no running system {wanted}; see concurrent status"
        raise CommandFailure(message)
    click.echo(f"system {wanted} is being cancelled", err=True)


def status_lines(status: dict[str, Any]) -> list[str]:
    """Return the state of a master as lines for people."""
    lines = [f"master {status['url']}  pid {status['pid']}  up {status['uptime']:.0f} s", ""]
    slaves = [
        (
            slave["id"],
            str(slave["workers"] - slave["lent"]),
            str(slave["running"]),
            str(slave["queued"]),
            str(slave["finished"]),
            slave_state(slave),
        )
        for slave in status["slaves"]
    ]
    if slaves:
        lines += aligned([("SLAVE", "WORKERS", "RUNNING", "QUEUED", "FINISHED", "STATE"), *slaves])
    else:
        lines.append(f"no slaves; start one with: concurrent-slave --master {status['url']}")
    systems = [
        (
            system["system_id"],
            system["name"],
            system["state"],
            str(system["open"]),
            str(system["done"]),
            str(system["failed"]),
            f"{system['elapsed']:.1f} s",
        )
        for system in status["systems"]
    ]
    lines.append("")
    if systems:
        lines += aligned([("SYSTEM", "NAME", "STATE", "OPEN", "DONE", "FAILED", "ELAPSED"), *systems])
    else:
        lines.append("no systems")
    stuck = [f"{system['system_id']}: {system['stuck']}" for system in status["systems"] if system.get("stuck")]
    if stuck:
        lines += ["", *map(visible, stuck)]
    if status.get("shadow"):
        lines += ["", _shadow_line(status["shadow"])]
    return lines


def _shadow_line(shadow: dict[str, Any]) -> str:
    """Return how a strategy in shadow mode compares with the one in force."""
    who = f"shadow {shadow['strategy']}"
    if shadow["failure"]:
        return f"{who} is switched off: {shadow['failure']}"
    regret = shadow["regret"]
    return (
        f"{who}: {shadow['decisions']} decisions, {shadow['different']} different, {shadow['waits']} to wait; "
        f"its choices are expected {abs(regret):.3g} s {'later' if regret < 0 else 'sooner'} "
        f"in sum, of {shadow['expected']:.3g} s"
    )
