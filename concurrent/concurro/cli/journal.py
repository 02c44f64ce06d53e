"""`concurrent journal`: look at what a master keeps on disk."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from concurro.cli.fields import aligned
from concurro.cli.outcomes import EXIT_FAILED, EXIT_NO_MASTER, CommandFailure
from concurro.cli.printing import examples, json_option, print_json
from concurro.config import Config
from concurro.errors import JournalDamagedError, JournalInUseError
from concurro.journal.folder import JournalFolder
from concurro.journal.store import JournalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concurro.scheduling.rows import KeptSystem

_SHOWN = ("snapshot", "inputs", "intents", "crashes", "blobs")
_MEBIBYTE = 2**20


@click.group("journal", epilog=examples("concurrent journal show /var/lib/concurrent"))
def journal_group() -> None:
    """Check, show and compact a master's journal.

    FOLDER is what `[master] journal` names; without it, the configuration is asked. The master
    that uses the journal must have ended.
    """


def _folder_options(function: Callable[..., None]) -> Callable[..., None]:
    config = click.option("--config", metavar="PATH", help="A concurrent.toml, or the folder that holds it.")
    return click.argument("folder", required=False)(config(function))


@journal_group.command("check", epilog=examples("concurrent journal check /var/lib/concurrent"))
@_folder_options
@json_option
def check_command(folder: str | None, config: str | None, *, as_json: bool) -> None:
    """Read every row and blob; say whether each is what was written.

    Ends with 0 when the journal is whole, with 1 when it is not.
    """
    said: list[str] = []
    try:
        with _opened(folder, config) as (store, where):
            store.check(said.append if as_json else click.echo)
    except JournalDamagedError as error:
        if as_json:
            print_json({"folder": folder, "whole": False, "checked": said, "fault": str(error)})
        message = f"damaged: {error}"
        raise CommandFailure(message, EXIT_FAILED) from error
    if as_json:
        print_json({"folder": where, "whole": True, "checked": said, "fault": ""})
    else:
        click.echo(f"{where} is whole")


@journal_group.command("show", epilog=examples("concurrent journal show /var/lib/concurrent"))
@_folder_options
@json_option
def show_command(folder: str | None, config: str | None, *, as_json: bool) -> None:
    """List the systems that are kept, and what of each."""
    with _opened(folder, config) as (store, where):
        systems = [_described(kept) for kept in store.load().values()]
    if as_json:
        print_json({"folder": where, "systems": systems})
        return
    click.echo(f"{where}: {len(systems)} systems")
    for system in systems:
        click.echo(f"\n{system['system_id']}  {system['name']}  {system['state']}")
        facts = {name: str(system[name]) for name in ("submitted", *_SHOWN)}
        for line in aligned(list(facts.items())):
            click.echo(f"  {line}")


@journal_group.command("compact", epilog=examples("concurrent journal compact /var/lib/concurrent"))
@_folder_options
def compact_command(folder: str | None, config: str | None) -> None:
    """Give back the space of systems that were forgotten."""
    with _opened(folder, config) as (store, where):
        before, after = store.compact()
    click.echo(f"{where}: {before / _MEBIBYTE:.1f} MiB before, {after / _MEBIBYTE:.1f} MiB now")


@contextmanager
def _opened(wanted: str | None, config: str | None) -> Iterator[tuple[JournalStore, str]]:
    """Open a journal that no master uses."""
    place = wanted or str(Config.load(config)["master.journal"] or "")
    if not place:
        message = "which journal? Name its folder, or set [master] journal in the configuration"
        raise CommandFailure(message)
    try:
        folder = JournalFolder(place, must_exist=True)
    except JournalInUseError as error:
        raise CommandFailure(str(error), EXIT_NO_MASTER) from error
    try:
        store = JournalStore(folder, read_only=True)
        try:
            yield store, place
        finally:
            store.close()
    finally:
        folder.close()


def _described(kept: KeptSystem) -> dict[str, Any]:
    accepted = kept.accepted
    return {
        "system": accepted.system,
        "system_id": accepted.system_id,
        "name": accepted.name,
        "state": "running" if kept.ended is None else kept.ended.state,
        "submitted": datetime.fromtimestamp(accepted.submitted_at, UTC).isoformat(timespec="seconds"),
        "generation": kept.generation,
        "snapshot": None if kept.snapshot is None else kept.snapshot.n,
        "inputs": len(kept.inputs),
        "finished_tasks": sum(len(row.body[3]) for row in kept.inputs if row.n),
        "intents": len(kept.intents),
        "crashes": sum(kept.crashes.values()),
        "blobs": len(kept.blobs),
    }
