"""Read addresses: `tcp://host:port` and `ipc://path`."""

from __future__ import annotations

from typing import NamedTuple

from concurro.errors import AddressError

MAX_PORT = 65535
MAX_SOCKET_PATH = 100  # bytes [B]; the kernel's limit is 108, and some room is ours


class Address(NamedTuple):
    """Where a master listens.

    Attributes:
        scheme: `tcp` or `ipc`.
        host: Host name or number of a TCP address, without brackets; `*` for all.
        port: TCP port; 0 lets the system choose when listening.
        path: Path of an AF_UNIX socket.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        """Return the address as a file writes it."""
        if self.scheme == "ipc":
            return f"ipc://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse_address(text: str, where: str = "") -> Address:
    """Return the parts of an address.

    Args:
        text: `tcp://host:port` (an IPv6 number in brackets) or `ipc://path`.
        where: What the error names as the place of the address.

    Raises:
        AddressError: It is malformed; the message names what is wrong.
    """
    if not isinstance(text, str):
        message = f"an address is a text, e.g. 'tcp://127.0.0.1:8081', got {text!r}"  # type: ignore[unreachable]
        raise AddressError(message, where)
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise _malformed(text, "it has no scheme", where)
    if scheme == "ipc":
        return _parse_ipc(text, rest, where)
    if scheme == "tcp":
        return _parse_tcp(text, rest, where)
    raise _malformed(text, f"scheme {scheme!r} is not known", where)


def _parse_ipc(text: str, path: str, where: str) -> Address:
    if not path:
        raise _malformed(text, "the path is missing", where)
    if "\0" in path:
        raise _malformed(text, "the path has a zero byte", where)
    size = len(path.encode())
    if size >= MAX_SOCKET_PATH:
        raise _malformed(text, f"the path has {size} bytes, a socket's path needs less than {MAX_SOCKET_PATH}", where)
    return Address("ipc", path=path)


def _parse_tcp(text: str, rest: str, where: str) -> Address:
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        raise _malformed(text, "the port is missing", where)
    if not host:
        raise _malformed(text, "the host is missing", where)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _malformed(text, "an IPv6 number stands in brackets, like tcp://[::1]:8081", where)
    if not host or any(character.isspace() or character in "/@[]" for character in host):
        raise _malformed(text, f"{host!r} is not a host", where)
    if not (port.isascii() and port.isdigit()):
        raise _malformed(text, f"port {port!r} is not a number", where)
    if int(port) > MAX_PORT:
        raise _malformed(text, f"port {port} is above {MAX_PORT}", where)
    return Address("tcp", host=host, port=int(port))


def _malformed(text: str, reason: str, where: str) -> AddressError:
    return AddressError(f"address {text!r}: {reason}; write tcp://host:port or ipc://path", where)
