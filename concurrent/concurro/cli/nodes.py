"""`concurrent-master` and `concurrent-slave`."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import click

from concurro.cli.outcomes import reported_errors
from concurro.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

_HELP = {"help_option_names": ["-h", "--help"]}


def _node_options(function: Callable[..., None]) -> Callable[..., None]:
    config = click.option("--config", metavar="PATH", help="A concurrent.toml, or the folder that holds it.")
    plugins = click.option(
        "--plugins", metavar="PATH", multiple=True, help="A file or folder with components; may be repeated."
    )
    return click.version_option(package_name="concurro")(config(plugins(function)))


@click.command("concurrent-master", context_settings=_HELP)
@click.option("--listen", metavar="URL", help="Where to listen, e.g. tcp://127.0.0.1:8081 or ipc://PATH.")
@_node_options
def master_command(listen: str | None, config: str | None, plugins: tuple[str, ...]) -> None:
    """Run a master until SIGINT or SIGTERM."""
    _log_to_stderr()
    with reported_errors():
        from concurro.nodes.master import MasterNode  # noqa: PLC0415 - not for --help

        node = MasterNode(Config.load(config, overrides={"master.listen": listen}), plugins=plugins)
        node.on_ready = lambda: _say_how_to_join(node.url)
        node.run()


@click.command("concurrent-slave", context_settings=_HELP)
@click.option("--master", metavar="URL", help="Address of the master, e.g. tcp://127.0.0.1:8081 or ipc://PATH.")
@click.option(
    "--workers", type=click.IntRange(min=0), metavar="N", help="How many tasks run at once; 0: one per processor."
)
@_node_options
def slave_command(master: str | None, workers: int | None, config: str | None, plugins: tuple[str, ...]) -> None:
    """Run a slave until SIGINT or SIGTERM.

    The first one lets running tasks finish.
    """
    _log_to_stderr()
    overrides = {"slave.master": master, "slave.workers": None if workers is None else str(workers)}
    with reported_errors():
        from concurro.nodes.slave import SlaveNode  # noqa: PLC0415 - not for --help

        node = SlaveNode(Config.load(config, overrides=overrides), plugins=plugins)
        url = str(node.env.config["slave.master"])
        node.on_joined = lambda slave_id: click.echo(f"joined the master at {url} as {slave_id}", err=True)
        node.run()


def _say_how_to_join(url: str) -> None:
    click.echo(
        f"master listens on {url} (process {os.getpid()})\n"
        f"  a slave:        concurrent-slave --master {url}\n"
        f"  an application: concurrent run FILE --master {url}",
        err=True,
    )


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
