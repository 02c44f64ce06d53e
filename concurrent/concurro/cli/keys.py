"""`concurrent keys`: say who may connect to a master.

init --> a folder for the master; add --> a file to take to a machine or person; revoke --> it is worth nothing
"""

from __future__ import annotations

from pathlib import Path

import click

from concurro.cli.fields import aligned
from concurro.cli.outcomes import CommandFailure
from concurro.cli.printing import examples, json_option, print_json
from concurro.config import Config, parse_address
from concurro.transport.keys import GRANTED
from concurro.transport.keys_folder import SECRET_ENDING, KeyFolder

_SHOWN = 8

_folder_argument = click.argument(
    "folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False)
)


@click.group(
    "keys",
    epilog=examples("concurrent keys init keys", "concurrent keys add slave north keys", "concurrent keys list keys"),
)
def keys_group() -> None:
    """Say who may connect to a master.

    A master keeps its keys in a folder, DIR: what a command is given, else [security] keys.
    """


@keys_group.command("init", epilog=examples("concurrent keys init keys"))
@_folder_argument
def init_keys(folder: Path | None) -> None:
    """Make a folder with the keys of a master."""
    found = KeyFolder(_folder(folder))
    found.create()
    click.echo(
        f"made {found.path}\n"
        f"  a key for a machine:  concurrent keys add slave NAME {found.path}\n"
        f"  a key for a person:   concurrent keys add application NAME {found.path}\n"
        f"  start the master:     concurrent-master --keys {found.path} --listen tcp://HOST:8081",
        err=True,
    )


@keys_group.command(
    "add",
    epilog=examples(
        "concurrent keys add slave north keys --master tcp://server:8081", "concurrent keys add application ada keys"
    ),
)
@click.argument("role", metavar="ROLE", type=click.Choice(GRANTED))
@click.argument("name", metavar="NAME")
@_folder_argument
@click.option("--master", metavar="URL", multiple=True, help="Address of the master, noted in the file; repeatable.")
def add_key(role: str, name: str, folder: Path | None, master: tuple[str, ...]) -> None:
    """Make a key for a machine or a person, and print its file.

    ROLE is slave, application, or admin, who may do what applications do, and more. Take the
    file to where it is used, over a way that nobody else reads.
    """
    for url in master:
        parse_address(url)
    file = KeyFolder(_folder(folder)).add(role, name, master)
    url = master[0] if master else "tcp://HOST:8081"
    use = f"concurrent-slave --master {url}" if role == "slave" else f"concurrent run FILE --master {url}"
    click.echo(str(file))
    click.echo(
        f"whoever has this file is {name}; take it to where {name} works, and remove it here:\n"
        f"  scp -p {file} MACHINE: && rm {file}\n"
        f"  there:  {use} --keys {file.name}\n"
        f"a master that runs lets it in from now on",
        err=True,
    )


@keys_group.command("list", epilog=examples("concurrent keys list keys"))
@_folder_argument
@json_option
def list_keys(folder: Path | None, *, as_json: bool) -> None:
    """List the keys that a master lets in."""
    found = KeyFolder(_folder(folder))
    found.pair()
    peers, faults = found.peers()
    here = {peer.name for peer in peers if (found.path / f"{peer.name}{SECRET_ENDING}").exists()}
    if as_json:
        keys = [
            {"name": peer.name, "role": peer.role, "public": peer.public, "secret_is_here": peer.name in here}
            for peer in peers
        ]
        print_json({"folder": str(found.path), "keys": keys, "faults": list(map(str, faults))})
        return
    rows = [
        (peer.name, peer.role, f"{peer.public[:_SHOWN]}...", "to be taken away" if peer.name in here else "")
        for peer in peers
    ]
    if rows:
        click.echo("\n".join(aligned([("NAME", "ROLE", "KEY", "SECRET"), *rows])))
    else:
        click.echo(f"no keys yet; make one with: concurrent keys add ROLE NAME {found.path}")
    for fault in faults:
        click.echo(f"not let in: {fault}", err=True)


@keys_group.command("revoke", epilog=examples("concurrent keys revoke north keys"))
@click.argument("name", metavar="NAME")
@_folder_argument
def revoke_key(name: str, folder: Path | None) -> None:
    """Let nobody in with a key any more.

    A master that runs drops its connections within a second or two.
    """
    KeyFolder(_folder(folder)).revoke(name)
    click.echo(f"revoked {name}", err=True)


def _folder(given: Path | None) -> Path:
    """Return the folder of the master's keys."""
    folder = given if given is not None else Config.load()["security.keys"]
    if folder is None:
        message = "which folder? give DIR, or set [security] keys"
        raise CommandFailure(message)
    return Path(folder)
