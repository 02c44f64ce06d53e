"""Two machines and a narrow cable, all on one machine.

They are network namespaces of Linux.

    near: master, application --- cable, so many megabits per second each way --- far: slave

Nothing but what is started inside can use the cable. Needs root, and `ip` and `tc` of iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CABLE = "cable"
_NEAR_ADDRESS, _FAR_ADDRESS = "10.77.0.1", "10.77.0.2"
_BURST = "128kb"
_QUEUE = "200ms"
"""What waits for the cable for longer is dropped, as in a switch."""


class Machine:
    """One of two machines.

    Args:
        namespace: Its network namespace.
        address: Where it listens on the cable.
    """

    def __init__(self, namespace: str, address: str) -> None:
        self.namespace = namespace
        self.address = address

    @property
    def prefix(self) -> list[str]:
        """What stands before a command that runs there."""
        return ["ip", "netns", "exec", self.namespace]

    def bytes_sent(self) -> int:
        """Return what has left over the cable, headers included [B].

        Raises:
            OSError: The counter cannot be read.
        """
        path = f"/sys/class/net/{_CABLE}/statistics/tx_bytes"
        return int(_run(*self.prefix, "cat", path))


@contextmanager
def two_machines(megabits: float) -> Iterator[tuple[Machine, Machine]]:
    """Give two machines that a cable joins.

    Args:
        megabits: What goes over the cable in each direction [Mbit/s].

    Raises:
        OSError: This process may not make them, or a tool is missing.
    """
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            message = f"there is no {tool}: install iproute2"
            raise OSError(message)
    near = Machine(f"concurro-{os.getpid()}-near", _NEAR_ADDRESS)
    far = Machine(f"concurro-{os.getpid()}-far", _FAR_ADDRESS)
    with ExitStack() as stack:
        for machine in (near, far):
            _run("ip", "netns", "add", machine.namespace)
            stack.callback(_run, "ip", "netns", "del", machine.namespace)
            _run("ip", "-n", machine.namespace, "link", "set", "lo", "up")
        ends = ["netns", near.namespace, "type", "veth", "peer", "name", _CABLE, "netns", far.namespace]
        _run("ip", "link", "add", _CABLE, *ends)
        shape = ["root", "tbf", "rate", f"{megabits}mbit", "burst", _BURST, "latency", _QUEUE]
        for machine in (near, far):
            _run("ip", "-n", machine.namespace, "address", "add", f"{machine.address}/24", "dev", _CABLE)
            _run("ip", "-n", machine.namespace, "link", "set", _CABLE, "up")
            _run("tc", "-n", machine.namespace, "qdisc", "add", "dev", _CABLE, *shape)
        yield near, far


def _run(*command: str) -> str:
    """Run a command; return what it prints.

    Raises:
        OSError: It failed, with what it said.
    """
    run = subprocess.run(  # noqa: S603 - the commands above
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if run.returncode:
        message = f"{' '.join(command)}: {run.stderr.strip() or run.returncode}"
        raise OSError(message)
    return run.stdout
