"""The folder in which a master keeps its keys, and those of whom it knows.

    DIR/master.key       the master's pair
    DIR/peers/NAME.pub   one for each key that is let in
    DIR/NAME.key         to be taken to where NAME works

Nobody needs the last here: the master only asks what is in `peers`.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from concurro.errors import KeyFileError
from concurro.transport.keys import (
    GRANTED,
    KnownPeer,
    PeerKey,
    check_folder,
    check_name,
    make_folder,
    new_pair,
    read_known,
    read_master,
    read_peer,
    write_known,
    write_master,
    write_peer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from concurro.ids import Role
    from concurro.transport.keys import KeyPair

MASTER_FILE = "master.key"
PEERS_FOLDER = "peers"
SECRET_ENDING = ".key"  # noqa: S105 - of a file's name
PUBLIC_ENDING = ".pub"


class KeyFolder:
    """The keys of one master.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def peers_path(self) -> Path:
        """Where the public keys of peers are."""
        return self.path / PEERS_FOLDER

    def create(self) -> None:
        """Make the folder, with a new pair for the master.

        Raises:
            KeyFileError: There is one already, or it cannot be made.
        """
        make_folder(self.path)
        make_folder(self.peers_path)
        write_master(self.path / MASTER_FILE, new_pair())

    def pair(self) -> KeyPair:
        """Return the master's pair.

        Raises:
            KeyFileError: There is none, or others could have put it there.
        """
        check_folder(self.path)
        if not (self.path / MASTER_FILE).exists():
            message = f"this folder has no {MASTER_FILE}; make one with: concurrent keys init {self.path}"
            raise KeyFileError(message, str(self.path))
        return read_master(self.path / MASTER_FILE)

    def add(self, role: str, name: str, addresses: Sequence[str] = ()) -> Path:
        """Make a key for a machine or person; return the file to take there.

        Raises:
            KeyFileError: The name is taken, or no name; or nothing can be written there.
        """
        if role not in GRANTED:
            message = f"{role!r} is no role of a key; there are {', '.join(GRANTED)}"
            raise KeyFileError(message)
        check_name(name)
        master = self.pair()
        make_folder(self.peers_path)
        taken = self.peers_path / f"{name}{PUBLIC_ENDING}"
        if taken.exists():
            message = f"there is a key {name!r} already; revoke it first, or take another name"
            raise KeyFileError(message, str(taken))
        key = PeerKey(name, role, new_pair(), master.public, tuple(addresses))
        secret = self.path / f"{name}{SECRET_ENDING}"
        write_peer(secret, key)
        try:
            write_known(taken, key.known)
        except KeyFileError:
            secret.unlink()
            raise
        return secret

    def peers(self) -> tuple[list[KnownPeer], list[KeyFileError]]:
        """Return whom the folder lets in, and what is wrong elsewhere.

        Raises:
            KeyFileError: The folder cannot be read, or others could have put keys there.
        """
        check_folder(self.path)
        check_folder(self.peers_path)
        found: list[KnownPeer] = []
        faults: list[KeyFileError] = []
        for path in sorted(self.peers_path.glob(f"[!.]*{PUBLIC_ENDING}")):
            try:
                found.append(_known_as(path))
            except KeyFileError as fault:
                if path.exists():  # else it was revoked this moment
                    faults.append(fault)
        return found, faults

    def revoke(self, name: str) -> None:
        """Let nobody in with that key any more.

        Raises:
            KeyFileError: There is no such key, or it cannot be removed.
        """
        check_name(name)
        public = self.peers_path / f"{name}{PUBLIC_ENDING}"
        try:
            public.unlink()
        except FileNotFoundError:
            known = ", ".join(path.stem for path in sorted(self.peers_path.glob(f"[!.]*{PUBLIC_ENDING}"))) or "none"
            message = f"there is no key {name!r}; there are: {known}"
            raise KeyFileError(message, str(self.peers_path)) from None
        except OSError as error:
            message = f"it cannot be removed: {error.strerror}"
            raise KeyFileError(message, str(public)) from error
        with contextlib.suppress(OSError):
            (self.path / f"{name}{SECRET_ENDING}").unlink()

    def stamp(self) -> object:
        """Return what differs whenever a key was added, changed or revoked.

        Raises:
            OSError: The folder cannot be looked at; it may be gone.
        """
        facts = [_facts(os.stat(self.path)), _facts(os.stat(self.peers_path))]  # noqa: PTH116 - as `scandir`
        with os.scandir(self.peers_path) as entries:
            return facts, sorted((entry.name, _facts(entry.stat(follow_symlinks=True))) for entry in entries)


def key_in(path: Path, role: Role) -> PeerKey:
    """Return a peer's key from its file, or from a folder with one.

    Of several in a folder the one whose role is `role` is taken.

    Raises:
        KeyFileError: There is none, there are several, or it is not ours alone.
    """
    if not path.is_dir():
        return read_peer(path)
    check_folder(path)
    files = [file for file in sorted(path.glob(f"[!.]*{SECRET_ENDING}")) if file.name != MASTER_FILE]
    fitting = [key for key in map(read_peer, files) if role in key.known.identity.roles]
    exact = [key for key in fitting if key.role == role.value]
    chosen = exact or fitting
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        names = ", ".join(f"{key.name}{SECRET_ENDING}" for key in chosen)
        message = f"this folder has several keys of the role {role.value} ({names}); name the file"
        raise KeyFileError(message, str(path))
    message = f"this folder has no key of the role {role.value}; make one: concurrent keys add {role.value} NAME"
    raise KeyFileError(message, str(path))


def _known_as(path: Path) -> KnownPeer:
    """Return the peer of a file, which has its name.

    Else revoking would miss it.
    """
    peer = read_known(path)
    if peer.name != path.stem:
        message = f"it is the key {peer.name!r}; name the file so, or remove it"
        raise KeyFileError(message, str(path))
    return peer


def _facts(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode, found.st_uid
