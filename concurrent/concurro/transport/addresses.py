"""From an address to a listener or a link."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concurro.config import Address, parse_address
from concurro.errors import AddressError, AuthenticationError
from concurro.ids import Role
from concurro.transport.connections import MOST_CONNECTIONS
from concurro.transport.greeting import listens, speaks_curve
from concurro.transport.keys_automatic import find_automatic
from concurro.transport.keys_folder import key_in
from concurro.transport.keys_ring import AutomaticRing, FolderRing, Keyring
from concurro.transport.stream import StreamListener, connect_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.transport.keys import PeerKey
    from concurro.transport.link import Link
    from concurro.transport.loop import Loop

_PROBE_SECONDS = 1.0


class Listener:
    """Listens on one address.

    Args:
        loop: Where it lives.
        url: The address; port 0 lets the system choose.
        on_link: Called with the link of each peer.
        keys: A folder of keys; None for keys that are made for this listener, on loopback only.
        most_connections: Most connections over TCP at once.

    Attributes:
        url: The address as peers dial it, with the real port.
        on_failed: Called once with a reason when it had to close by itself.
    """

    def __init__(
        self,
        loop: Loop,
        url: str,
        on_link: Callable[[Any], None],
        keys: Path | None = None,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        """Bind and listen.

        Raises:
            AddressError: The address is malformed, taken, or not allowed without keys.
            KeyFileError: The keys cannot be used.
        """
        self.on_failed: Callable[[str], None] = lambda reason: None  # noqa: ARG005
        self._keyring: Keyring | None = None
        address = parse_address(url)
        self._listener: Any
        if address.scheme == "ipc":
            self._listener = StreamListener(loop, address.path, on_link)
            self.url = f"ipc://{address.path}"
            return
        if keys is None:
            refuse_open_address(address)
        from concurro.transport.tcp import TcpListener  # noqa: PLC0415 - zmq costs 30 ms and ipc needs none of it

        try:
            host = _number_of(address.host)
        except OSError as error:
            message = f"cannot listen on {address}: {error.strerror}"
            raise AddressError(message) from error
        keyring = self._keyring = AutomaticRing() if keys is None else FolderRing(keys)
        self._listener = TcpListener(loop, host, address.port, on_link, keyring, most_connections)
        self._listener.on_failed = self._failed
        self.url = str(Address("tcp", address.host, self._listener.port))
        try:
            keyring.opened(host, self._listener.port)
        except BaseException:
            self._listener.close()
            raise

    @property
    def own_folder(self) -> str | None:
        """The folder of keys that were made for this listener; None without."""
        if isinstance(self._keyring, AutomaticRing) and self._keyring.folder is not None:
            return str(self._keyring.folder)
        return None

    def _failed(self, reason: str) -> None:
        self.on_failed(reason)

    def close(self) -> None:
        """Stop listening. Idempotent."""
        self._listener.close()
        if self._keyring is not None:
            self._keyring.closed()


def connect(
    loop: Loop, url: str, keys: Path | None = None, role: Role = Role.APPLICATION, *, probe: bool = True
) -> Link:
    """Return a link to the master at `url`.

    Args:
        loop: Where it lives.
        url: The address.
        keys: A key file, or a folder with one; None for what a master of our user left for us.
        role: What we are going to be: which key of a folder is taken.
        probe: Whether to wait up to a second for who listens: the reason is a better one then.

    Raises:
        AddressError: The address is malformed.
        KeyFileError: The key cannot be used.
        AuthenticationError: There is no key for it, or the key file is of another master.
        OSError: Nobody listens there, or something else than a master.
    """
    address = parse_address(url)
    if address.scheme == "ipc":
        return connect_stream(loop, address.path)
    if probe:  # a closed port answers at once here; zmq would keep silent about it
        socket.create_connection((address.host, address.port), timeout=_PROBE_SECONDS).close()
    from concurro.transport.tcp import TcpLink  # noqa: PLC0415 - zmq costs 30 ms and ipc needs none of it

    key = _automatic_key(address) if keys is None else key_in(keys, role)
    return TcpLink(loop, address.host, address.port, key)


def refuse_open_address(address: Address) -> None:
    """Refuse to listen where strangers could connect.

    Raises:
        AddressError: It is not loopback.
    """
    if not is_loopback(address.host):
        message = (
            f"refused to listen on {address.host}: without keys anybody who reaches that address could run code here; "
            f"make keys with: concurrent keys init keys, and start with: concurrent-master --listen {address} "
            f"--keys keys; or listen on tcp://127.0.0.1:PORT or ipc://PATH"
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


def is_ours(url: str, keys: Path | None = None) -> bool:
    """Say whether somebody listens there who left a key for us.

    Args:
        url: The address.
        keys: Our key file or folder, when it is not one that a master of our user left.

    Raises:
        AddressError: The address is malformed.
    """
    address = parse_address(url)
    if address.scheme == "ipc":
        return Path(address.path).is_socket()
    try:
        if keys is None:
            find_automatic(_number_of(address.host), address.port)
    except OSError:  # no key, or no such host
        return False
    return listens(address.host, address.port)


def _automatic_key(address: Address) -> PeerKey:
    """Return the key that a master of our user left for us.

    Raises:
        AuthenticationError: There is none.
        OSError: What listens there is no master.
    """
    url, hint = str(address), "get a key file from whoever runs it (concurrent keys add ROLE NAME), and give --keys"
    if not is_loopback(address.host):
        message = f"the master at {url} lets nobody in without a key; {hint}"
        raise AuthenticationError(message, "missing")
    try:
        return find_automatic(_number_of(address.host), address.port)
    except AuthenticationError as error:
        if speaks_curve(address.host, address.port):
            message = f"the master at {url} wants a key that was handed out, or is another user's ({error}); {hint}"
            raise AuthenticationError(message, "missing") from None
    if not listens(address.host, address.port):
        message = "nobody listens there"
        raise ConnectionRefusedError(message)
    message = "something else listens there: it does not answer as a Concurrent master would"
    raise OSError(message)


def _number_of(host: str) -> str:
    """Return what zmq can bind to: no name."""
    if host == "localhost":
        return "127.0.0.1"
    if host == "*":
        return "0.0.0.0"  # noqa: S104 - somebody asked for it, and has keys
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return str(socket.gethostbyname(host))
