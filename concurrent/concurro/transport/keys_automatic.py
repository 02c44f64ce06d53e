"""Keys that a master on loopback makes for the programs of its user.

    $XDG_RUNTIME_DIR/concurrent/keys/MACHINE_HOST_PORT_TOKEN/local.key

Whoever runs as the same user finds the file by the master's address, and may be anything. It goes with
its master; what a killed one left is removed by the launcher, or by the next master on that address.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import stat
from pathlib import Path

from concurro.errors import AuthenticationError
from concurro.transport.keys import LOCAL, PeerKey, make_folder, new_pair, read_peer, write_peer

FILE_NAME = "local.key"
_UNFIT = re.compile(r"[^A-Za-z0-9.\-]")


class AutomaticKeys:
    """The key set of one master, as long as it listens.

    Attributes:
        pair: The master's.
        peer: What everybody of this user connects with.
        folder: Where it is to be found; None before `publish`.
    """

    def __init__(self) -> None:
        self.pair = new_pair()
        self.peer = PeerKey(LOCAL, LOCAL, new_pair(), self.pair.public)
        self.folder: Path | None = None
        self._address = ("", 0)

    def publish(self, host: str, port: int) -> None:
        """Let others find the keys, and nobody those of earlier masters there.

        Raises:
            KeyFileError: Nothing can be written there.
        """
        self._address = (host, port)
        before = _sets_of(host, port)
        self._write()
        for left in before:
            shutil.rmtree(left, ignore_errors=True)

    def renew(self) -> None:
        """Write the file again when it is gone: a logout may empty the folder.

        Raises:
            KeyFileError: Nothing can be written there.
        """
        if self.folder is not None and not (self.folder / FILE_NAME).exists():
            self._write()

    def remove(self) -> None:
        """Remove the file. Idempotent."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def _write(self) -> None:
        room = _rooms()[0]
        make_folder(room.parent)
        make_folder(room)
        folder = room / f"{_prefix(*self._address)}{os.urandom(4).hex()}"
        make_folder(folder)
        write_peer(folder / FILE_NAME, self.peer)
        self.folder = folder


def find_automatic(host: str, port: int) -> PeerKey:
    """Return the key of the master that listens there, if our user runs it.

    Raises:
        AuthenticationError: There is none.
        KeyFileError: It is not ours alone.
    """
    for folder in _sets_of(host, port):
        if os.path.exists(folder / FILE_NAME):  # noqa: PTH110 - unlike a Path's it does not raise
            return read_peer(folder / FILE_NAME)
    places = " and ".join(str(room) for room in _rooms())
    message = f"no key for it in {places}"
    raise AuthenticationError(message, "missing")


def _sets_of(host: str, port: int) -> list[Path]:
    """Return the folders of an address, the newest first."""
    prefix, found = _prefix(host, port), []
    for room in _rooms():
        with contextlib.suppress(OSError):  # there are none yet, or they are another user's
            found += [folder for folder in room.iterdir() if folder.name.startswith(prefix)]
    return sorted(found, key=_age, reverse=True)


def _age(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _prefix(host: str, port: int) -> str:
    # Machines may share the cache folder.
    return f"{_UNFIT.sub('-', platform.node())}_{_UNFIT.sub('-', host)}_{port}_"


def _rooms() -> list[Path]:
    """Return where keys may be, the best place first."""
    rooms: list[Path] = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and _is_ours(runtime):  # noqa: PTH117 - a text of the environment
        rooms.append(Path(runtime))
    cache = os.environ.get("XDG_CACHE_HOME", "")
    rooms.append(Path(cache) if os.path.isabs(cache) else Path.home() / ".cache")  # noqa: PTH117 - as above
    return [room / "concurrent" / "keys" for room in rooms]


def _is_ours(path: str) -> bool:
    try:
        found = os.stat(path)  # noqa: PTH116 - a text of the environment
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and os.access(path, os.W_OK | os.X_OK)
