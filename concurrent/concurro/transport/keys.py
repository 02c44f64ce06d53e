"""Keys, and the files that hold them.

    master.key      the master's pair
    NAME.key        what a peer has: its pair, its role, its name, the master's public key
    peers/NAME.pub  what the master knows of that peer: its public key, its role, its name

A key is 40 characters of Z85. Every file is small TOML, of its owner alone (0600, folders 0700).
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from concurro.errors import KeyFileError
from concurro.ids import Role
from concurro.transport.link import SAME_USER, Identity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT: Final = 1
"""Version of the files' layout."""

MASTER: Final = "master"
LOCAL: Final = "local"

ROLES: Final[Mapping[str, frozenset[Role]]] = {
    "slave": frozenset({Role.SLAVE}),
    "application": frozenset({Role.APPLICATION}),
    "admin": frozenset({Role.APPLICATION, Role.ADMIN}),
    LOCAL: SAME_USER.roles,
}
"""What the holder of a key may say it is, by the role of the key; `local` is for keys that masters make themselves."""

GRANTED: Final = ("slave", "application", "admin")
"""Roles that somebody can be given a key for."""

_SIZE_LIMIT = 64 * 1024
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key, and the secret that proves it."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """What a master knows of a key that it lets in.

    Attributes:
        name: Of the machine or person.
        role: One of `ROLES`.
        public: The key.
    """

    name: str
    role: str
    public: str

    @property
    def identity(self) -> Identity:
        """Who connects with this key."""
        return Identity(self.name, ROLES[self.role], self.public)


@dataclass(frozen=True, slots=True)
class PeerKey:
    """What a peer needs to connect.

    Attributes:
        name: Of the machine or person.
        role: One of `ROLES`.
        pair: Its own.
        master: Public key of the master.
        addresses: Of the master, where they were known.
        place: The file, for messages to people.
    """

    name: str
    role: str
    pair: KeyPair = field(repr=False)
    master: str = ""
    addresses: tuple[str, ...] = ()
    place: str = ""

    @property
    def known(self) -> KnownPeer:
        """What the master knows of it."""
        return KnownPeer(self.name, self.role, self.pair.public)


def new_pair() -> KeyPair:
    """Return a new pair."""
    import zmq  # noqa: PLC0415 - it costs 30 ms, and who reads keys may never dial

    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def check_name(name: str) -> None:
    """Refuse names that are no file names everywhere.

    Raises:
        KeyFileError: It is one.
    """
    if not _NAME.fullmatch(name) or name == MASTER:
        message = f"{name!r} cannot name a key; use letters, digits, '.', '_' and '-', at most 64, and not {MASTER!r}"
        raise KeyFileError(message)


# Files


def write_master(path: Path, pair: KeyPair) -> None:
    """Write the master's pair.

    Raises:
        KeyFileError: The file exists, or cannot be written.
    """
    _write(path, "The master's keys. Secret: who has this file is the master.", MASTER, MASTER, pair)


def read_master(path: Path) -> KeyPair:
    """Return the master's pair.

    Raises:
        KeyFileError: The file is missing, not ours alone, or no such file.
    """
    entries = _read(path)
    if entries.get("role") != MASTER:
        message = "this is not the master's key file"
        raise KeyFileError(message, str(path))
    return KeyPair(_key(entries, "public", path), _key(entries, "secret", path))


def write_peer(path: Path, key: PeerKey) -> None:
    """Write what a peer needs.

    Raises:
        KeyFileError: The file exists, or cannot be written.
    """
    head = f"Key of the {key.role} {key.name}. Secret: who has this file is {key.name} to the master."
    _write(path, head, key.role, key.name, key.pair, key.master, key.addresses)


def read_peer(path: Path) -> PeerKey:
    """Return what a peer needs.

    Raises:
        KeyFileError: The file is missing, not ours alone, or no such file.
    """
    entries = _read(path)
    name, role = _who(entries, path)
    pair = KeyPair(_key(entries, "public", path), _key(entries, "secret", path))
    addresses = tuple(str(address) for address in entries.get("addresses", ()))
    return PeerKey(name, role, pair, _key(entries, MASTER, path), addresses, str(path))


def write_known(path: Path, peer: KnownPeer) -> None:
    """Write what the master knows of a peer.

    Raises:
        KeyFileError: The file exists, or cannot be written.
    """
    head = f"Public key of the {peer.role} {peer.name}. Without this file the master lets nobody in with it."
    _write(path, head, peer.role, peer.name, KeyPair(peer.public, ""))


def read_known(path: Path) -> KnownPeer:
    """Return what the master knows of a peer.

    Raises:
        KeyFileError: The file is missing, not ours alone, or no such file.
    """
    entries = _read(path)
    name, role = _who(entries, path)
    return KnownPeer(name, role, _key(entries, "public", path))


def make_folder(path: Path) -> None:
    """Make a folder of ours alone, with what is missing above it.

    Raises:
        KeyFileError: It cannot be made, or one exists that is not ours alone.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        message = f"this folder cannot be made: {error.strerror}"
        raise KeyFileError(message, str(path)) from error
    check_folder(path)


