"""`concurrent systems` and `concurrent slaves`, with filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from concurro.cli.asking import asked_master, master_options
from concurro.cli.printing import examples, json_option, print_json
from concurro.cli.rows import SLAVE_HEAD, SYSTEM_HEAD, slave_condition, slave_row, system_row, table
from concurro.ids import SystemState

if TYPE_CHECKING:
    from concurro.nodes.application import ApplicationNode

ANSWER_LIMIT = 30.0
"""How long the master may take to answer [s]."""


@click.command(
    "systems", epilog=examples("concurrent systems --state running", "concurrent systems --mine --name Sum --json")
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in SystemState]),
    help="Only systems in that state; may be repeated.",
)
@click.option("--mine", is_flag=True, help="Only systems that were submitted with the key that this command uses.")
@click.option("--name", metavar="TEXT", help="Only systems whose name contains that.")
@master_options
@json_option
def systems_command(*, as_json: bool, states: tuple[str, ...], mine: bool, name: str | None, **where: Any) -> None:
    """List the systems of a master.

    RUNNING are tasks that were leased to a slave, WAITING the others that are not final. OWNER is the name of the key
    that a system was submitted with and the host where, or host and process; without keys all systems are `--mine`.
    """
    with asked_master(**where) as application:
        status = application.status()
    chosen = [
        system
        for system in status["systems"]
        if (not states or system["state"] in states)
        and (not mine or _is_mine(system, status))
        and (not name or name.lower() in system["name"].lower())
    ]
    if as_json:
        print_json({"url": status["url"], "systems": chosen})
        return
    if not chosen:
        click.echo("no systems" if not status["systems"] else no_match("system", len(status["systems"])))
        return
    for line in table(SYSTEM_HEAD, [system_row(system) for system in chosen]):
        click.echo(line)


@click.command("slaves", epilog=examples("concurrent slaves", "concurrent slaves --state sick --json"))
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["ok", "sick", "leaving"]),
    help="Only slaves in that state; may be repeated.",
)
@click.option("--host", metavar="TEXT", help="Only slaves on hosts whose name contains that.")
@master_options
@json_option
def slaves_command(*, as_json: bool, states: tuple[str, ...], host: str | None, **where: Any) -> None:
    """List the slaves of a master.

    BUSY are workers that run a task, of how many; QUEUED tasks that were sent ahead, FINISHED attempts that ended
    there. LOAD and MEMORY are of the whole machine, as the slave says when asked; one that does not answer within
    some seconds has none.
    """
    with asked_master(**where) as application:
        status = application.status()
        around = ask_surroundings(application)["slaves"]
    chosen = [
        slave
        for slave in status["slaves"]
        if (not states or slave_condition(slave) in states) and (not host or host.lower() in slave["host"].lower())
    ]
    if as_json:
        listed = [{**slave, "surroundings": around.get(slave["id"])} for slave in chosen]
        print_json({"url": status["url"], "slaves": listed})
        return
    if not status["slaves"]:
        click.echo(f"no slaves; start one with: concurrent-slave --master {status['url']}")
    elif not chosen:
        click.echo(no_match("slave", len(status["slaves"])))
    else:
        for line in table(SLAVE_HEAD, [slave_row(slave, around.get(slave["id"])) for slave in chosen]):
            click.echo(line)


def ask_surroundings(application: ApplicationNode, limit: float = ANSWER_LIMIT) -> dict[str, Any]:
    """Return where the master and its slaves run.

    Empty from a master that cannot tell, as one of an earlier version.

    Args:
        application: Is connected to it.
        limit: How long it may take to answer [s].

    Raises:
        TimeoutError: It took longer.
    """
    try:
        answer: dict[str, Any] = application.request("surroundings", []).result(limit)
    except LookupError:
        return {"master": {}, "slaves": {}}
    return answer


def no_match(what: str, total: int) -> str:
    """Say that the options leave none of what there is.

    Args:
        what: Is listed; in the singular.
        total: So many there are.
    """
    return f"no {what} matches ({total} in all)"


def _is_mine(system: dict[str, Any], status: dict[str, Any]) -> bool:
    own = status.get("you", "")
    owner = system.get("owner")
    return owner["key"] == own if owner else not own
