"""Which master is meant when nobody names one."""

from __future__ import annotations

from typing import Any

from concurro.config import Config
from concurro.config.configuration import DEFAULT_ORIGIN
from concurro.ids import Role
from concurro.nodes.noted import with_noted_master
from concurro.transport.addresses import is_ours


def find_master(config: Any = None) -> str | None:
    """Return the address of the master that commands ask.

    Of one that somebody configured (`[application] master`, `[slave] master`, the note in a key
    file), whether it runs or not; else the default address if a master of ours listens there.

    Args:
        config: What `Config.load` takes.

    Returns:
        None when nothing is configured and nobody is there.

    Raises:
        ConfigError: The settings, or the key file, cannot be used.
    """
    settings = Config.load(config)
    configured = str(settings["application.master"] or "")
    if configured:
        return configured
    noted = with_noted_master(settings, Role.APPLICATION)
    url = str(noted["slave.master"])
    if noted.origin("slave.master") != DEFAULT_ORIGIN or is_ours(url, settings["security.keys"]):
        return url
    return None