def check_folder(path: Path) -> None:
    """Refuse a folder in which others could read or put keys.

    Raises:
        KeyFileError: It is missing, or not ours alone; the message has what mends it.
    """
    try:
        found = path.stat()
    except OSError as error:
        message = f"this folder of keys cannot be read: {error.strerror}"
        raise KeyFileError(message, str(path)) from error
    if not stat.S_ISDIR(found.st_mode):
        message = "this is no folder"
        raise KeyFileError(message, str(path))
    _check_owner(path, found, "700")


def _check_owner(path: Path, found: os.stat_result, wanted: str) -> None:
    if found.st_uid != os.geteuid():
        message = (
            f"it belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}; "
            f"make it yours: chown {os.geteuid()} {path}"
        )
        raise KeyFileError(message, str(path))
    if stat.S_IMODE(found.st_mode) & 0o077:
        message = f"others may open it (mode {stat.S_IMODE(found.st_mode):o}); close it: chmod {wanted} {path}"
        raise KeyFileError(message, str(path))


def _write(  # noqa: PLR0913 - what stands in a file
    path: Path, head: str, role: str, name: str, pair: KeyPair, master: str = "", addresses: tuple[str, ...] = ()
) -> None:
    """Write a file that nobody else can read, whole or not at all."""
    lines = [f"# {head}", f"format = {FORMAT}", f'role = "{role}"', f'name = "{name}"', f'public = "{pair.public}"']
    if pair.secret:
        lines.append(f'secret = "{pair.secret}"')
    if master:
        lines.append(f'{MASTER} = "{master}"')
    if addresses:
        import json  # noqa: PLC0415 - most processes write no key

        lines.append(f"addresses = {json.dumps(addresses)}")  # which is TOML as well
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                stream.write("\n".join([*lines, ""]))
                stream.flush()
                os.fsync(stream.fileno())
            os.link(draft, path)  # unlike a rename, it replaces nothing
        finally:
            draft.unlink()
    except FileExistsError:
        message = "this file exists, and is not overwritten"
        raise KeyFileError(message, str(path)) from None
    except OSError as error:
        message = f"this file cannot be written: {error.strerror}"
        raise KeyFileError(message, str(path)) from error


def _read(path: Path) -> dict[str, Any]:
    """Return the entries of a file of ours alone."""
    try:
        with path.open("rb") as stream:
            _check_owner(path, os.fstat(stream.fileno()), "600")
            content = stream.read(_SIZE_LIMIT)
    except OSError as error:
        message = f"this key file cannot be read: {error.strerror}"
        raise KeyFileError(message, str(path)) from error
    import tomllib  # noqa: PLC0415 - most processes read no key

    try:
        entries = tomllib.loads(content.decode())
    except ValueError:
        # What the parser says may quote the file.
        message = "this is no key file"
        raise KeyFileError(message, str(path)) from None
    if entries.get("format") != FORMAT:
        message = f"this is no key file of format {FORMAT}"
        raise KeyFileError(message, str(path))
    return entries


def _key(entries: Mapping[str, Any], entry: str, path: Path) -> str:
    value = entries.get(entry)
    if not isinstance(value, str) or not _Z85.fullmatch(value):
        message = f"{entry!r} is missing or no key"
        raise KeyFileError(message, str(path))
    return value


def _who(entries: Mapping[str, Any], path: Path) -> tuple[str, str]:
    name, role = entries.get("name"), entries.get("role")
    if role == MASTER:
        message = "this is the master's own key file; a peer needs one of its own: concurrent keys add ROLE NAME"
        raise KeyFileError(message, str(path))
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(role, str) or role not in ROLES:
        message = "its name or role is none"
        raise KeyFileError(message, str(path))
    return name, role
