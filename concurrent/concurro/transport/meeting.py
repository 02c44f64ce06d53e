"""Meet a process of this machine that one speaks to through others.

    caller: MeetingPoint.invite() --invitation, over the session--> whoever is to come
    guest:  come_to(invitation) --connects, shows it--> MeetingPoint.take(invitation)

The place is a name without a path (Linux): nothing is left of it, and who lives in another network
namespace, or on another machine, finds nobody there. Then what was said through others goes on so.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from concurro.transport.stream import unconnected, user_of

if TYPE_CHECKING:
    import socket

_INVITATION = re.compile(r"concurro-[0-9a-f]{32}/[0-9a-f]{32}")
_SHOWN = 32
_BACKLOG = 128
_MOST_SILENT = 256
"""So many who came may have shown nothing yet; beyond that the oldest go."""

CAN_MEET = sys.platform == "linux"


class MeetingPoint:
    """Where others come. Loop thread only.

    Raises:
        OSError: There is no place: no descriptor is left, or this system has none without a path.
    """

    def __init__(self) -> None:
        if not CAN_MEET:
            message = "sockets without a path are those of Linux"
            raise OSError(message)
        self._name = f"concurro-{os.urandom(16).hex()}"
        self._invited: set[str] = set()
        self._guests: dict[str, socket.socket] = {}
        self._silent: list[socket.socket] = []
        self._listener = unconnected()
        try:
            self._listener.bind(f"\0{self._name}")
            self._listener.listen(_BACKLOG)
        except OSError:
            self._listener.close()
            raise

    def invite(self) -> str:
        """Return an invitation for one guest."""
        shown = os.urandom(_SHOWN // 2).hex()
        self._invited.add(shown)
        return f"{self._name}/{shown}"

    def take(self, invitation: str) -> socket.socket | None:
        """Return the connection to the guest who has that invitation.

        None when nobody came with it. Whoever comes with it from now on is turned away.
        """
        self._let_in()
        shown = invitation.rpartition("/")[2]
        self._invited.discard(shown)
        return self._guests.pop(shown, None)

    def close(self) -> None:
        """Leave; whoever was not taken goes. Idempotent."""
        self._listener.close()
        for guest in (*self._guests.values(), *self._silent):
            guest.close()
        self._guests.clear()
        self._silent.clear()
        self._invited.clear()

    def _let_in(self) -> None:
        while True:
            try:
                guest, _ = self._listener.accept()
            except OSError:
                break
            if user_of(guest) != os.geteuid():
                guest.close()
                continue
            guest.setblocking(False)  # noqa: FBT003 - the standard library's signature
            self._silent.append(guest)
            if len(self._silent) > _MOST_SILENT:
                self._silent.pop(0).close()
        silent, self._silent = self._silent, []
        for guest in silent:
            try:
                shown = guest.recv(_SHOWN).decode("ascii", "replace")
            except BlockingIOError:
                self._silent.append(guest)
                continue
            except OSError:
                shown = ""
            if shown not in self._invited or shown in self._guests:
                guest.close()
                continue
            self._guests[shown] = guest


def come_to(invitation: str) -> socket.socket | None:
    """Return a connection to who invited; None where that is nobody of here."""
    if not CAN_MEET or not _INVITATION.fullmatch(invitation):
        return None
    name, _, shown = invitation.partition("/")
    stream = unconnected()
    try:
        stream.connect(f"\0{name}")
        if user_of(stream) == os.geteuid() and stream.send(shown.encode()) == _SHOWN:
            return stream
    except OSError:
        pass
    stream.close()
    return None
