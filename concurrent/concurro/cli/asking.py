"""Reach a running master, for commands that ask it something.

Commands of plugins have the same options, and look for the same master.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from concurro.cli.outcomes import CommandFailure
from concurro.config import Config
from concurro.errors import ConcurroError, MasterUnreachable
from concurro.ids import Role
from concurro.nodes.noted import with_noted_master
from concurro.scheduling.roster import LEAST_BEGINNING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concurro.nodes.application import ApplicationNode

F = TypeVar("F", bound="Callable[..., object]")

PATIENCE = 3.0
"""How long to wait for a master to answer unless the configuration says otherwise [s]."""

ANSWER_LIMIT = 30.0
"""How long a master may take to answer [s]."""

DAY = 86400.0


def master_options(function: F) -> F:
    """Give a click command the options `master`, `keys` and `config`.

    Each is None when it is not given; `asked_master` takes them.
    """
    keys = click.option("--keys", metavar="PATH", help="Your key file, or the folder that holds it.")
    config = click.option("--config", metavar="PATH", help="A concurrent.toml, or the folder that holds it.")
    master = click.option("--master", metavar="URL", help="Address of the master; else the one that is configured.")
    return master(keys(config(function)))


@contextmanager
def asked_master(
    master: str | None = None, keys: str | None = None, config: str | None = None
) -> Iterator[ApplicationNode]:
    """Give an application connected to the master that is meant.

    The one given, else the one that is configured, else the one that the key file notes, else
    the one on the default address.

    Args:
        master: Its address.
        keys: Our key file, or a folder with it.
        config: A `concurrent.toml`, or the folder that holds it.

    Raises:
        MasterUnreachable: No master answered within some seconds, or a question that was asked of it took too long.
        RefusedError: The master does not want us.
        ConfigError: The settings, or the key file, cannot be used.
    """
    from concurro.nodes.application import ApplicationNode  # noqa: PLC0415 - not for --help

    settings = Config.load(config, overrides={"application.master": master, "security.keys": keys})
    if settings.origin("application.connect_timeout") == "default":
        settings = Config.load(settings, overrides={"application.connect_timeout": str(PATIENCE)})
    url = str(settings["application.master"] or with_noted_master(settings, Role.APPLICATION)["slave.master"])
    with ApplicationNode(url, config=settings) as application:
        try:
            yield application
        except ConcurroError:
            raise
        except TimeoutError:
            message = f"the master at {url} did not answer in time; is it stopped, or very busy?"
            raise MasterUnreachable(message) from None


def ask_about(application: Any, question: str, wanted: str, *arguments: Any) -> Any:
    """Return what the master answers about a system or a task.

    Args:
        application: Is connected to it.
        question: What the master calls it.
        wanted: Id of the system or task, or the beginning of it.
        arguments: What else the question takes.

    Raises:
        CommandFailure: The master knows no such system; says since when it runs, as one that was restarted forgets.
        TimeoutError: It does not answer.
    """
    try:
        return application.request(question, [wanted, *arguments]).result(ANSWER_LIMIT)
    except LookupError as error:
        message = f"{error.args[0] if error.args else error}{_why_unknown(application, wanted)}"
        raise CommandFailure(message) from None


def _why_unknown(application: Any, wanted: str) -> str:
    """Return what may help who asked for a system that is not known."""
    beginning = wanted.partition(":")[0]
    if len(beginning) < LEAST_BEGINNING:
        return f"; of an id {LEAST_BEGINNING} characters at least are needed"
    try:
        status = application.request("status", []).result(ANSWER_LIMIT)
    except (ConcurroError, LookupError, TimeoutError):
        return ""  # it went away meanwhile; what it said counts
    alike = [system["system_id"] for system in status.get("systems", ()) if system["system_id"].startswith(beginning)]
    if len(alike) > 1:
        return f"; {len(alike)} systems begin so, as {alike[0]} and {alike[1]}: give more of the id"
    uptime = float(status["uptime"])
    started = time.localtime(time.time() - uptime)
    return f"; this master runs since {time.strftime('%H:%M:%S' if uptime < DAY else '%Y-%m-%d %H:%M:%S', started)}"
