"""Whom a listener lets in, looked at again and again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from concurro.errors import KeyFileError
from concurro.transport.keys_automatic import AutomaticKeys
from concurro.transport.keys_folder import KeyFolder

if TYPE_CHECKING:
    from pathlib import Path

    from concurro.transport.keys import KeyPair, KnownPeer

log = logging.getLogger("concurro.keys")


class Keyring(Protocol):
    """A master's pair, and the keys that it knows. Loop thread only.

    Attributes:
        pair: The master's.
    """

    pair: KeyPair

    def find(self, public: str) -> KnownPeer | None:
        """Return whose key that is; None for a stranger's."""

    def opened(self, host: str, port: int) -> None:
        """Know where the listener listens.

        Raises:
            KeyFileError: Its peers could not find the keys.
        """

    def refresh(self) -> bool:
        """Look at the files again; return whether other keys are known now."""

    def closed(self) -> None:
        """Know that nobody listens any more. Idempotent."""


class FolderRing:
    """The keys of a folder.

    A folder that is gone, or in which others could put keys, lets nobody in.
    """

    def __init__(self, path: Path) -> None:
        """Read the folder.

        Raises:
            KeyFileError: It cannot be used; the message has what mends it.
        """
        self._folder = KeyFolder(path)
        self.pair = self._folder.pair()
        self._known: dict[str, KnownPeer] = {}
        self._stamp: object = None
        self._load()

    def find(self, public: str) -> KnownPeer | None:
        """Return whose key that is; None for a stranger's."""
        return self._known.get(public)

    def opened(self, host: str, port: int) -> None:
        """Do nothing: keys were handed out before."""

    def closed(self) -> None:
        """Do nothing: the folder stays."""

    def refresh(self) -> bool:
        """Look at the folder again; return whether other keys are known now."""
        try:
            if self._folder.stamp() == self._stamp:
                return False
        except OSError as error:
            stamp = ("unreadable", error.errno)
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            return self._let_nobody_in(f"{self._folder.path}: {error.strerror}")
        before = self._known
        try:
            self._load()
        except (KeyFileError, OSError) as error:
            return self._let_nobody_in(str(error))
        for gone in before.keys() - self._known.keys():
            log.warning("key %s (%s) was revoked", before[gone].name, before[gone].role)
        for new in self._known.keys() - before.keys():
            log.info("key %s (%s) is let in from now on", self._known[new].name, self._known[new].role)
        return before != self._known

    def _load(self) -> None:
        self._stamp = self._folder.stamp()
        peers, faults = self._folder.peers()
        for fault in faults:
            log.warning("a key is not let in: %s", fault)
        self._known = {peer.public: peer for peer in peers}

    def _let_nobody_in(self, reason: str) -> bool:
        log.error("nobody is let in until this is mended: %s", reason)
        before, self._known = self._known, {}
        return bool(before)


class AutomaticRing:
    """The keys that a master on loopback makes for its own user."""

    def __init__(self) -> None:
        self._keys = AutomaticKeys()
        self.pair = self._keys.pair
        self._faulty = False

    @property
    def folder(self) -> Path | None:
        """Where they are to be found; None when nobody listens."""
        return self._keys.folder

    def find(self, public: str) -> KnownPeer | None:
        """Return whose key that is; None for a stranger's."""
        return self._keys.peer.known if public == self._keys.peer.pair.public else None

    def opened(self, host: str, port: int) -> None:
        """Let programs of our user find the keys.

        Raises:
            KeyFileError: Nothing can be written where they look.
        """
        self._keys.publish(host, port)

    def closed(self) -> None:
        """Remove the keys. Idempotent."""
        self._keys.remove()

    def refresh(self) -> bool:
        """Write the file again when it is gone; other keys are never known."""
        try:
            self._keys.renew()
            self._faulty = False
        except KeyFileError as error:
            if not self._faulty:
                log.warning("programs of this user cannot connect: %s", error)
            self._faulty = True
        return False
