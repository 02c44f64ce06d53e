"""The master's address as a key file notes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.config import Config
from concurro.config.configuration import DEFAULT_ORIGIN
from concurro.transport.keys_folder import key_in

if TYPE_CHECKING:
    from concurro.ids import Role


def with_noted_master(config: Config, role: Role) -> Config:
    """Return the settings, with `slave.master` from our key file.

    What somebody set stays.

    Raises:
        KeyFileError: The key cannot be used.
    """
    keys = config["security.keys"]
    if keys is None or config.origin("slave.master") != DEFAULT_ORIGIN:
        return config
    addresses = key_in(keys, role).addresses
    return Config.load(config, overrides={"slave.master": addresses[0]}) if addresses else config
