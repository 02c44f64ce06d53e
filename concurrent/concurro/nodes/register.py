"""The register of a master: whose systems these are, who is here."""

from __future__ import annotations

from typing import Any

MOST_APPLICATIONS = 4096
"""Of so many applications it is known who they are; then the one that came first is forgotten."""


class Register:
    """What a master notes of its peers for people who ask. Loop thread only."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._keys: dict[str, str] = {}
        self._owners: dict[str, dict[str, Any]] = {}

    def slave_joined(self, slave_id: str, key: str, now: float) -> None:
        """Note a slave, and the name of its key; empty without one."""
        self._since[slave_id] = now
        self._keys[slave_id] = key

    def slave_left(self, slave_id: str) -> None:
        """Forget a slave."""
        self._since.pop(slave_id, None)
        self._keys.pop(slave_id, None)

    def application_joined(self, client: str, key: str, host: str, pid: int) -> None:
        """Note an application by its own id."""
        if not client:
            return
        self._owners[client] = {"key": key, "host": host, "pid": pid}
        if len(self._owners) > MOST_APPLICATIONS:
            del self._owners[next(iter(self._owners))]

    def completed(self, status: dict[str, Any], now: float) -> dict[str, Any]:
        """Add to a master's status what is noted here.

        To a slave, seconds since it joined [s] and the name of its key; to a system its owner: key, host and process
        of the application that submitted it, or None when that was not here since this master started, or long ago.
        """
        for slave in status["slaves"]:
            since = self._since.get(slave["id"], now)
            slave |= {"connected": now - since, "key": self._keys.get(slave["id"], "")}
        for system in status["systems"]:
            system["owner"] = self._owners.get(system["application"])
        return status
