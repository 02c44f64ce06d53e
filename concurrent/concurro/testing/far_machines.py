"""Several machines and the cables between them, all on one machine.

They are network namespaces of Linux.

    near: master, application --- cable, so many megabits per second each way --- far: slave

    leaf 1: slave --- cable --- hub: master --- cable --- leaf 2: slave     leaves do not reach each other

Nothing but what is started inside can use the cables. Needs root, and `ip` and `tc` of iproute2.
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
_HUB_ADDRESS, _GATE_ADDRESS, _LEAF_ADDRESS = "10.78.0.1", "10.78.{}.1", "10.78.{}.2"
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
        return self._count("tx_bytes")

    def bytes_received(self) -> int:
        """Return what has come over the cable, headers included [B].

        Raises:
            OSError: The counter cannot be read.
        """
        return self._count("rx_bytes")

    def _count(self, counter: str) -> int:
        return int(_run(*self.prefix, "cat", f"/sys/class/net/{_CABLE}/statistics/{counter}"))


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


class Star:
    """A machine in the middle, and others each with a cable to it alone.

    Attributes:
        hub: In the middle; it passes nothing on from one leaf to another.
        leaves: The others.
    """

    def __init__(self, hub: Machine, leaves: list[Machine]) -> None:
        self.hub = hub
        self.leaves = leaves

    def close_all_but(self, port: int) -> None:
        """Let nothing pass the cables but TCP to and from a port of the hub.

        Raises:
            OSError: This process may not do that.
        """
        here, there = ["to", self.hub.address], ["from", self.hub.address]
        tcp = ["ipproto", "tcp"]
        for leaf in self.leaves:
            _let_pass(leaf, [*here, *tcp, "dport", str(port)])
        _let_pass(self.hub, [*there, *tcp, "sport", str(port)])


@contextmanager
def star_of_machines(count: int) -> Iterator[Star]:
    """Give a machine in the middle of so many others.

    Args:
        count: How many others there are.

    Raises:
        OSError: This process may not make them, or a tool is missing.
    """
    if shutil.which("ip") is None:
        message = "there is no ip: install iproute2"
        raise OSError(message)
    hub = Machine(f"concurro-{os.getpid()}-hub", _HUB_ADDRESS)
    leaves = [Machine(f"concurro-{os.getpid()}-leaf-{i}", _LEAF_ADDRESS.format(i)) for i in range(1, count + 1)]
    with ExitStack() as stack:
        for machine in (hub, *leaves):
            _run("ip", "netns", "add", machine.namespace)
            stack.callback(_run, "ip", "netns", "del", machine.namespace)
            _run("ip", "-n", machine.namespace, "link", "set", "lo", "up")
        _run("ip", "-n", hub.namespace, "address", "add", f"{hub.address}/32", "dev", "lo")
        for number, leaf in enumerate(leaves, 1):
            name, gate = f"{_CABLE}{number}", _GATE_ADDRESS.format(number)
            ends = ["netns", hub.namespace, "type", "veth", "peer", "name", _CABLE, "netns", leaf.namespace]
            _run("ip", "link", "add", name, *ends)
            for namespace, device, address in ((hub.namespace, name, gate), (leaf.namespace, _CABLE, leaf.address)):
                _run("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", device)
                _run("ip", "-n", namespace, "link", "set", device, "up")
            _run("ip", "-n", leaf.namespace, "route", "add", hub.address, "via", gate)
        yield Star(hub, leaves)


def _let_pass(machine: Machine, what: list[str]) -> None:
    """Let a machine send nothing else."""
    _run("ip", "-n", machine.namespace, "rule", "add", *what, "lookup", "main", "priority", "10")
    _run("ip", "-n", machine.namespace, "rule", "add", "prohibit", "priority", "20")


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
