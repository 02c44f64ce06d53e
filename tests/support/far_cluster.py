"""A cluster whose every connection goes through a bad network."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from concurro import ApplicationNode
from concurro.transport.keys_folder import KeyFolder
from tests.support.fault_proxy import FaultProxy
from tests.support.jobs import SHIPPED
from tests.support.nodes import master_process, slave_process
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


def make_keys(folder: Path) -> dict[str, Any]:
    """Make keys for a slave and an application; return the settings of who uses them."""
    keys = KeyFolder(folder / "keys")
    keys.create()
    keys.add("slave", "far-slave")
    keys.add("application", "far-application")
    return {"keys": str(folder / "keys")}


class FarCluster(NamedTuple):
    """A master, a slave and an application, with a network between each of them and the master."""

    master: subprocess.Popen[str]
    url: str
    slave: subprocess.Popen[str]
    slave_net: FaultProxy
    node: ApplicationNode
    node_net: FaultProxy
    security: dict[str, Any]

    def slaves(self) -> list[dict[str, Any]]:
        """Return the slaves that the master knows."""
        found: list[dict[str, Any]] = self.node.status()["slaves"]
        return found

    def wait_for_slave(self) -> str:
        """Return the id of the one slave, once it is there and well."""
        well = wait_until(lambda: [one for one in self.slaves() if not one["sick"]], 30, "a slave")
        return str(well[0]["id"])


@contextmanager
def far_cluster(folder: Path, runtime_folder: Path, **options: Any) -> Iterator[FarCluster]:
    """Run a cluster over TCP, each node behind a network of its own."""
    security = make_keys(folder)
    listen = {"listen": "tcp://127.0.0.1:0", **options.pop("master", {})}
    plugins = options.pop("plugins", ())
    with ExitStack() as stack:
        started = master_process(runtime_folder, master=listen, security=security, plugins=plugins)
        master, url = stack.enter_context(started)
        slave_net, node_net = (stack.enter_context(FaultProxy(url)) for _ in range(2))
        slave = stack.enter_context(slave_process(slave_net.url, security=security, plugins=plugins, **options))
        config = {"application": {**SHIPPED["application"], "straight": False}, "security": security}
        node = stack.enter_context(ApplicationNode(node_net.url, config=config))
        cluster = FarCluster(master, url, slave, slave_net, node, node_net, security)
        cluster.wait_for_slave()
        yield cluster


def far_node(far: FarCluster) -> ApplicationNode:
    """Return another application, right beside the master."""
    from concurro import ApplicationNode

    return ApplicationNode(far.url, config={**SHIPPED, "security": far.security})
