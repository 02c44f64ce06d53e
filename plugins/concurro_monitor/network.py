"""Names of runtimes, and who is in the network.

head                the application
monitor             the master
node:0              a slave
worker:0:1          the second worker for services that node 0 ever had
warehouse           where values are kept
"""

from __future__ import annotations

from typing import NamedTuple

KINDS = ("head", "monitor", "node", "worker", "warehouse")


class WorkerPlace(NamedTuple):
    """A worker as the monitor lists it.

    Attributes:
        uid: Its name, `worker:i:j`; never another one's.
        address: What `ApplicationNode.service` takes.
        node: Uid of its node.
        pid: Its process id.
    """

    uid: str
    address: str
    node: str
    pid: int


def join_uid(name: str, indices: tuple[int, ...] | int = ()) -> str:
    """Return `name[:i[:j]]`."""
    numbers = (indices,) if isinstance(indices, int) else tuple(indices)
    return ":".join([name, *(str(number) for number in numbers)])


def split_uid(uid: str) -> tuple[str, tuple[int, ...]]:
    """Return the name and the indices of a uid.

    Raises:
        ValueError: It is none.
    """
    name, *numbers = uid.split(":") if isinstance(uid, str) else [""]
    if name not in KINDS or len(numbers) > 2 or not all(number.isdigit() for number in numbers):  # noqa: PLR2004 - name[:i[:j]]
        message = f"{uid!r} is no uid of a runtime; one is name[:i[:j]], with a name of {', '.join(KINDS)}"
        raise ValueError(message)
    return name, tuple(int(number) for number in numbers)


def indices_of(uid: str) -> list[int]:
    """Return the numbers in a uid, to order by."""
    return [int(number) for number in uid.split(":")[1:]]


def split_address(url: str) -> tuple[str, int]:
    """Return the machine and the port of an address.

    That of a path is itself, and port 0.
    """
    scheme, _, rest = url.partition("://")
    machine, _, number = rest.rpartition(":")
    if scheme != "tcp" or not number.isdigit():
        return url, 0
    return machine.strip("[]"), int(number)


def join_address(address: str, port: int | None) -> str:
    """Return what `split_address` took apart."""
    if not port or "://" in address:
        return address
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"
