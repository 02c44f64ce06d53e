"""TCP connections that a listener has, and how many it bears.

zmq accepts whoever comes. What it tells of its connections is kept here; those beyond a limit are
ended by their descriptors, strangers that never said a word first.
"""

from __future__ import annotations

import logging
import resource
import socket

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 4096
"""Most connections of a listener, unless the process may open fewer files."""

_SHARE_OF_FILES = 2
_SHARE_OF_SILENT = 4
_TELL_EVERY = 1000


class Connections:
    """Which descriptors are connected, and which were heard.

    Loop thread only.

    Args:
        most: Most connections at once; a quarter of them may be silent.
    """

    def __init__(self, most: int = MOST_CONNECTIONS) -> None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.most = max(8, min(most, files // _SHARE_OF_FILES))
        self._silent: dict[int, None] = {}  # the oldest first
        self._heard: set[int] = set()
        self._dropped = 0

    def __contains__(self, descriptor: int) -> bool:
        """Say whether it is connected."""
        return descriptor in self._silent or descriptor in self._heard

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._silent) + len(self._heard)

    def opened(self, descriptor: int) -> None:
        """Know a new connection; end one that is too many."""
        self._heard.discard(descriptor)
        self._silent[descriptor] = None
        if len(self._silent) > self.most // _SHARE_OF_SILENT or len(self) > self.most:
            self._drop(next(iter(self._silent)))

    def heard(self, descriptor: int) -> None:
        """Know that somebody with a key spoke there."""
        if descriptor in self._silent:
            del self._silent[descriptor]
            self._heard.add(descriptor)

    def ended(self, descriptor: int) -> None:
        """Forget a connection."""
        self._silent.pop(descriptor, None)
        self._heard.discard(descriptor)

    def _drop(self, descriptor: int) -> None:
        del self._silent[descriptor]
        if self._dropped % _TELL_EVERY == 0:
            log.warning("dropped a connection that said nothing: there are more than %d", len(self))
        self._dropped += 1
        hang_up(descriptor)


def hang_up(descriptor: int) -> None:
    """End a TCP connection of zmq, which has no call for it.

    zmq sees the end, and closes the descriptor.
    """
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:
        return  # it is gone
    try:
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
    finally:
        connection.detach()
