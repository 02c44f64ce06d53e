"""From an address to a listener or a link."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

from concurro.config import Address, parse_address
from concurro.errors import AddressError
from concurro.transport.stream import StreamListener, connect_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.transport.link import Link
    from concurro.transport.loop import Loop

_PROBE_SECONDS = 1.0


class Listener:
    """Listens on one address.

    Attributes:
        url: The address as peers dial it, with the real port.
    """

    def __init__(self, loop: Loop, url: str, on_link: Callable[[Any], None]) -> None:
        """Bind and listen.

        Raises:
            AddressError: The address is malformed, taken, or not allowed without keys.
        """
        address = parse_address(url)
        self._listener: Any
        if address.scheme == "ipc":
            self._listener = StreamListener(loop, address.path, on_link)
            self.url = f"ipc://{address.path}"
            return
        refuse_open_address(address.host)
        from concurro.transport.tcp import TcpListener  # noqa: PLC0415 - zmq costs 30 ms and ipc needs none of it

        self._listener = TcpListener(loop, _number_of(address.host), address.port, on_link)
        self.url = str(Address("tcp", address.host, self._listener.port))

    def close(self) -> None:
        """Stop listening. Idempotent."""
        self._listener.close()


def connect(loop: Loop, url: str) -> Link:
    """Return a link to the master at `url`.

    Raises:
        AddressError: The address is malformed.
        OSError: Nobody listens there.
    """
    address = parse_address(url)
    if address.scheme == "ipc":
        return connect_stream(loop, address.path)
    # A closed port answers at once here; zmq would keep silent about it.
    socket.create_connection((address.host, address.port), timeout=_PROBE_SECONDS).close()
    from concurro.transport.tcp import TcpLink  # noqa: PLC0415 - zmq costs 30 ms and ipc needs none of it

    return TcpLink(loop, address.host, address.port)


def refuse_open_address(host: str) -> None:
    """Refuse to listen where strangers could connect.

    Raises:
        AddressError: `host` is not a loopback address.
    """
    if not is_loopback(host):
        message = (
            f"refused to listen on {host}: without keys anybody who reaches that address could run code here; "
            f"listen on tcp://127.0.0.1:PORT or ipc://PATH"
        )
        raise AddressError(message)


def is_loopback(host: str) -> bool:
    """Say whether a host name or number stands for this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _number_of(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
