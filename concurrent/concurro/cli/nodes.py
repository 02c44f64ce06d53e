"""`concurrent-master` and `concurrent-slave`."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

import click

from concurro.cli.outcomes import reported_errors
from concurro.cli.printing import examples
from concurro.config import Config, parse_address
from concurro.execution.launcher_process import LauncherProcess
from concurro.ids import Role
from concurro.nodes.noted import with_noted_master
from concurro.transport.keys_folder import SECRET_ENDING, KeyFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_EVERYWHERE = ("*", "0.0.0.0", "::")  # noqa: S104 - compared only
_HELP = {"help_option_names": ["-h", "--help"]}


def _node_options(function: Callable[..., None]) -> Callable[..., None]:
    config = click.option("--config", metavar="PATH", help="A concurrent.toml, or the folder that holds it.")
    plugins = click.option(
        "--plugins", metavar="PATH", multiple=True, help="A file or folder with components; may be repeated."
    )
    return click.version_option(package_name="concurro")(config(plugins(function)))


@click.command(
    "concurrent-master",
    context_settings=_HELP,
    epilog=examples("concurrent-master", "concurrent-master --keys keys --listen tcp://0.0.0.0:8081"),
)
@click.option("--listen", metavar="URL", help="Where to listen, e.g. tcp://127.0.0.1:8081 or ipc://PATH.")
@click.option("--keys", metavar="PATH", help="The folder that `concurrent keys init` made.")
@_node_options
def master_command(listen: str | None, keys: str | None, config: str | None, plugins: tuple[str, ...]) -> None:
    """Run a master until SIGINT or SIGTERM."""
    _log_to_stderr()
    with reported_errors():
        from concurro.nodes.master import MasterNode, collect_less_often  # noqa: PLC0415 - not for --help

        overrides = {"master.listen": listen, "security.keys": keys}
        node = MasterNode(Config.load(config, overrides=overrides), plugins=plugins)
        node.on_ready = lambda: _say_how_to_join(node.url, node.env.config["security.keys"])
        collect_less_often()
        node.run()


@click.command(
    "concurrent-slave",
    context_settings=_HELP,
    epilog=examples("concurrent-slave --workers 4", "concurrent-slave --master tcp://server:8081 --keys north.key"),
)
@click.option("--master", metavar="URL", help="Address of the master, e.g. tcp://127.0.0.1:8081 or ipc://PATH.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many tasks run at once; 0: one per usable processor.",
)
@click.option("--keys", metavar="PATH", help="The slave's key file, or the folder that holds it.")
@_node_options
def slave_command(
    master: str | None, workers: int | None, keys: str | None, config: str | None, plugins: tuple[str, ...]
) -> None:
    """Run a slave until SIGINT or SIGTERM.

    The first one lets running tasks finish.
    """
    _log_to_stderr()
    overrides = {
        "slave.master": master,
        "slave.workers": None if workers is None else str(workers),
        "security.keys": keys,
    }
    with reported_errors():
        settings = with_noted_master(Config.load(config, overrides=overrides), Role.SLAVE)
        launcher = LauncherProcess.execute(folder="")  # it imports while we do
        try:
            from concurro.nodes.slave import SlaveNode  # noqa: PLC0415 - not for --help

            node = SlaveNode(settings, plugins=plugins)
            node.use_launcher(launcher, folder="")
            url = str(settings["slave.master"])
            node.on_joined = lambda slave_id: click.echo(f"joined the master at {url} as {slave_id}", err=True)
            node.run()
        finally:
            launcher.end()


def _say_how_to_join(url: str, keys: Path | None) -> None:
    lines = [f"master listens on {url} (process {os.getpid()})"]
    if keys is None or parse_address(url).scheme == "ipc":
        lines += [
            f"  a slave:        concurrent-slave --master {url}",
            f"  an application: concurrent run FILE --master {url}",
            "  for programs of this user on this machine; others need keys: concurrent keys init DIR",
        ]
    else:
        lines += _lines_with_keys(url, keys)
    click.echo("\n".join(lines), err=True)


def _lines_with_keys(url: str, folder: Path) -> list[str]:
    """Return what to paste on other machines, for the keys that are there."""
    peers, _ = KeyFolder(folder).peers()
    there = _as_seen_elsewhere(url)
    starts = {"slave": f"concurrent-slave --master {there}", "application": f"concurrent run FILE --master {there}"}
    lines: list[str] = []
    for role, start in starts.items():
        names = [peer.name for peer in peers if peer.role == role]
        article = "an" if role == "application" else "a"
        lines.append(f"  {article} {role} on another machine:")
        if not names:
            lines.append(f"    first here:  concurrent keys add {role} NAME {folder}")
            names = ["NAME"]
        for name in names:
            secret = folder / f"{name}{SECRET_ENDING}"
            if name == "NAME" or secret.exists():
                lines.append(f"    take its key there:  scp -p {secret} MACHINE:")
            lines.append(f"    {start} --keys {name}{SECRET_ENDING}")
    return lines


def _as_seen_elsewhere(url: str) -> str:
    """Return an address that other machines can dial."""
    address = parse_address(url)
    return str(address._replace(host=socket.gethostname())) if address.host in _EVERYWHERE else url


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
